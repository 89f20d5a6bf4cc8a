// Convolutions on packed spikes and on integers, alone and with a LIF behind them.
#include "call.h"

namespace svf {
namespace {

// A convolution's arguments, checked.
struct Convolution {
  svf_conv2d_params params;
  int32_t size[2];  // of the output: height, width
  const void* x;
  const int8_t* weight;
  const int32_t* bias;
  const int32_t* shift;
};

// `zero_point` is null for packed spikes.
bool read(Call& call, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& shift,
          IntList stride, IntList padding, int64_t groups, const int64_t* zero_point, svf_type output,
          Convolution& c) {
  const bool packed = zero_point == nullptr;
  const bool is_signed = x.scalar_type() == ScalarType::Char;
  svf_conv2d_params& p = c.params;
  p = {};
  if (!call.takes(weight, ScalarType::Char, {-1, -1, -1, -1}, "weight") ||
      !call.takes_pair(stride, "stride") || !call.takes_pair(padding, "padding") ||
      !call.fits({groups, packed ? 0 : *zero_point}, "groups, zero_point"))
    return false;
  const int64_t in_channels = weight.size(2) * groups, out_channels = weight.size(3);
  if (!call.fits({in_channels}, "input channels") ||
      !(packed ? call.takes_packed(x, {-1, -1, -1, words(in_channels)}, "x", p.levels)
               : call.takes(x, is_signed ? ScalarType::Char : ScalarType::Byte, {-1, -1, -1, in_channels},
                            "x")) ||
      !call.takes(bias, ScalarType::Int, {out_channels}, "bias") ||
      !call.takes(shift, ScalarType::Int, {out_channels}, "shift"))
    return false;
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
  c.x = x.const_data_ptr();
  c.weight = weight.const_data_ptr<int8_t>();
  c.bias = bias.const_data_ptr<int32_t>();
  c.shift = shift.const_data_ptr<int32_t>();
  return call.passes(svf_conv2d_output_size(&p, c.size));
}

void convolve(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight, const Tensor& bias,
              const Tensor& shift, IntList stride, IntList padding, int64_t groups, const int64_t* zero_point,
              svf_type output, Tensor& out) {
  Call call(context);
  Convolution c;
  if (!read(call, x, weight, bias, shift, stride, padding, groups, zero_point, output, c)) return;
  const svf_conv2d_params& p = c.params;
  const ScalarType type = output == SVF_INT8 ? ScalarType::Char : ScalarType::Int;
  if (!call.gives(out, type, {p.frames, c.size[0], c.size[1], p.out_channels}, "out")) return;
  void* y = out.mutable_data_ptr();
  call.passes(zero_point == nullptr ? svf_spike_conv2d(&p, static_cast<const int32_t*>(c.x), c.weight,
                                                       nullptr, c.bias, c.shift, y, &kParallel)
                                    : svf_conv2d(&p, c.x, c.weight, nullptr, c.bias, c.shift, y, &kParallel));
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

// The LIF behind a convolution. `sum` is empty where it is not kept; `before` and `after` are those of a
// stream. All results but the last are written through handles: EXECUTORCH_LIBRARY takes kernels with one
// tensor that is not const.
struct Stage {
  const OptionalTensor& residual;
  const Tensor& gain;
  const Tensor& bias;
  const Tensor& theta;
  bool soft_reset;
  int64_t levels;
  bool keep_sum;
  const Tensor& spikes;
  const Tensor& sum;
  const Tensor* before;
  const Tensor* after;
};

bool read(Call& call, const Convolution& c, const Stage& stage, svf_lif_stage& lif) {
  const int64_t frames = c.params.frames, channels = c.params.out_channels;
  const int64_t height = c.size[0], width = c.size[1];
  lif = {};
  if (!read_lif(call, stage.gain, stage.bias, stage.theta, stage.soft_reset, stage.levels, channels, lif) ||
      !call.gives_packed(stage.spikes, stage.levels, {frames, height, width, words(channels)}, "spikes") ||
      !(stage.keep_sum ? call.gives(stage.sum, ScalarType::Int, {frames, height, width, channels}, "sum")
                       : call.gives(stage.sum, ScalarType::Int, {0}, "sum")))
    return false;
  if (stage.before != nullptr &&
      !read_membranes(call, *stage.before, *stage.after, height, width, channels, lif))
    return false;
  if (stage.residual.has_value()) {
    if (!call.takes(*stage.residual, ScalarType::Int, {frames, height, width, channels}, "residual"))
      return false;
    lif.residual = stage.residual->const_data_ptr<int32_t>();
  }
  if (stage.keep_sum) lif.sum = stage.sum.mutable_data_ptr<int32_t>();
  lif.spikes = stage.spikes.mutable_data_ptr<int32_t>();
  return true;
}

// `zero_point` is null for packed spikes, and `density` is of those alone.
void convolve_lif(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight, const Tensor& bias,
                  const Tensor& shift, IntList stride, IntList padding, int64_t groups,
                  const int64_t* zero_point, int64_t density, const Stage& stage) {
  Call call(context);
  Convolution c;
  svf_lif_stage lif;
  if (!call.fits({density}, "density") ||
      !read(call, x, weight, bias, shift, stride, padding, groups, zero_point, SVF_INT32, c) ||
      !read(call, c, stage, lif))
    return;
  c.params.density = static_cast<int32_t>(density);
  call.passes(zero_point == nullptr
                  ? svf_spike_conv2d_lif(&c.params, static_cast<const int32_t*>(c.x), c.weight, nullptr,
                                         c.bias, c.shift, &lif, &kParallel)
                  : svf_conv2d_lif(&c.params, c.x, c.weight, nullptr, c.bias, c.shift, &lif, &kParallel));
}

Tensor& spike_conv2d_lif_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight,
                             const Tensor& bias, const Tensor& shift, IntList stride, IntList padding,
                             int64_t groups, const OptionalTensor& residual, const Tensor& gain,
                             const Tensor& lif_bias, const Tensor& theta, bool soft_reset, int64_t levels,
                             bool keep_sum, int64_t density, const Tensor& spikes, Tensor& sum) {
  convolve_lif(
      context, x, weight, bias, shift, stride, padding, groups, nullptr, density,
      {residual, gain, lif_bias, theta, soft_reset, levels, keep_sum, spikes, sum, nullptr, nullptr});
  return sum;
}

Tensor& spike_conv2d_lif_from_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight,
                                  const Tensor& bias, const Tensor& shift, IntList stride, IntList padding,
                                  int64_t groups, const OptionalTensor& residual, const Tensor& gain,
                                  const Tensor& lif_bias, const Tensor& theta, bool soft_reset,
                                  int64_t levels, bool keep_sum, int64_t density, const Tensor& before,
                                  const Tensor& spikes, const Tensor& sum, Tensor& after) {
  convolve_lif(context, x, weight, bias, shift, stride, padding, groups, nullptr, density,
               {residual, gain, lif_bias, theta, soft_reset, levels, keep_sum, spikes, sum, &before, &after});
  return after;
}

Tensor& conv2d_lif_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight,
                       const Tensor& bias, const Tensor& shift, IntList stride, IntList padding,
                       int64_t groups, int64_t zero_point, const OptionalTensor& residual, const Tensor& gain,
                       const Tensor& lif_bias, const Tensor& theta, bool soft_reset, int64_t levels,
                       bool keep_sum, const Tensor& spikes, Tensor& sum) {
  convolve_lif(
      context, x, weight, bias, shift, stride, padding, groups, &zero_point, SVF_AUTO,
      {residual, gain, lif_bias, theta, soft_reset, levels, keep_sum, spikes, sum, nullptr, nullptr});
  return sum;
}

