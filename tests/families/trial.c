// Setting up and comparing a tiny model. Documents of the reference row are dealt in turn to (micro-step,
// rank); some may get none.
#include "tests/families/trial.h"

#include "src/model/resize.h"

#include <stdlib.h>

static const void *array(const trial *t, const char *name, int64_t *n)
{
    const axl_tensor_entry *e = axl_safetensors_find(t->golden, name);
    if (e == NULL)
        fail_msg("%s lacks %s", t->where, name);
    if (n != NULL)
        *n = axl_tensor_count(&e->spec);
    return e->data;
}

// Leaves this rank's tokens of a micro-batch.
static void split(trial *t, axl_batch *b)
{
    const int rank = t->mesh->coord[AXL_CP];

    CHECK_OK(axl_cp_layout_set(&t->layout, t->cu, b->n_seqs));
    const int32_t *rows = axl_cp_rows(&t->layout, rank);
    b->cp = &t->layout;
    b->n_tokens = (int32_t)axl_cp_n_rows(&t->layout, rank);
    b->cu_seqlens = axl_cp_local_cu(&t->layout, rank);
    for (int32_t i = 0; i < b->n_tokens; i++) {
        t->part[0][i] = t->ids[rows[i]];
        t->part[1][i] = t->labels[rows[i]];
        t->part[2][i] = t->positions[rows[i]];
    }
    b->input_ids = t->part[0];
    b->labels = t->part[1];
    b->position_ids = t->part[2];
}

static void begin_split(trial *t, int64_t n_tokens, int64_t n_docs)
{
    const int n = t->mesh->size[AXL_CP];

    for (int i = 0; i < 3; i++)
        t->part[i] = calloc((size_t)n_tokens, sizeof(int32_t));
    t->layout_memory = calloc(axl_cp_layout_bytes(n, n_tokens, (int32_t)n_docs), 1);
    axl_cp_layout_init(&t->layout, axl_ring_layout(t->options.ring), n, n_tokens, (int32_t)n_docs,
                       t->layout_memory);
}

// The documents of one micro-step of this rank.
static axl_batch deal(trial *t, int micro_step)
{
    int ranks = axl_mesh_n_batches(t->mesh);
    const int32_t *cu = t->row_cu;
    axl_batch b = {.input_ids = t->ids,
                   .labels = t->labels,
                   .position_ids = t->positions,
                   .cu_seqlens = t->cu};

    t->cu[0] = 0;
    for (int64_t d = 0; d < t->n_docs; d++) {
        if (d % (ranks * t->options.micro_steps) !=
            micro_step * ranks + axl_mesh_batch_rank(t->mesh))
            continue;
        int32_t n = cu[d + 1] - cu[d];
        for (int32_t i = 0; i < n; i++) {
            t->ids[b.n_tokens + i] = t->row_ids[cu[d] + i];
            t->labels[b.n_tokens + i] = i + 1 < n ? t->row_labels[cu[d] + i + 1] : AXL_IGNORE;
            t->positions[b.n_tokens + i] = i;
        }
        b.n_tokens += n;
        b.max_seqlen = n > b.max_seqlen ? n : b.max_seqlen;
        t->cu[++b.n_seqs] = b.n_tokens;
    }
    if (t->mesh->size[AXL_CP] > 1)
        split(t, &b);
    return b;
}

// A row of made-up documents: one label in five is not trained, nor the first of a document.
static void make_row(trial *t, const trial_options *o)
{
    uint32_t x = 12345;
    int32_t *ids, *labels, *cu;

    for (int i = 0; i < o->n_lengths; i++)
        t->n_tokens += o->lengths[i];
    t->n_docs = o->n_lengths;
    t->made = calloc((size_t)(2 * t->n_tokens + t->n_docs + 1), sizeof(int32_t));
    t->row_ids = ids = t->made;
    t->row_labels = labels = ids + t->n_tokens;
    t->row_cu = cu = labels + t->n_tokens;
    for (int i = 0; i < o->n_lengths; i++) {
        cu[i + 1] = cu[i] + o->lengths[i];
        for (int32_t k = cu[i]; k < cu[i + 1]; k++) {
            x = x * 1664525u + 1013904223u;
            ids[k] = 3 + (int32_t)(x >> 8) % (int32_t)(t->model->arch.vocab - 3);
            labels[k] = k == cu[i] || (!o->all_trained && (x >> 4) % 5 == 0) ? AXL_IGNORE : ids[k];
        }
    }
}

