// CPUID and XGETBV, once for the process.
#include "kernels/cpu/features.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdint.h>

#define XCR0_AVX    0x6u     // xmm and ymm
#define XCR0_AVX512 0xe6u    // also masks and zmm
#define XCR0_AMX    0x60000u // tile configuration and data

static axl_cpu_features found;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t saved_registers(void)
{
    uint32_t low = 0, high = 0;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static void find(void)
{
    uint32_t a, b, c, d, unused, ext_a = 0;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return;
    const uint32_t saved = saved_registers();
    const bool fma = (c & bit_FMA) != 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return;
    const uint32_t avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    const bool amx = (d & (1u << 22)) != 0 && (d & (1u << 24)) != 0;
    (void)__get_cpuid_count(7, 1, &ext_a, &unused, &unused, &unused);
    found.avx2 = (b & bit_AVX2) && fma && (saved & XCR0_AVX) == XCR0_AVX;
    found.avx512 = found.avx2 && (b & avx512) == avx512 && (saved & XCR0_AVX512) == XCR0_AVX512;
    found.avx512_bf16 = found.avx512 && (ext_a & (1u << 5)) != 0;
    found.amx_bf16 = amx && (saved & XCR0_AMX) == XCR0_AMX;
    if (found.amx_bf16 && __get_cpuid_count(0x1d, 1, &a, &b, &c, &d))
        found.amx_tiles = (a | b | c) != 0;
}

const axl_cpu_features *axl_cpu_features_get(void)
{
    (void)pthread_once(&once, find);
    return &found;
}
