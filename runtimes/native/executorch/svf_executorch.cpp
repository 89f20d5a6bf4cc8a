// ExecuTorch kernel library: the .out overloads of namespace svf (docs/contract.md, "Operators").
#include <executorch/extension/kernel_util/make_boxed_from_unboxed_functor.h>
#include <executorch/runtime/kernel/kernel_includes.h>
#include <executorch/runtime/kernel/thread_parallel_interface.h>

#include <cinttypes>
#include <initializer_list>

#include "svf_core.h"

namespace {

using executorch::aten::ArrayRef;
using executorch::aten::ScalarType;
using executorch::aten::SizesType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::KernelRuntimeContext;
using IntList = ArrayRef<int64_t>;

// One call: the first thing found wrong is logged and fails the program's execution.
class Call {
 public:
  Call(KernelRuntimeContext& context, Tensor& out) : context_(context), out_(out) {}

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
  bool resize(std::initializer_list<int64_t> sizes) {
    SizesType shape[8];
    size_t rank = 0;
    for (int64_t size : sizes) shape[rank++] = static_cast<SizesType>(size);
    const Error error = executorch::runtime::resize_tensor(out_, ArrayRef<SizesType>(shape, rank));
    if (error != Error::Ok) {
      ET_LOG(Error, "svf: the output tensor cannot take the result's shape");
      context_.fail(error);
    }
    return error == Error::Ok;
  }
  bool passes(svf_status status) {
    if (status == SVF_OK) return true;
    ET_LOG(Error, "svf: %s", svf_last_error());
    context_.fail(status == SVF_OUT_OF_MEMORY ? Error::MemoryAllocationFailed : Error::InvalidArgument);
    return false;
  }

 private:
  KernelRuntimeContext& context_;
  Tensor& out_;
};

void for_each(void*, void (*task)(void*, size_t), void* arg, size_t n) {
  executorch::extension::parallel_for(0, static_cast<int64_t>(n), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) task(arg, static_cast<size_t>(i));
  });
}

// The thread pool of ExecuTorch; serial in a build without one.
constexpr svf_parallel kParallel{for_each, nullptr};

int64_t words(int64_t channels) { return (channels + 31) / 32; }

// `zero_point` is null for packed spikes.
void convolve(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight, const Tensor& bias,
              const Tensor& shift, IntList stride, IntList padding, int64_t groups, const int64_t* zero_point,
              svf_type output, Tensor& out) {
  Call call(context, out);
  const bool packed = zero_point == nullptr;
  const bool is_signed = x.scalar_type() == ScalarType::Char;
  const ScalarType input = packed ? ScalarType::Int : is_signed ? ScalarType::Char : ScalarType::Byte;
  if (!call.takes(weight, ScalarType::Char, {-1, -1, -1, -1}, "weight")) return;
  if (stride.size() != 2 || padding.size() != 2) {
    ET_LOG(Error, "svf: stride and padding must have 2 entries (height, width)");
    context.fail(Error::InvalidArgument);
    return;
  }
  if (!call.fits({stride[0], stride[1], padding[0], padding[1], groups, packed ? 0 : *zero_point},
                 "stride, padding, groups, zero_point"))
    return;
  svf_conv2d_params p{};
  const int64_t in_channels = weight.size(2) * groups, out_channels = weight.size(3);
  if (!call.fits({in_channels}, "input channels") ||
      !(packed ? call.takes_packed(x, {-1, -1, -1, words(in_channels)}, "x", p.levels)
               : call.takes(x, input, {-1, -1, -1, in_channels}, "x")) ||
      !call.takes(bias, ScalarType::Int, {out_channels}, "bias") ||
      !call.takes(shift, ScalarType::Int, {out_channels}, "shift"))
    return;
  const ssize_t time = x.dim() - 4;  // planes may lie before it
  p.frames = static_cast<int32_t>(x.size(time));
  p.height = static_cast<int32_t>(x.size(time + 1));
  p.width = static_cast<int32_t>(x.size(time + 2));
  p.in_channels = static_cast<int32_t>(in_channels);
  p.out_channels = static_cast<int32_t>(out_channels);
  for (int axis = 0; axis < 2; ++axis) {
    p.kernel[axis] = static_cast<int32_t>(weight.size(axis));
    p.stride[axis] = static_cast<int32_t>(stride[axis]);
    p.padding[axis] = static_cast<int32_t>(padding[axis]);
  }
  p.groups = static_cast<int32_t>(groups);
  p.output_type = output;
  p.input_type = is_signed ? SVF_INT8 : SVF_UINT8;
  p.zero_point = packed ? 0 : static_cast<int32_t>(*zero_point);
  int32_t size[2];
  const ScalarType result = output == SVF_INT8 ? ScalarType::Char : ScalarType::Int;
  if (!call.passes(svf_conv2d_output_size(&p, size)) ||
      !call.resize({x.size(time), size[0], size[1], out_channels}) ||
      !call.takes(out, result, {-1, -1, -1, -1}, "out"))
    return;
  const int8_t* w = weight.const_data_ptr<int8_t>();
  const int32_t* b = bias.const_data_ptr<int32_t>();
  const int32_t* s = shift.const_data_ptr<int32_t>();
  void* y = out.mutable_data_ptr();
  call.passes(packed ? svf_spike_conv2d(&p, x.const_data_ptr<int32_t>(), w, nullptr, b, s, y, &kParallel)
                     : svf_conv2d(&p, x.const_data_ptr(), w, nullptr, b, s, y, &kParallel));
}

