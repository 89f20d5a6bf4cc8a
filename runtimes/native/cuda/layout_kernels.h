// A thread an element.
#pragma once

#include "device.h"

namespace svf {

constexpr int kLayoutThreads = 256;

// uint8 [T, C, positions] to [T, positions, C].
__global__ void __launch_bounds__(kLayoutThreads)
    channels_last_kernel(int64_t channels, int64_t positions, int64_t count, const uint8_t* x, uint8_t* y) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kLayoutThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kLayoutThreads + threadIdx.x; i < count; i += stride) {
    const int64_t frame = i / channels / positions * channels * positions;
    y[i] = x[frame + i % channels * positions + i / channels % positions];
  }
}

// Two's complement fields of 4 or 2 bits; the shift to the top and back extends their sign.
__global__ void __launch_bounds__(kLayoutThreads)
    unpack_weights_kernel(const uint8_t* packed, int32_t bits, int64_t size, int8_t* weight) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kLayoutThreads;
  const int per_byte = 8 / bits;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kLayoutThreads + threadIdx.x; i < size; i += stride) {
    const int field = static_cast<int>(i % per_byte) * bits;
    const int8_t top = static_cast<int8_t>(static_cast<uint8_t>(packed[i / per_byte] << (8 - bits - field)));
    weight[i] = static_cast<int8_t>(top >> (8 - bits));
  }
}

}  // namespace svf
