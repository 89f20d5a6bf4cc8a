// What check.cpp needs of a GPU: memory of the host that kernels reach under the same addresses.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#define SVF_CASES_MEMORY

namespace svf {
namespace check {

inline void on_cuda(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "svf_cuda_check: needs an NVIDIA GPU (CUDA says: %s)\n", cudaGetErrorString(status));
  std::exit(3);
}

inline void* allocate(size_t bytes) {
  void* memory = nullptr;
  on_cuda(cudaMallocHost(&memory, bytes == 0 ? 1 : bytes));
  return memory;
}
inline void release(void* memory) {
  if (memory != nullptr) on_cuda(cudaFreeHost(memory));
}

// Waits for what was launched.
inline void finish() { on_cuda(cudaDeviceSynchronize()); }

inline void turn_around(bool) {}
inline void drop(const std::string&) {}
inline std::vector<std::string> sites() { return {}; }

}  // namespace check
}  // namespace svf
