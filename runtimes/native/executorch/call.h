// What the kernels share: checks of tensors and attributes, ExecuTorch's thread pool.
#ifndef SVF_EXECUTORCH_CALL_H
#define SVF_EXECUTORCH_CALL_H

#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/kernel/kernel_includes.h>
#include <executorch/runtime/kernel/thread_parallel_interface.h>

#include <cinttypes>
#include <initializer_list>

#include "svf_core.h"

namespace svf {

using executorch::aten::ArrayRef;
using executorch::aten::ScalarType;
using executorch::aten::SizesType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;
using IntList = ArrayRef<int64_t>;
using OptionalTensor = std::optional<Tensor>;

// One call: the first thing found wrong is logged and fails the program's execution.
class Call {
 public:
  explicit Call(KernelRuntimeContext& context) : context_(context) {}

  // Whether `tensor` is a contiguous tensor of this type and shape; a size of -1 is any size.
  bool takes(const Tensor& tensor, ScalarType type, std::initializer_list<int64_t> sizes, const char* name) {
    return takes(tensor, type, IntList(sizes.begin(), sizes.size()), name);
  }
  bool takes(const Tensor& tensor, ScalarType type, IntList sizes, const char* name) {
    bool fits = tensor.scalar_type() == type && tensor.dim() == static_cast<ssize_t>(sizes.size()) &&
                executorch::runtime::tensor_is_default_dim_order(tensor);
    ssize_t axis = 0;
    for (int64_t size : sizes) {
      fits = fits && (size < 0 || tensor.size(axis) == size);
      ++axis;
    }
    if (!fits) {
      ET_LOG(Error, "svf: %s has an unexpected type, layout, rank or size (see the operator's contract)",
             name);
      context_.fail(Error::InvalidArgument);
    }
    return fits;
  }
  // As `takes`, for packed spikes: they may have an axis of planes in front, and `planes` becomes their
  // number.
  bool takes_packed(const Tensor& tensor, std::initializer_list<int64_t> sizes, const char* name,
                    int32_t& planes) {
    planes = 1;
    if (tensor.dim() == static_cast<ssize_t>(sizes.size()))
      return takes(tensor, ScalarType::Int, sizes, name);
    int64_t with_planes[8] = {-1};
    size_t rank = 1;
    for (int64_t size : sizes) with_planes[rank++] = size;
    if (!takes(tensor, ScalarType::Int, IntList(with_planes, rank), name)) return false;
    planes = static_cast<int32_t>(tensor.size(0));
    return true;
  }
  // Whether `tensor` is contiguous and has the type and shape of `other`.
  bool takes_like(const Tensor& tensor, const Tensor& other, const char* name) {
    int64_t sizes[8];
    for (ssize_t axis = 0; axis < other.dim(); ++axis) sizes[axis] = other.size(axis);
    return takes(tensor, other.scalar_type(), IntList(sizes, other.dim()), name);
  }
  // Whether the core, which counts in int32, can take these attributes or sizes.
  bool fits(std::initializer_list<int64_t> values, const char* names) {
    for (int64_t value : values) {
      if (value == static_cast<int32_t>(value)) continue;
      ET_LOG(Error, "svf: %s: %" PRId64 " does not fit in 32 bits", names, value);
      context_.fail(Error::InvalidArgument);
      return false;
    }
    return true;
  }
  // Makes `out` a contiguous tensor of this type and shape.
  bool gives(const Tensor& out, ScalarType type, std::initializer_list<int64_t> sizes, const char* name) {
    SizesType shape[8];
    size_t rank = 0;
    for (int64_t size : sizes) shape[rank++] = static_cast<SizesType>(size);
    const Error error = executorch::runtime::resize_tensor(out, ArrayRef<SizesType>(shape, rank));
    if (error != Error::Ok) {
      ET_LOG(Error, "svf: %s cannot take the result's shape", name);
      context_.fail(error);
      return false;
    }
    return takes(out, type, IntList(sizes.begin(), sizes.size()), name);
  }
  // The same for packed spikes, which have an axis of planes in front when there are several levels.
  bool gives_packed(const Tensor& out, int64_t levels, std::initializer_list<int64_t> sizes,
                    const char* name) {
    const int64_t* s = sizes.begin();
    return levels == 1 ? gives(out, ScalarType::Int, sizes, name)
                       : gives(out, ScalarType::Int, {levels, s[0], s[1], s[2], s[3]}, name);
  }
  // `fits` for pairs (height, width), which are checked to be pairs.
  bool takes_pair(IntList values, const char* name) {
    if (values.size() == 2) return fits({values[0], values[1]}, name);
    ET_LOG(Error, "svf: %s must have 2 entries (height, width)", name);
    context_.fail(Error::InvalidArgument);
    return false;
  }
  bool passes(svf_status status) {
    if (status == SVF_OK) return true;
    ET_LOG(Error, "svf: %s", svf_last_error());
    context_.fail(status == SVF_OUT_OF_MEMORY ? Error::MemoryAllocationFailed : Error::InvalidArgument);
    return false;
  }

 private:
  KernelRuntimeContext& context_;
};

inline void for_each(void*, void (*task)(void*, size_t), void* arg, size_t n) {
  executorch::extension::parallel_for(0, static_cast<int64_t>(n), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) task(arg, static_cast<size_t>(i));
  });
}

// The thread pool of ExecuTorch; serial in a build without one.
inline constexpr svf_parallel kParallel{for_each, nullptr};

inline int64_t words(int64_t channels) { return (channels + 31) / 32; }

// The LIF of a fused operator: its constants, checked against the channels of the result.
inline bool read_lif(Call& call, const Tensor& gain, const Tensor& bias, const Tensor& theta, bool soft_reset,
                     int64_t levels, int64_t channels, svf_lif_stage& lif) {
  if (!call.fits({levels}, "levels") || !call.takes(gain, ScalarType::Int, {channels}, "gain") ||
      !call.takes(bias, ScalarType::Int, {channels}, "lif_bias") ||
      !call.takes(theta, ScalarType::Int, {channels}, "theta"))
    return false;
  lif.gain = gain.const_data_ptr<int32_t>();
  lif.bias = bias.const_data_ptr<int32_t>();
  lif.theta = theta.const_data_ptr<int32_t>();
  lif.soft_reset = soft_reset;
  lif.levels = static_cast<int32_t>(levels);
  return true;
}

// In a stream: membranes [H, W, C] from `before` to `after`.
inline bool read_membranes(Call& call, const Tensor& before, const Tensor& after, int64_t height,
                           int64_t width, int64_t channels, svf_lif_stage& lif) {
  if (!call.takes(before, ScalarType::Int, {height, width, channels}, "before") ||
      !call.gives(after, ScalarType::Int, {height, width, channels}, "after"))
    return false;
  lif.before = before.const_data_ptr<int32_t>();
  lif.after = after.mutable_data_ptr<int32_t>();
  return true;
}

}  // namespace svf
#endif
