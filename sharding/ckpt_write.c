// Saving: every rank its shard, then rank 0 the index, then the name. The hard part is failure: a rank
// that fails must not leave the others in a collective, so each phase ends with an agreement, and only
// the last act makes the checkpoint exist.
#include "sharding/ckpt_impl.h"

#include "sharding/ckpt_index.h"
#include "sharding/h5.h"
#include "src/base/hash.h"
#include "src/base/log.h"
#include "src/base/mem.h"
#include "src/io/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DEFAULT_LEVEL = 1 }; // 1 GB/s a core, 15 % smaller; level 3 takes twice as long for no gain

typedef struct saving {
    axl_comm *comm;
    const axl_ckpt_options *o;
    int rank, world;
    int level;
    axl_str folder;           // the temporary one
    axl_ckpt_part *parts;     // [n_tensors] of this rank
    axl_ckpt_part *all_parts; // [world][n_tensors]; rank 0
    int64_t *shard_bytes;     // [world]; rank 0
    int64_t stored, raw;      // bytes of this rank
} saving;

// What a rank tells rank 0, in front of its parts.
typedef struct told {
    uint64_t list_hash; // of names and shapes: all ranks must list the same
    int64_t shard_bytes;
} told;

// This rank's rectangle, filled in.
static axl_block block_of(const axl_ckpt_tensor *t)
{
    const axl_block b = {t->row0, t->n_rows, t->col0, t->n_cols, t->ld};
    int64_t rows, cols;

    axl_ckpt_matrix(t->n_dims, t->dims, &rows, &cols);
    return axl_block_in(&b, cols);
}

static axl_status check_tensor(const axl_ckpt_tensor *t)
{
    axl_status status = AXL_OK;
    int64_t rows, cols;

    AXL_REQUIRE(t->n_dims >= 1 && t->n_dims <= AXL_CKPT_MAX_DIMS, AXL_E_BUG,
                "%s/%s: a tensor of %d dims in a checkpoint", t->group, t->name, t->n_dims);
    const axl_block b = block_of(t);
    axl_ckpt_matrix(t->n_dims, t->dims, &rows, &cols);
    AXL_REQUIRE(b.n_rows == 0 || axl_block_fits(&b, rows, cols), AXL_E_BUG,
                "%s/%s: rows %lld + %lld, columns %lld + %lld (ld %lld) of [%lld, %lld]", t->group,
                t->name, (long long)b.row0, (long long)b.n_rows, (long long)b.col0,
                (long long)b.n_cols, (long long)b.ld, (long long)rows, (long long)cols);

out:
    return status;
}

static uint64_t hash_list(const axl_ckpt_options *o)
{
    axl_hash h;

    axl_hash_init(&h, 0);
    for (int64_t i = 0; i < o->n_tensors; i++) {
        const axl_ckpt_tensor *t = &o->tensors[i];
        axl_hash_update(&h, t->group, strlen(t->group) + 1);
        axl_hash_update(&h, t->name, strlen(t->name) + 1);
        axl_hash_update(&h, &t->dtype, sizeof t->dtype);
        axl_hash_update(&h, t->dims, (size_t)t->n_dims * sizeof *t->dims);
    }
    return axl_hash_value(&h);
}

// ---- phase 1: the folder

static axl_status prepare(saving *s)
{
    axl_status status = AXL_OK;

    AXL_TRY(axl_h5_begin());
    AXL_TRY(axl_ckpt_put_dir(&s->folder, s->o->dir, s->o->step, ".tmp"));
    AXL_TRY(axl_calloc((size_t)s->o->n_tensors, sizeof *s->parts, "a manifest", &s->parts));
    for (int64_t i = 0; i < s->o->n_tensors; i++)
        AXL_TRY(check_tensor(&s->o->tensors[i]));
    if (s->rank == 0) {
        AXL_TRY(axl_ckpt_clean(s->o->dir));
        AXL_TRY(axl_dir_make(s->folder.data));
    }

out:
    return status;
}

// ---- phase 2: shards

