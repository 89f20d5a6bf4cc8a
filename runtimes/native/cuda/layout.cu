// The operators that only move numbers.
#include "launch.h"
#include "layout_kernels.h"
#include "svf_cuda.h"

svf_status svf_cuda_channels_last(int64_t frames, int64_t channels, int64_t positions, const uint8_t* x,
                                  uint8_t* y, void* stream) {
  if (frames < 0 || channels < 0 || positions < 0)
    return svf::fail(SVF_INVALID_ARGUMENT, "sizes must not be negative: T=%lld C=%lld positions=%lld",
                     static_cast<long long>(frames), static_cast<long long>(channels),
                     static_cast<long long>(positions));
  const int64_t count = frames * channels * positions;
  if (count == 0) return SVF_OK;
  if (svf_status status = svf::check_tensors("layout change", {x, y})) return status;
  svf::launch(svf::channels_last_kernel, svf::blocks_for(count, svf::kLayoutThreads), svf::kLayoutThreads,
              stream, channels, positions, count, x, y);
  return svf::launched();
}

svf_status svf_cuda_unpack_weights(const uint8_t* packed, int32_t bits, int64_t size, int8_t* weight,
                                   void* stream) {
  if (size < 0 || (bits != 4 && bits != 2))
    return svf::fail(SVF_INVALID_ARGUMENT, "weights are packed in 4 or 2 bits, not %d, and are %lld", bits,
                     static_cast<long long>(size));
  if (size == 0) return SVF_OK;
  if (svf_status status = svf::check_tensors("weight unpacking", {packed, weight})) return status;
  svf::launch(svf::unpack_weights_kernel, svf::blocks_for(size, svf::kLayoutThreads), svf::kLayoutThreads,
              stream, packed, bits, size, weight);
  return svf::launched();
}