template <svf_type kOutput>
Tensor& spike_conv2d_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight,
                         const Tensor& bias, const Tensor& shift, IntList stride, IntList padding,
                         int64_t groups, Tensor& out) {
  convolve(context, x, weight, bias, shift, stride, padding, groups, nullptr, kOutput, out);
  return out;
}

template <svf_type kOutput>
Tensor& conv2d_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight, const Tensor& bias,
                   const Tensor& shift, IntList stride, IntList padding, int64_t groups, int64_t zero_point,
                   Tensor& out) {
  convolve(context, x, weight, bias, shift, stride, padding, groups, &zero_point, kOutput, out);
  return out;
}

Tensor& integer_lif_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& gain,
                        const Tensor& bias, const Tensor& theta, bool soft_reset, int64_t levels,
                        Tensor& out) {
  Call call(context, out);
  int32_t planes = 1;
  if (!call.fits({levels}, "levels") || !call.takes(x, ScalarType::Int, {-1, -1, -1, -1}, "x")) return out;
  const int64_t positions = x.size(1) * x.size(2), channels = x.size(3);
  if (!call.fits({positions}, "height * width") || !call.takes(gain, ScalarType::Int, {channels}, "gain") ||
      !call.takes(bias, ScalarType::Int, {channels}, "bias") ||
      !call.takes(theta, ScalarType::Int, {channels}, "theta") ||
      !(levels == 1 ? call.resize({x.size(0), x.size(1), x.size(2), words(channels)})
                    : call.resize({levels, x.size(0), x.size(1), x.size(2), words(channels)})) ||
      !call.takes_packed(out, {-1, -1, -1, -1}, "out", planes))
    return out;
  const svf_lif_params p{static_cast<int32_t>(x.size(0)), static_cast<int32_t>(positions),
                         static_cast<int32_t>(channels), soft_reset, static_cast<int32_t>(levels)};
  call.passes(svf_lif(&p, x.const_data_ptr<int32_t>(), gain.const_data_ptr<int32_t>(),
                      bias.const_data_ptr<int32_t>(), theta.const_data_ptr<int32_t>(),
                      out.mutable_data_ptr<int32_t>(), &kParallel));
  return out;
}

Tensor& lif_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& gain, const Tensor& bias,
                const Tensor& theta, bool soft_reset, Tensor& out) {
  return integer_lif_out(context, x, gain, bias, theta, soft_reset, 1, out);
}

template <svf_attention_kind kKind>
Tensor& attention_out(KernelRuntimeContext& context, const Tensor& q, const Tensor& k, const Tensor& v,
                      int64_t channels, int64_t heads, Tensor& out) {
  Call call(context, out);
  int32_t levels = 1;
  if (!call.fits({channels, heads}, "channels, heads") ||
      !call.takes_packed(q, {-1, -1, words(channels)}, "q", levels) || !call.takes_like(k, q, "k") ||
      !call.takes_like(v, q, "v") || !call.resize({q.size(q.dim() - 3), q.size(q.dim() - 2), channels}) ||
      !call.takes(out, ScalarType::Int, {-1, -1, -1}, "out"))
    return out;
  const svf_attention_params p{static_cast<int32_t>(q.size(q.dim() - 3)),
                               static_cast<int32_t>(q.size(q.dim() - 2)),
                               static_cast<int32_t>(channels),
                               static_cast<int32_t>(heads),
                               kKind,
                               levels};
  call.passes(svf_attention(&p, q.const_data_ptr<int32_t>(), k.const_data_ptr<int32_t>(),
                            v.const_data_ptr<int32_t>(), out.mutable_data_ptr<int32_t>(), &kParallel));
  return out;
}

Tensor& unpack_weights_out(KernelRuntimeContext& context, const Tensor& packed, int64_t bits, IntList shape,
                           Tensor& out) {
  Call call(context, out);
  if (shape.size() != 4 || (bits != 4 && bits != 2) ||
      !call.fits({shape[0], shape[1], shape[2], shape[3]}, "shape")) {
    ET_LOG(Error, "svf: packed weights have 4 sizes, and 4 or 2 bits");
    context.fail(Error::InvalidArgument);
    return out;
  }
  if (!call.resize({shape[0], shape[1], shape[2], shape[3]}) ||
      !call.takes(out, ScalarType::Char, {-1, -1, -1, -1}, "out"))
    return out;
  const int64_t size = out.numel();
  if (call.takes(packed, ScalarType::Byte, {(size * bits + 7) / 8}, "packed"))
    call.passes(svf_unpack_weights(packed.const_data_ptr<uint8_t>(), static_cast<int32_t>(bits), size,
                                   out.mutable_data_ptr<int8_t>()));
  return out;
}

EXECUTORCH_LIBRARY(svf, "spike_conv2d.out", spike_conv2d_out<SVF_INT32>);
EXECUTORCH_LIBRARY(svf, "spike_conv2d_s8.out", spike_conv2d_out<SVF_INT8>);
EXECUTORCH_LIBRARY(svf, "conv2d.out", conv2d_out<SVF_INT32>);
EXECUTORCH_LIBRARY(svf, "conv2d_s8.out", conv2d_out<SVF_INT8>);
EXECUTORCH_LIBRARY(svf, "lif.out", lif_out);
EXECUTORCH_LIBRARY(svf, "integer_lif.out", integer_lif_out);
EXECUTORCH_LIBRARY(svf, "hamming_attention.out", attention_out<SVF_HAMMING>);
EXECUTORCH_LIBRARY(svf, "dot_attention.out", attention_out<SVF_DOT>);
EXECUTORCH_LIBRARY(svf, "unpack_weights.out", unpack_weights_out);

}  // namespace