static void open_row(trial *t, const trial_options *o)
{
    if (o->lengths != NULL) {
        make_row(t, o);
    } else {
        t->row_ids = array(t, "input_ids", &t->n_tokens);
        t->row_labels = array(t, "labels", NULL);
        t->row_cu = array(t, "cu_seqlens", &t->n_docs);
        t->n_docs--;
    }
    for (int64_t i = 0; i < t->n_tokens; i++)
        t->n_trained += t->row_labels[i] >= 0;
    t->ids = calloc((size_t)t->n_tokens, sizeof(int32_t));
    t->labels = calloc((size_t)t->n_tokens, sizeof(int32_t));
    t->positions = calloc((size_t)t->n_tokens, sizeof(int32_t));
    t->cu = calloc((size_t)t->n_docs + 1, sizeof(int32_t));
    begin_split(t, t->n_tokens, t->n_docs);
}

// More layers than the case has, of its kinds in turn.
static void deepen(axl_arch *arch, int n_layers)
{
    axl_layer *layers = calloc((size_t)n_layers, sizeof *layers);

    for (int l = 0; l < n_layers; l++)
        layers[l] = arch->layers[l % arch->n_layers];
    free(arch->layers);
    arch->layers = layers;
    arch->n_layers = n_layers;
}

void trial_begin(trial *t, const char *name, axl_comm *comm, const trial_options *o)
{
    char path[700];
    axl_arch arch;
    const axl_device_options d = {.backend = o->backend, .n_threads = 1};
    const axl_sharder_options so = {.dtype = o->bf16 ? AXL_BF16 : AXL_F32,
                                    .train = true,
                                    .reshard_after_forward = o->reshard,
                                    .offload = o->offload_state,
                                    .host_threads = 1,
                                    .reduce_bf16 = o->reduce_bf16,
                                    .invariant = o->invariant};
    const int whole[AXL_N_AXES] = {1, axl_comm_size(comm), 1, 1, 1};

    *t = (trial){.options = *o, .comm = comm};
    if (t->options.micro_steps == 0)
        t->options.micro_steps = 1;
    (void)snprintf(t->dir, sizeof t->dir, "%s/families/%s", AXL_TEST_DATA, name);
    (void)snprintf(t->where, sizeof t->where, "%s", t->dir);
    (void)snprintf(path, sizeof path, "%s/golden.safetensors", t->dir);
    CHECK_OK(axl_safetensors_open(path, &t->golden));
    (void)snprintf(path, sizeof path, "%s/golden.json", t->dir);
    CHECK_OK(axl_json_read(path, &t->meta));
    CHECK_OK(axl_device_create(&d, &t->device));
    CHECK_OK(axl_comm_use_device(comm, t->device));
    CHECK_OK(axl_hfdir_open(t->dir, &t->hf));
    CHECK_OK(axl_arch_read(t->dir, &arch));
    if (o->aux_coef > 0.0)
        arch.moe.aux_coef = o->aux_coef;
    if (o->n_layers > 0)
        deepen(&arch, o->n_layers);
    arch.fp8 = o->fp8;
    if (o->attention != NULL)
        arch.attention = *o->attention;
    CHECK_OK(axl_mesh_create(comm, o->mesh[0] > 0 ? o->mesh : whole, &t->mesh));
    CHECK_OK(axl_model_create(&arch, t->mesh, &t->model));
    CHECK_OK(
        axl_sharder_init(&t->sharder, t->device, t->mesh, t->model->units, t->model->n_units, &so));
    if (o->n_layers > 0)
        CHECK_OK(axl_model_reinit(t->model, 0.05, 1));
    else
        CHECK_OK(axl_model_load(t->model, t->hf));
    open_row(t, o);
    const axl_work_options w = {.n_tokens = axl_cp_most_rows(t->n_tokens, t->mesh->size[AXL_CP]),
                                .whole_tokens = t->n_tokens,
                                .ring = o->ring,
                                .n_seqs = t->n_docs,
                                .dtype = o->bf16 ? AXL_BF16 : AXL_F32,
                                .checkpointing = o->mode,
                                .graphs = o->graphs,
                                .offload = o->offload,
                                .train = true};
    CHECK_OK(axl_work_init(&t->work, t->model, t->device, &w));
}

void trial_end(trial *t)
{
    axl_work_fini(&t->work);
    axl_sharder_fini(&t->sharder);
    axl_model_destroy(t->model);
    axl_mesh_destroy(t->mesh);
    axl_hfdir_close(t->hf);
    axl_device_destroy(t->device);
    axl_safetensors_close(t->golden);
    axl_json_free(t->meta);
    free(t->ids);
    free(t->labels);
    free(t->positions);
    free(t->cu);
    free(t->made);
    for (int i = 0; i < 3; i++)
        free(t->part[i]);
    free(t->layout_memory);
}

