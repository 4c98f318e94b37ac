// CUDA's functions of single values, and its atomics. device.h includes this.
#ifndef AXL_CUDA_EMU_SCALARS_H
#define AXL_CUDA_EMU_SCALARS_H

#define __expf expf
#define __logf logf

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __clz(int x)
{
    return x == 0 ? 32 : __builtin_clz((unsigned)x);
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}
static inline float __fdividef(float a, float b)
{
    return a / b;
}
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline float __fsub_rn(float a, float b)
{
    return a - b;
}
static inline float __fdiv_rn(float a, float b)
{
    return a / b;
}
static inline float __fsqrt_rn(float a)
{
    return sqrtf(a);
}
static inline double __dmul_rn(double a, double b)
{
    return a * b;
}
static inline double __dadd_rn(double a, double b)
{
    return a + b;
}
static inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}
static inline int __float_as_int(float f)
{
    int i;
    memcpy(&i, &f, sizeof i);
    return i;
}
static inline float __int_as_float(int i)
{
    float f;
    memcpy(&f, &i, sizeof f);
    return f;
}
static inline unsigned __float_as_uint(float f)
{
    return (unsigned)__float_as_int(f);
}
static inline float __uint_as_float(unsigned i)
{
    return __int_as_float((int)i);
}
static inline int __float2int_rn(float f)
{
    return (int)nearbyintf(f);
}
template <class T> T __ldg(const T *p)
{
    return *p;
}
template <class T> T __ldcs(const T *p)
{
    return *p;
}
template <class T> void __stcs(T *p, T v)
{
    *p = v;
}
#define EMU_MIN_MAX(type)                                                                          \
    static inline type min(type a, type b)                                                         \
    {                                                                                              \
        return b < a ? b : a;                                                                      \
    }                                                                                              \
    static inline type max(type a, type b)                                                         \
    {                                                                                              \
        return a < b ? b : a;                                                                      \
    }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(float)
#undef EMU_MIN_MAX

// ---- atomics (relaxed, as CUDA's)

template <class T> T emu_atomic(T *p, T v, T (*join)(T, T))
{
    T old, next;
    __atomic_load(p, &old, __ATOMIC_RELAXED);
    do {
        next = join(old, v);
    } while (!__atomic_compare_exchange(p, &old, &next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

template <class T> T atomicAdd(T *p, T v)
{
    return emu_atomic<T>(p, v, [](T a, T b) { return (T)(a + b); });
}
template <class T> T atomicMax(T *p, T v)
{
    return emu_atomic<T>(p, v, [](T a, T b) { return a < b ? b : a; });
}
template <class T> T atomicMin(T *p, T v)
{
    return emu_atomic<T>(p, v, [](T a, T b) { return b < a ? b : a; });
}
template <class T> T atomicOr(T *p, T v)
{
    return emu_atomic<T>(p, v, [](T a, T b) { return (T)(a | b); });
}
template <class T> T atomicExch(T *p, T v)
{
    return emu_atomic<T>(p, v, [](T, T b) { return b; });
}

#endif
