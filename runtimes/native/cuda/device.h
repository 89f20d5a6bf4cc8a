// The device language of the kernels: CUDA itself (nvcc, NVRTC), or its emulation on the host
// (tests/native/cuda).
#pragma once

#include "kernels.h"

#if defined(SVF_HOST_SHIM)
#include "shim.h"
#else
// Memory that a block's threads share, one object of a type.
#define SVF_SHARED(Type, name) __shared__ Type name
#endif

namespace svf {

constexpr int kWarp = 32;       // threads that run together
constexpr int kWordBits = 32;   // channels of a word
constexpr unsigned kAll = ~0u;  // every thread of a warp

}  // namespace svf