static axl_status write_tensor(saving *s, hid_t file, const char *path, int64_t i,
                               axl_h5_packer *packer)
{
    axl_status status = AXL_OK;
    const axl_ckpt_tensor *t = &s->o->tensors[i];
    axl_str name = {0};
    char *host = NULL;
    axl_block b = block_of(t);

    AXL_ASSERT(s->parts != NULL);
    if (b.n_cols == 0)
        b.n_rows = 0;
    s->parts[i] = (axl_ckpt_part){.shard = s->rank, .at = b};
    s->parts[i].at.ld = b.n_cols; // as it lies in the shard
    if (b.n_rows == 0)
        goto out;
    axl_h5_array a = {.dtype = t->dtype, .ld = b.ld, .data = t->data};
    if (t->device != NULL && !t->device->host_memory) {
        const size_t bytes = (size_t)((b.n_rows - 1) * b.ld + b.n_cols) * axl_dtype_size(t->dtype);
        AXL_TRY(axl_calloc(bytes, 1, "a tensor on its way to the checkpoint", &host));
        AXL_TRY(axl_device_read(t->device, host, t->data, bytes));
        a.data = host;
    }
    a.n_dims = axl_ckpt_part_dims(t->n_dims, t->dims, &b, a.dims);
    AXL_TRY(axl_ckpt_put_set(&name, t->group, t->name));
    a.name = name.data;
    AXL_TRY(axl_h5_write(file, path, &a, packer, &s->parts[i].hash));
    s->raw += b.n_rows * b.n_cols * (int64_t)axl_dtype_size(t->dtype);

out:
    free(host);
    axl_str_fini(&name);
    return status;
}

static axl_status file_size(const char *path, int64_t *out)
{
    axl_status status = AXL_OK;
    struct stat info;

    AXL_REQUIRE(stat(path, &info) == 0, AXL_E_IO, "%s: was written but is not there", path);
    *out = info.st_size;

out:
    return status;
}

static axl_status write_shard(saving *s)
{
    axl_status status = AXL_OK;
    axl_str path = {0};
    axl_h5_packer packer = {0};
    hid_t file = -1;

    AXL_TRY(axl_str_printf(&path, "%s/", s->folder.data));
    AXL_TRY(axl_ckpt_put_shard(&path, s->rank, s->world));
    AXL_TRY(axl_h5_packer_init(&packer, s->level));
    AXL_TRY(axl_h5_create(path.data, &file));
    for (int64_t i = 0; i < s->o->n_tensors; i++)
        AXL_TRY(write_tensor(s, file, path.data, i, &packer));
    AXL_TRY(axl_h5_close(file, path.data));
    file = -1;
    AXL_TRY(axl_path_sync(path.data));
    AXL_TRY(file_size(path.data, &s->stored));

out:
    if (file >= 0)
        axl_h5_abandon(path.data);
    axl_h5_packer_fini(&packer);
    axl_str_fini(&path);
    return status;
}

// ---- phase 3: the index

static axl_status unpack_told(saving *s, const axl_str *all, uint64_t list_hash)
{
    axl_status status = AXL_OK;
    const size_t n = (size_t)s->o->n_tensors, record = sizeof(told) + n * sizeof(axl_ckpt_part);

    AXL_REQUIRE(all->len == (size_t)s->world * record, AXL_E_BUG,
                "ranks list different numbers of tensors for a checkpoint");
    AXL_TRY(axl_calloc((size_t)s->world * n, sizeof *s->all_parts, "a manifest", &s->all_parts));
    AXL_TRY(axl_calloc((size_t)s->world, sizeof *s->shard_bytes, "a manifest", &s->shard_bytes));
    for (int r = 0; r < s->world; r++) {
        const char *at = all->data + (size_t)r * record;
        told head;
        memcpy(&head, at, sizeof head);
        AXL_REQUIRE(head.list_hash == list_hash, AXL_E_BUG,
                    "rank %d lists other tensors for a checkpoint than rank 0", r);
        s->shard_bytes[r] = head.shard_bytes;
        memcpy(s->all_parts + (size_t)r * n, at + sizeof head, n * sizeof(axl_ckpt_part));
    }

out:
    return status;
}

