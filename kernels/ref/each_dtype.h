// Includes AXL_REF_FILE once for each dtype of activations. There `elem` is the type in memory, `real` that
// of sums and statistics, load and store convert between them (store rounds), R(exp) is expf or exp,
// and AXL_REF(name) the name of this dtype's copy. No include guard: it is a template.
#define elem          float
#define real          float
#define load(x)       (x)
#define store(x)      (x)
#define R(fn)         fn##f
#define AXL_REF(name) name##_f32
#define AXL_REF_DTYPE AXL_F32
#include AXL_REF_FILE // NOLINT(bugprone-suspicious-include): a kernel is its own template
#undef elem
#undef load
#undef store
#undef AXL_REF
#undef AXL_REF_DTYPE

#define elem          axl_bf16
#define load(x)       axl_bf16_to_f32(x)
#define store(x)      axl_f32_to_bf16(x)
#define AXL_REF(name) name##_bf16
#define AXL_REF_DTYPE AXL_BF16
#include AXL_REF_FILE // NOLINT(bugprone-suspicious-include): a kernel is its own template
#undef elem
#undef real
#undef load
#undef store
#undef R
#undef AXL_REF
#undef AXL_REF_DTYPE

#define elem          double
#define real          double
#define load(x)       (x)
#define store(x)      (x)
#define R(fn)         fn
#define AXL_REF(name) name##_f64
#define AXL_REF_DTYPE AXL_F64
#include AXL_REF_FILE // NOLINT(bugprone-suspicious-include): a kernel is its own template
#undef elem
#undef real
#undef load
#undef store
#undef R
#undef AXL_REF
#undef AXL_REF_DTYPE
