// The device at hand, the choice of kernels, errors.
#include <atomic>
#include <cstring>

#include "choice.h"
#include "launch.h"
#include "svf_cuda.h"
#include "tensor_cores.h"

namespace svf {
namespace {

constexpr const char* kNames[] = {"simple", "int8", "binary"};
constexpr int kFastest = -1;
std::atomic<int> chosen{kFastest};
std::atomic<int> assumed{0};  // multiprocessors

int attribute(bool architecture_wanted) {
#if defined(SVF_HOST_SHIM)
  return architecture_wanted ? shim::device.architecture : shim::device.multiprocessors;
#else
  int device = 0, major = 0, minor = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  if (!architecture_wanted) {
    cudaDeviceGetAttribute(&major, cudaDevAttrMultiProcessorCount, device);
    return major;
  }
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  return 10 * major + minor;
#endif
}

KernelChoice fastest() {
  return has_binary_tensor_cores(attribute(true)) ? KernelChoice::kBinary : KernelChoice::kInt8;
}

}  // namespace

KernelChoice kernel_choice() {
  const int set = chosen.load();
  return set == kFastest ? fastest() : static_cast<KernelChoice>(set);
}

int multiprocessors() {
  const int count = assumed.load();
  return count > 0 ? count : attribute(false);
}

svf_status launched() {
#if !defined(SVF_HOST_SHIM)
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess)
    return fail(SVF_INVALID_ARGUMENT, "CUDA could not start a kernel: %s", cudaGetErrorString(status));
#endif
  return SVF_OK;
}

}  // namespace svf

const char* svf_cuda_last_error(void) { return svf::last_error(); }

const char* svf_cuda_kernels(void) { return svf::kNames[static_cast<int>(svf::kernel_choice())]; }

svf_status svf_cuda_set_kernels(const char* name) {
  if (name == nullptr || *name == '\0') {
    svf::chosen = svf::kFastest;
    return SVF_OK;
  }
  for (int i = 0; i <= static_cast<int>(svf::fastest()); ++i)
    if (std::strcmp(name, svf::kNames[i]) == 0) {
      svf::chosen = i;
      return SVF_OK;
    }
  return svf::fail(SVF_UNKNOWN_ISA,
                   "kernel set '%s' is not for this GPU; choose simple, int8 or, from 8.0 to 9.0, binary",
                   name);
}

void svf_cuda_assume_multiprocessors(int32_t count) { svf::assumed = count; }