// Collective; the answer's status is this rank's own.
static axl_status tell(saving *s)
{
    axl_status status = AXL_OK;
    const told head = {.list_hash = hash_list(s->o), .shard_bytes = s->stored};
    axl_str mine = {0}, all = {0};

    AXL_TRY(axl_str_append(&mine, &head, sizeof head));
    AXL_TRY(axl_str_append(&mine, s->parts, (size_t)s->o->n_tensors * sizeof *s->parts));
    AXL_TRY(axl_comm_gather_bytes(s->comm, mine.data, (int64_t)mine.len, &all, NULL));
    if (s->rank == 0)
        AXL_TRY(unpack_told(s, &all, head.list_hash));

out:
    axl_str_fini(&mine);
    axl_str_fini(&all);
    return status;
}

static axl_status write_index(saving *s)
{
    axl_status status = AXL_OK;
    axl_str path = {0};

    if (s->rank != 0)
        goto out;
    AXL_TRY(axl_str_printf(&path, "%s/index.h5", s->folder.data));
    AXL_TRY(axl_ckpt_write_index(path.data, s->o, s->world, s->shard_bytes, s->all_parts));
    AXL_TRY(axl_path_sync(path.data));
    axl_str_clear(&path);
    AXL_TRY(axl_str_printf(&path, "%s/trainer_state.json", s->folder.data));
    AXL_TRY(axl_file_write(path.data, s->o->meta_json, strlen(s->o->meta_json)));

out:
    axl_str_fini(&path);
    return status;
}

// ---- phase 4: the name

static axl_status commit(saving *s)
{
    axl_status status = AXL_OK;

    if (s->rank != 0)
        goto out;
    AXL_TRY(axl_ckpt_commit(s->o->dir, s->o->step));
    if (axl_ckpt_prune(s->o) != AXL_OK) // the new one is safe: no reason to stop a run
        axl_warn("an old checkpoint stays: %s", axl_error_message());

out:
    return status;
}

// After an agreed failure every rank is past its own writing, and the folder can go; nobody returns
// before it is gone. Keeps the message.
static void abandon(const saving *s, axl_status status)
{
    char message[2048];

    (void)snprintf(message, sizeof message, "%s", axl_error_message());
    if (s->rank == 0 && s->folder.len > 0)
        (void)axl_path_remove(s->folder.data);
    if (status != AXL_E_COMM)
        (void)axl_comm_barrier(s->comm);
    (void)axl_error_set(status, __FILE__, __LINE__, "%s", message);
}

axl_status axl_ckpt_write(axl_comm *c, const axl_ckpt_options *o, axl_ckpt_report *report)
{
    axl_status status = AXL_OK;
    const double begin = axl_now();
    saving s = {.comm = c, .o = o, .rank = axl_comm_rank(c), .world = axl_comm_size(c)};

    s.level = o->zstd_level == 0 ? DEFAULT_LEVEL : o->zstd_level;
    AXL_TRY(axl_comm_agree(c, prepare(&s)));
    AXL_TRY(axl_comm_agree(c, write_shard(&s)));
    AXL_TRY(axl_comm_agree(c, tell(&s)));
    AXL_TRY(axl_comm_agree(c, write_index(&s)));
    AXL_TRY(axl_comm_agree(c, commit(&s)));
    if (report != NULL) {
        int64_t bytes[2] = {s.raw, s.stored};
        AXL_TRY(axl_comm_all_reduce_i64(c, bytes, 2, AXL_REDUCE_SUM));
        *report = (axl_ckpt_report){bytes[0], bytes[1], axl_now() - begin};
    }

out:
    if (status != AXL_OK)
        abandon(&s, status);
    axl_str_fini(&s.folder);
    free(s.parts);
    free(s.all_parts);
    free(s.shard_bytes);
    return status;
}