static double micro_step(trial *t, int index)
{
    const axl_batch batch = deal(t, index);
    double *grad = calloc((size_t)batch.n_tokens + 1, sizeof *grad);
    double *logp = calloc((size_t)batch.n_tokens + 1, sizeof *logp);
    double loss = 0.0;
    double router_loss = 0.0;

    CHECK_OK(axl_work_set_batch(&t->work, &batch));
    axl_traffic_activations(&t->work, &batch, &t->traffic);
    axl_sharder_begin_micro(&t->sharder, index + 1 == t->options.micro_steps);
    for (int64_t i = 0; i < t->work.n_scored; i++)
        grad[i] = -1.0 / (double)t->n_trained;
    CHECK_OK(axl_pass_forward(&t->work, &t->sharder));
    CHECK_OK(
        axl_router_loss(&t->work, (double)t->work.n_scored, (double)t->n_trained, &router_loss));
    CHECK_OK(axl_pass_head(&t->work, &t->sharder, grad, true));
    CHECK_OK(axl_head_logp(&t->work, logp));
    for (int64_t i = 0; i < t->work.n_scored; i++)
        loss -= logp[i] / (double)t->n_trained;
    loss += router_loss;
    CHECK_OK(axl_pass_backward(&t->work, &t->sharder));
    CHECK_OK(axl_sharder_end_micro(&t->sharder));
    free(grad);
    free(logp);
    return loss;
}

double trial_run(trial *t)
{
    double loss = 0.0;

    t->traffic = (axl_traffic){0};
    axl_traffic_weights(t->model, &t->sharder.options, t->options.micro_steps, &t->traffic);
    axl_mesh_counters_reset(t->mesh);
    axl_dispatch_reset(t->work.dispatch);
    axl_sharder_begin_step(&t->sharder);
    for (int i = 0; i < t->options.micro_steps; i++)
        loss += micro_step(t, i);
    CHECK_OK(axl_sharder_finish(&t->sharder));
    axl_traffic_experts(&t->work, &t->traffic);
    CHECK_OK(axl_comm_all_reduce_f64(t->mesh->loss, &loss, 1, AXL_REDUCE_SUM));
    return loss;
}

void trial_check_traffic(const trial *t)
{
    axl_comm_counter c[AXL_COMM_N_OPS] = {{0}};

    for (int g = 0; g < AXL_N_GROUPS; g++) {
        if (t->mesh->comms[g] == NULL)
            continue;
        axl_comm_counters_read(t->mesh->comms[g], c);
        for (int op = 0; op < AXL_COMM_N_OPS; op++)
            if (c[op].sent_bytes != t->traffic.sent[g][op])
                fail_msg("%s: %s on %s sent %lld bytes, the formula says %lld", t->where,
                         axl_comm_op_name((axl_comm_op)op), axl_comm_name(t->mesh->comms[g]),
                         (long long)c[op].sent_bytes, (long long)t->traffic.sent[g][op]);
    }
}

// The differing and the reference's L2 norm over all ranks.
static double relative_difference(const trial *t, double diff, double norm, double floor)
{
    double sums[2] = {diff, norm};

    CHECK_OK(axl_comm_all_reduce_f64(t->comm, sums, 2, AXL_REDUCE_SUM));
    return sqrt(sums[0]) / (sqrt(sums[1]) + floor);
}

void trial_check_gradients(const trial *t)
{
    for (int i = 0; i < t->model->n_tensors; i++) {
        const axl_param *p = t->model->tensors[i].param;
        const axl_param_rect r = axl_param_rect_of(p, t->model->tensors[i].mat);
        char name[300];
        int64_t n;
        (void)snprintf(name, sizeof name, "grad/%s", t->model->tensors[i].key);
        const float *want = array(t, name, &n);
        double diff = 0.0;
        double norm = 0.0;
        axl_host_view view;
        CHECK_OK(axl_param_map(p, p->grad_shard, &r, true, &view));
        const float *got = view.host;
        assert_int_equal(n, p->file_rows * p->file_cols);
        for (int64_t k = 0; k < r.block.n_rows * r.block.n_cols;
             k++) { // replicas too: all must be right
            double x = (double)want[(r.block.row0 + k / r.block.n_cols) * p->file_cols +
                                    r.block.col0 + k % r.block.n_cols];
            diff += pow((double)got[k] - x, 2.0);
            norm += pow(x, 2.0);
        }
        CHECK_OK(axl_device_unmap(&view, false));
        // a key bias has no gradient in exact arithmetic; the floor keeps its noise out of the ratio
        double off = relative_difference(t, diff, norm, 1e-3);
        if (!(off <= 1e-4))
            fail_msg("%s %s: off by %.3g of its norm", t->where, name, off);
    }
}

