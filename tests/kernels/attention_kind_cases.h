// The cases of the forwards of attention that round, and of eager attention; their runner is that of attention_cases.h,
// which stands before this in cases.c.
// The same of the other forwards: whole vectors and odd widths, groups, windows, ring chunks, strides.
// NOLINTNEXTLINE(bugprone-macro-parentheses): designated initialisers
#define KIND_CASES(k, grad)                                                                          \
    {{"tiny", grad}, {5, 1, 3}, {0}, 3, HEADS(2, 1, 8), CAUSAL, .kind = k},                          \
        {{"many_short", 0}, {1, 2, 1, 0, 7, 1, 33, 16, 1}, {0}, 9, HEADS(6, 2, 16), CAUSAL,          \
         .kind = k},                                                                                 \
        {{"grouped_64", grad}, {70, 130}, {0}, 2, HEADS(3, 1, 64), CAUSAL, .kind = k},               \
        {{"long", 0}, {250, 61}, {0}, 2, HEADS(4, 2, 40), CAUSAL, .pad = 8, .kind = k},              \
        {{"no_group_12", grad}, {40, 9}, {0}, 2, HEADS(2, 2, 12), CAUSAL, .kind = k},                \
        {{"head_128", 0},  {257},    {0}, 1, HEADS(2, 1, 128), CAUSAL, .accumulate = true,           \
         .grad_f32 = true, .kind = k},                                                               \
        {{"narrow_values", grad}, {20, 31},         {0},    2,        .n_heads = 2, .n_kv_heads = 1, \
         .head_dim = 40,          .v_head_dim = 24, CAUSAL, .kind = k},                              \
        {{"full_mask", grad}, {30, 50}, {0}, 2, HEADS(4, 2, 32), .kind = k},                         \
        {{"window", grad}, {90, 20}, {0}, 2, HEADS(2, 1, 16), CAUSAL, .window = 13, .kind = k},      \
        {{"window_long", 0}, {300}, {0}, 1, HEADS(3, 1, 16), CAUSAL, .window = 130, .kind = k},      \
        {{"ring_later", 0}, {50, 20},    {60, 40}, 2, HEADS(2, 1, 32), CAUSAL,                       \
         .pos_q = 10,       .pos_k = 30, .kind = k},                                                 \
        {{"gaps_grouped", 0}, {100, 7, 61}, {90, 30, 75}, 3,                                         \
         HEADS(6, 2, 24),     CAUSAL,       .gaps = 3,    .kind = k},                                \
        {{"no_keys_or_queries", 0}, {3, 0, 40, 0, 2}, {5, 30, 0, 0, 9}, 5, HEADS(4, 2, 16), CAUSAL,  \
         .accumulate = true,        .gaps = 4,        .kind = k},                                    \
        {{"no_tokens", 0}, {0, 0}, {0}, 2, HEADS(2, 1, 16), CAUSAL, .kind = k},                      \
        {{"prefix", grad}, {70, 9, 1, 30}, {0},          4,                                          \
         HEADS(2, 1, 16),  PREFIX,         .prefix = 12, .kind = k},                                 \
        {{"tile_64", 0}, {70, 1, 0, 129}, {0}, 4, HEADS(4, 1, 64), CAUSAL, .pad = 8, .kind = k},     \
        {{"tile_96", 0}, {33, 0, 100}, {0}, 3, HEADS(4, 1, 96), PREFIX, .prefix = 40, .kind = k},    \
        {{"tile_window", 0}, {140}, {0}, 1, HEADS(4, 1, 64), CAUSAL, .window = 37, .kind = k},       \
        {{"tile_256", 0}, {20, 67}, {0}, 2, HEADS(2, 1, 256), CAUSAL, .grad_f32 = true, .kind = k},  \
        {{"tile_gaps", 0}, {70, 0, 9},   {90, 5, 0}, 3,        HEADS(2, 1, 64),                      \
         CAUSAL,           .window = 50, .gaps = 3,  .kind = k},                                     \
    {                                                                                                \
        {"one_1024", KT_BENCH}, {1024}, {0}, 1, HEADS(9, 3, 64), CAUSAL, .kind = k                   \
    }

