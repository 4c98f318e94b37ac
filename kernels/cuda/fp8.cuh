// Numbers as e4m3 and their scales on the device, as kernels/low.h has them.
#ifndef AXL_KERNELS_CUDA_FP8_CUH
#define AXL_KERNELS_CUDA_FP8_CUH

#include "kernels/cuda/vector.cuh"

// axl_fp8_scale, from the bits of the largest |x|.
__device__ __forceinline__ float axl_fp8_scale_of(unsigned most)
{
    const unsigned least = __float_as_uint(1e-12f), bits = most < least ? least : most;

    return bits >= 0x7f800000u ? __uint_as_float(0x7fc00000u)
                               : __uint_as_float((((bits + 0x1fffffu) >> 23) - 8u) << 23);
}

// axl_e4m3_from_f32
__device__ __forceinline__ unsigned axl_e4m3_bits(float x)
{
    const unsigned all = __float_as_uint(x), sign = all >> 24 & 0x80u, bits = all & 0x7fffffffu;
    const float size = __uint_as_float(bits);

    if (bits > 0x7f800000u)
        return 0x7fu;
    if (size < 0x1p-6f) // steps of 2^-9
        return sign | (__float_as_uint(size + 0x1.8p14f) - __float_as_uint(0x1.8p14f));
    const unsigned code = ((bits + 0x7ffffu + (bits >> 20 & 1u)) >> 20) - (120u << 3);
    return sign | (code < 0x7eu ? code : 0x7eu);
}

// Two numbers as e4m3, low first.
__device__ __forceinline__ unsigned axl_pack_e4m3(float low, float high)
{
#if !defined(AXL_CUDA_EMU) && __CUDA_ARCH__ >= 890
    unsigned short bits;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;\n" : "=h"(bits) : "f"(high), "f"(low));
    return bits;
#else
    return axl_e4m3_bits(low) | axl_e4m3_bits(high) << 8;
#endif
}

template <int N, class T>
__device__ __forceinline__ axl_raw<unsigned char, N> axl_to_e4m3(const axl_raw<T, N> &raw,
                                                                 float to_unit)
{
    axl_raw<unsigned char, N> out;
    float x[N];

    axl_floats(raw, x);
#pragma unroll
    for (int i = 0; i < N; i += 2) {
        const unsigned pair = axl_pack_e4m3(x[i] * to_unit, x[i + 1] * to_unit);
        out.v[i] = (unsigned char)(pair & 255u);
        out.v[i + 1] = (unsigned char)(pair >> 8);
    }
    return out;
}

template <int N, class T>
__device__ __forceinline__ unsigned axl_largest(const axl_raw<T, N> &raw, unsigned most)
{
    float x[N];

    axl_floats(raw, x);
#pragma unroll
    for (int i = 0; i < N; i++)
        most = max(most, __float_as_uint(x[i]) & 0x7fffffffu);
    return most;
}

// The largest over a block's threads, to each of them. scratch: [32].
__device__ __forceinline__ unsigned axl_block_largest(unsigned most, unsigned *scratch)
{
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32,
              n_warps = (int)blockDim.x / 32;

    most = axl_warp_max(most);
    if (lane == 0)
        scratch[warp] = most;
    __syncthreads();
    return axl_warp_max(lane < n_warps ? scratch[lane] : 0u);
}

#endif