Tensor& conv2d_lif_from_out(KernelRuntimeContext& context, const Tensor& x, const Tensor& weight,
                            const Tensor& bias, const Tensor& shift, IntList stride, IntList padding,
                            int64_t groups, int64_t zero_point, const OptionalTensor& residual,
                            const Tensor& gain, const Tensor& lif_bias, const Tensor& theta, bool soft_reset,
                            int64_t levels, bool keep_sum, const Tensor& before, const Tensor& spikes,
                            const Tensor& sum, Tensor& after) {
  convolve_lif(context, x, weight, bias, shift, stride, padding, groups, &zero_point, SVF_AUTO,
               {residual, gain, lif_bias, theta, soft_reset, levels, keep_sum, spikes, sum, &before, &after});
  return after;
}

EXECUTORCH_LIBRARY(svf, "spike_conv2d.out", spike_conv2d_out<SVF_INT32>);
EXECUTORCH_LIBRARY(svf, "spike_conv2d_s8.out", spike_conv2d_out<SVF_INT8>);
EXECUTORCH_LIBRARY(svf, "spike_conv2d_lif.out", spike_conv2d_lif_out);
EXECUTORCH_LIBRARY(svf, "spike_conv2d_lif_from.out", spike_conv2d_lif_from_out);
EXECUTORCH_LIBRARY(svf, "conv2d.out", conv2d_out<SVF_INT32>);
EXECUTORCH_LIBRARY(svf, "conv2d_s8.out", conv2d_out<SVF_INT8>);
EXECUTORCH_LIBRARY(svf, "conv2d_lif.out", conv2d_lif_out);
EXECUTORCH_LIBRARY(svf, "conv2d_lif_from.out", conv2d_lif_from_out);

}  // namespace
}  // namespace svf