static const attn_case attn_half_cases[] = {
    KIND_CASES(ATTN_HALF, 0),
    {{"softcap", 0}, {45, 80}, {0}, 2, HEADS(2, 1, 16), CAUSAL, .softcap = 2.0f, .kind = ATTN_HALF},
    {{"tile_softcap", 0},
     {66},
     {0},
     1,
     HEADS(2, 1, 64),
     CAUSAL,
     .softcap = 2.0f,
     .kind = ATTN_HALF},
    {{"out_f32", 0}, {70, 13}, {0}, 2, HEADS(3, 1, 20), CAUSAL, .out_f32 = true, .kind = ATTN_HALF},
    {{"tile_out_f32", 0}, {66}, {131}, 1, HEADS(2, 2, 64), .out_f32 = true, .kind = ATTN_HALF},
};
static const attn_case attn_sage_cases[] = {
    KIND_CASES(ATTN_SAGE, 0),
    {{"out_f32", 0}, {70, 13}, {0}, 2, HEADS(3, 1, 20), CAUSAL, .out_f32 = true, .kind = ATTN_SAGE},
    {{"tile_out_f32", 0}, {66}, {131}, 1, HEADS(2, 2, 64), .out_f32 = true, .kind = ATTN_SAGE},
};
static const attn_case attn_fp8_cases[] = {
    KIND_CASES(ATTN_FP8, 0),
    {{"softcap", 0}, {45, 80}, {0}, 2, HEADS(2, 1, 16), CAUSAL, .softcap = 2.0f, .kind = ATTN_FP8},
    {{"tile_softcap", 0}, {66}, {0}, 1, HEADS(2, 1, 64), CAUSAL, .softcap = 2.0f, .kind = ATTN_FP8},
    {{"out_f32", 0}, {70, 13}, {0}, 2, HEADS(3, 1, 20), CAUSAL, .out_f32 = true, .kind = ATTN_FP8},
    {{"tile_out_f32", 0}, {66}, {131}, 1, HEADS(2, 2, 64), .out_f32 = true, .kind = ATTN_FP8},
};
static const attn_case attn_eager_cases[] = {
    KIND_CASES(ATTN_EAGER, KT_GRAD),
    {{"softcap", KT_GRAD},
     {45, 80},
     {0},
     2,
     HEADS(2, 1, 16),
     CAUSAL,
     .softcap = 2.0f,
     .kind = ATTN_EAGER},
    {{"tile_softcap", 0},
     {66},
     {0},
     1,
     HEADS(2, 1, 64),
     CAUSAL,
     .softcap = 2.0f,
     .kind = ATTN_EAGER},
};

// NOLINTNEXTLINE(bugprone-macro-parentheses): list is a name
#define KIND_KERNEL(list)                                                                          \
    {                                                                                              \
        .name = #list, .run = attn_run, .cases = list##_cases,                                     \
        .case_bytes = sizeof list##_cases[0],                                                      \
        .n_cases = sizeof list##_cases / sizeof list##_cases[0], .sums = {{"out", "dout"}},        \
        .grads = {                                                                                 \
            {"q", "dq"},                                                                           \
            {"k", "dk"},                                                                           \
            {"v", "dv"}                                                                            \
        }                                                                                          \
    }
static const kt_kernel attn_half_kernel = KIND_KERNEL(attn_half);
static const kt_kernel attn_sage_kernel = KIND_KERNEL(attn_sage);
static const kt_kernel attn_fp8_kernel = KIND_KERNEL(attn_fp8);
static const kt_kernel attn_eager_kernel = KIND_KERNEL(attn_eager);