void trial_check_params(const trial *t, const char *what)
{
    for (int i = 0; i < t->model->n_tensors; i++) {
        const axl_param *p = t->model->tensors[i].param;
        const axl_param_rect r = axl_param_rect_of(p, t->model->tensors[i].mat);
        char name[300];
        int64_t n;
        int64_t count = p->file_rows * p->file_cols;
        double diff = 0.0;
        double norm = 0.0;
        axl_host_view view;
        CHECK_OK(axl_param_map(p, p->master, &r, true, &view));
        const float *got = view.host;
        (void)snprintf(name, sizeof name, "%s/%s", what, t->model->tensors[i].key);
        const float *want = array(t, name, &n);
        for (int64_t k = 0; k < n; k++) { // the reference keeps n of count elements
            int64_t row = k * count / n / p->file_cols - r.block.row0;
            int64_t col = k * count / n % p->file_cols - r.block.col0;
            if (row < 0 || row >= r.block.n_rows || col < 0 || col >= r.block.n_cols)
                continue;
            diff += pow((double)got[row * r.block.n_cols + col] - (double)want[k], 2.0);
            norm += pow((double)want[k], 2.0);
        }
        CHECK_OK(axl_device_unmap(&view, false));
        double off = relative_difference(t, diff, norm, 0.0);
        if (!(off <= 1e-4))
            fail_msg("%s %s: off by %.3g of its norm", t->where, name, off);
    }
}

double trial_meta(const trial *t, const char *key)
{
    const axl_json *v = axl_json_get(axl_json_get(t->meta, "adamw"), key);
    return axl_json_real(v != NULL ? v : axl_json_get(t->meta, key), NAN);
}

static axl_hyper settings(const trial *t)
{
    const axl_json *betas = axl_json_get(axl_json_get(t->meta, "adamw"), "betas");

    return (axl_hyper){.lr = trial_meta(t, "lr"),
                       .beta1 = axl_json_real(axl_json_at(betas, 0), NAN),
                       .beta2 = axl_json_real(axl_json_at(betas, 1), NAN),
                       .eps = trial_meta(t, "eps"),
                       .weight_decay = trial_meta(t, "weight_decay"),
                       .grad_scale = 1.0};
}

static double train_step(trial *t, axl_hyper *h)
{
    const axl_optimizer *opt = axl_optimizer_find("adamw_torch");
    const double loss = trial_run(t);

    h->t++;
    CHECK_OK(axl_sharder_begin_update(&t->sharder));
    CHECK_OK(axl_optimizer_update(opt, &t->sharder, h));
    return loss;
}

void trial_train(trial *t, int n, double *losses)
{
    axl_hyper h = settings(t);

    for (int i = 0; i < n; i++)
        losses[i] = train_step(t, &h);
}

void trial_check_same(const trial *t, const trial *solo)
{
    for (int i = 0; i < t->model->n_tensors; i++) {
        const axl_param *p = t->model->tensors[i].param;
        const axl_param *q = solo->model->tensors[i].param;
        const int mat = t->model->tensors[i].mat;
        const axl_param_rect r = axl_param_rect_of(p, mat), all = axl_param_rect_of(q, mat);
        double diff = 0.0;
        double norm = 0.0;
        axl_host_view mine, whole;
        CHECK_OK(axl_param_map(p, p->master, &r, true, &mine));
        CHECK_OK(axl_param_map(q, q->master, &all, true, &whole));
        const float *got = mine.host, *want = whole.host;
        assert_string_equal(t->model->tensors[i].key, solo->model->tensors[i].key);
        assert_int_equal(all.block.n_rows, q->file_rows);
        for (int64_t k = 0; k < r.block.n_rows * r.block.n_cols; k++) {
            const int64_t row = r.block.row0 + k / r.block.n_cols;
            const int64_t col = r.block.col0 + k % r.block.n_cols;
            const double x = (double)want[row * q->cols + col];
            diff += pow((double)got[k] - x, 2.0);
            norm += pow(x, 2.0);
        }
        CHECK_OK(axl_device_unmap(&mine, false));
        CHECK_OK(axl_device_unmap(&whole, false));
        double off = relative_difference(t, diff, norm, 0.0);
        if (!(off <= 1e-4))
            fail_msg("%s %s: off by %.3g of its norm", t->where, t->model->tensors[i].key, off);
    }
}

void trial_check_steps(trial *t)
{
    axl_hyper h = settings(t);

    for (int step = 1; step <= 5; step++) {
        double loss = train_step(t, &h);
        double want = axl_json_real(
            axl_json_at(axl_json_get(t->meta, "spared_step_losses"), (size_t)(step - 1)), NAN);
        if (!(fabs(loss - want) <= 1e-5 * want))
            fail_msg("%s: loss before step %d is %.8f, expected %.8f", t->where, step, loss, want);
        if (step == 1)
            trial_check_params(t, "spared_step1");
    }
    trial_check_params(t, "spared_step5");
}
