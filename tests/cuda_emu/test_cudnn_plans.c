// The installed cuDNN makes plans of attention's graphs for chips that are not here, from their descriptions (9.8 and
// later), with a driver that loads what it is given (driver_stand_in.c). So every descriptor, the pattern of the graph and
// the code that the library makes of it are checked by the library itself; only the run is not.
#include "kernels/cuda/cudnn_sdpa.h"
#include "tests/check.h"

#include <stdio.h>

typedef struct chip {
    const char *name;
    int version, n_multiprocessors; // capability * 100
} chip;

static const chip h100 = {"NVIDIA H100 80GB HBM3", 900, 132}, b200 = {"NVIDIA B200", 1000, 148};

static axl_dnn_calls calls;
enum { SUBLIBRARY_LOADING_FAILED = 1008 };

static void *describe(const chip *c)
{
    char json[2048];
    void *prop = NULL;
    const int n = snprintf(
        json, sizeof json,
        "{\"maxGridSize\": [2147483647, 65535, 65535], \"maxBlockSize\": [1024, 1024, 64], "
        "\"regsPerBlock\": 65536, \"multiProcessorCount\": %d, \"warpSize\": 32, "
        "\"maxSharedMemoryPerBlock\": 49152, \"maxSharedMemoryPerBlockOptin\": 232448, "
        "\"reservedSharedMemoryPerBlock\": 1024, \"maxRegistersPerSM\": 65536, "
        "\"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024, \"maxThreadsPerSM\": 2048, "
        "\"pciDeviceId\": 0, \"isTccDriver\": 0, \"supportCoopLaunch\": 1, "
        "\"totalGlobalMem\": 85000000000, \"smClockRateKHz\": 1980000, "
        "\"memClockRateKHz\": 2619000, \"memoryBusWidth\": 5120, \"l2CacheSize\": 52428800, "
        "\"cudaDeviceId\": 0, \"deviceVer\": %d, \"driverVer\": 13000, \"deviceName\": \"%s\"}",
        c->n_multiprocessors, c->version, c->name);

    assert_int_equal(calls.desc_create(AXL_DNN_DEVICEPROP, &prop), AXL_DNN_OK);
    assert_int_equal(calls.desc_set(prop, AXL_DNN_PROP_JSON, AXL_DNN_TYPE_CHAR, n, json),
                     AXL_DNN_OK);
    const int code = calls.finalize(prop);
    if (code == SUBLIBRARY_LOADING_FAILED) {
        print_message("skipped: this cuDNN wants more of a driver than driver_stand_in.c has\n");
        skip();
    }
    if (code != AXL_DNN_OK)
        fail_msg("a chip's description: %s", calls.text(code));
    return prop;
}

static void plan(const chip *c, axl_dnn_shape s)
{
    void *prop = describe(c);
    const axl_dnn_target on = {.calls = &calls, .deviceprop = prop, .arch = c->version / 10};
    axl_dnn_plan p;
    const char *where = NULL;

    s.ldq = (int64_t)s.n_heads * s.head_dim;
    s.ldk = (int64_t)s.n_kv_heads * s.head_dim;
    s.ldv = (int64_t)s.n_kv_heads * s.v_head_dim;
    s.ldo = (int64_t)s.n_heads * s.v_head_dim;
    const int code = axl_dnn_sdpa_plan(&on, &s, &p, &where);
    if (code != AXL_DNN_OK)
        fail_msg("%s: %s: %s", c->name, where, calls.text(code));
    assert_non_null(p.plan);
    assert_in_range(p.workspace_bytes, 0, 1 << 20); // no room for pairs of queries and keys
    axl_dnn_plan_fini(&calls, &p);
    assert_int_equal(calls.desc_destroy(prop), AXL_DNN_OK);
}

#define SHAPE(...)                                                                                 \
    (axl_dnn_shape)                                                                                \
    {                                                                                              \
        .n_seqs = 5, .seqlen = 1024, __VA_ARGS__                                                   \
    }
#define HEADS(h, hk, d) .n_heads = h, .n_kv_heads = hk, .head_dim = d, .v_head_dim = d

static void forward_on_sm_90(void **state)
{
    (void)state;
    plan(&h100, SHAPE(HEADS(32, 8, 128), .causal = true));
    plan(&h100, SHAPE(HEADS(9, 3, 64), .causal = true, .window = 100));
}

static void forward_on_sm_100(void **state)
{
    (void)state;
    plan(&b200, SHAPE(HEADS(9, 3, 64)));
}

static void backward_on_sm_100(void **state)
{
    (void)state;
    if (calls.version() < 91800) {
        print_message("skipped: before 9.18 there is no repeatable one\n");
        skip();
    }
    plan(&b200, SHAPE(HEADS(32, 8, 128), .causal = true, .backward = true));
    plan(&b200, SHAPE(HEADS(4, 4, 80), .causal = true, .window = 100, .backward = true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_on_sm_90),
        cmocka_unit_test(forward_on_sm_100),
        cmocka_unit_test(backward_on_sm_100),
    };
    const char *why = NULL;

    if (!axl_dnn_load(&calls, &why)) {
        print_message("skipped: %s\n", why);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
