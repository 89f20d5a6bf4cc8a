// How host code starts a kernel and learns what came of it.
#pragma once

#if !defined(SVF_HOST_SHIM)
#include <cuda_runtime.h>
#endif

#include "checks.h"
#include "device.h"

namespace svf {

constexpr int64_t kMaxBlocks = 65535;

// Blocks for `count` pieces of work at `each` a block, as many as the smallest grid axis holds: kernels go on
// in strides of the grid.
inline unsigned blocks_for(int64_t count, int64_t each) {
  const int64_t blocks = (count + each - 1) / each;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, void* stream,
            const Arguments&... arguments) {
#if defined(SVF_HOST_SHIM)
  (void)stream;
  shim::run(grid, threads, [&] { kernel(arguments...); });
#else
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = threads;
  config.stream = static_cast<cudaStream_t>(stream);
  cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);  // `launched` sees its errors
#endif
}

// Whether the launches since the last call were accepted.
svf_status launched();

}  // namespace svf
