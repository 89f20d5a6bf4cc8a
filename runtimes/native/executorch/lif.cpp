// LIF over time with packed spikes as its result, weights packed in a file, and the layout of frames.
#include "call.h"

namespace svf {
namespace {

Tensor& integer_lif_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& gain,
                        const Tensor& bias, const Tensor& theta, bool soft_reset, int64_t levels,
                        Tensor& out) {
  Call call(context);
  svf_lif_stage lif{};
  if (!call.takes(x, ScalarType::Int, {-1, -1, -1, -1}, "x")) return out;
  const int64_t positions = x.size(1) * x.size(2), channels = x.size(3);
  if (!call.fits({positions}, "height * width") ||
      !read_lif(call, gain, bias, theta, soft_reset, levels, channels, lif) ||
      !call.gives_packed(out, levels, {x.size(0), x.size(1), x.size(2), words(channels)}, "out"))
    return out;
  const svf_lif_params p{static_cast<int32_t>(x.size(0)), static_cast<int32_t>(positions),
                         static_cast<int32_t>(channels), soft_reset, lif.levels};
  call.passes(svf_lif(&p, x.const_data_ptr<int32_t>(), lif.gain, lif.bias, lif.theta,
                      out.mutable_data_ptr<int32_t>(), &kParallel));
  return out;
}

Tensor& lif_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& gain, const Tensor& bias,
                const Tensor& theta, bool soft_reset, Tensor& out) {
  return integer_lif_out(context, x, gain, bias, theta, soft_reset, 1, out);
}

// Membranes in a stream. The spikes are written through a handle (see convolution.cpp).
Tensor& lif_from_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& gain, const Tensor& bias,
                     const Tensor& theta, bool soft_reset, int64_t levels, const Tensor& before,
                     const Tensor& spikes, Tensor& after) {
  Call call(context);
  svf_lif_stage lif{};
  if (!call.takes(x, ScalarType::Int, {-1, -1, -1, -1}, "x")) return after;
  const int64_t height = x.size(1), width = x.size(2), channels = x.size(3);
  if (!call.fits({height * width}, "height * width") ||
      !read_lif(call, gain, bias, theta, soft_reset, levels, channels, lif) ||
      !read_membranes(call, before, after, height, width, channels, lif) ||
      !call.gives_packed(spikes, levels, {x.size(0), height, width, words(channels)}, "spikes"))
    return after;
  const svf_lif_params p{static_cast<int32_t>(x.size(0)), static_cast<int32_t>(height * width),
                         static_cast<int32_t>(channels), soft_reset, lif.levels};
  call.passes(svf_lif_from(&p, x.const_data_ptr<int32_t>(), lif.gain, lif.bias, lif.theta, lif.before,
                           lif.after, spikes.mutable_data_ptr<int32_t>(), &kParallel));
  return after;
}

Tensor& unpack_weights_out(KernelRuntimeContext& context, const Tensor& packed, int64_t bits, IntList shape,
                           Tensor& out) {
  Call call(context);
  if (shape.size() != 4 || (bits != 4 && bits != 2) ||
      !call.fits({shape[0], shape[1], shape[2], shape[3]}, "shape")) {
    ET_LOG(Error, "svf: packed weights have 4 sizes, and 4 or 2 bits");
    context.fail(Error::InvalidArgument);
    return out;
  }
  if (!call.gives(out, ScalarType::Char, {shape[0], shape[1], shape[2], shape[3]}, "out")) return out;
  const int64_t size = out.numel();
  if (call.takes(packed, ScalarType::Byte, {(size * bits + 7) / 8}, "packed"))
    call.passes(svf_unpack_weights(packed.const_data_ptr<uint8_t>(), static_cast<int32_t>(bits), size,
                                   out.mutable_data_ptr<int8_t>()));
  return out;
}

Tensor& channels_last_out(KernelRuntimeContext& context, const Tensor& x, Tensor& out) {
  Call call(context);
  if (call.takes(x, ScalarType::Byte, {-1, -1, -1, -1}, "x") &&
      call.gives(out, ScalarType::Byte, {x.size(0), x.size(2), x.size(3), x.size(1)}, "out"))
    call.passes(svf_channels_last(x.size(0), x.size(1), x.size(2) * x.size(3), x.const_data_ptr<uint8_t>(),
                                  out.mutable_data_ptr<uint8_t>(), &kParallel));
  return out;
}

EXECUTORCH_LIBRARY(svf, "channels_last.out", channels_last_out);
EXECUTORCH_LIBRARY(svf, "lif.out", lif_out);
EXECUTORCH_LIBRARY(svf, "integer_lif.out", integer_lif_out);
EXECUTORCH_LIBRARY(svf, "lif_from.out", lif_from_out);
EXECUTORCH_LIBRARY(svf, "unpack_weights.out", unpack_weights_out);

}  // namespace
}  // namespace svf
