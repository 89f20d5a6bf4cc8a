#include "checks.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace svf {
namespace {

thread_local char message[256] = "";

// Whether that many elements are beyond the kernels, which count in int, and round up and double as they go.
bool too_many(std::initializer_list<int64_t> sizes) {
  int64_t count = 1;
  for (int64_t size : sizes) {
    count *= size;
    if (count >= int64_t{1} << 30) return true;
  }
  return false;
}

svf_status check_levels(int32_t levels) {
  if (levels >= 1 && levels <= SVF_MAX_LEVELS) return SVF_OK;
  return fail(SVF_INVALID_ARGUMENT, "levels=%d is outside 1..%d", levels, SVF_MAX_LEVELS);
}

// The stage after an operator whose result has these sizes.
svf_status check_stage(const svf_lif_stage* lif, std::initializer_list<int64_t> sizes) {
  if (lif == nullptr) return fail(SVF_INVALID_ARGUMENT, "the LIF stage is null");
  if (svf_status status = check_levels(lif->levels)) return status;
  int64_t elements = 1;
  for (int64_t size : sizes) elements *= size;
  if (too_many({lif->levels, elements}))
    return fail(SVF_INVALID_ARGUMENT,
                "the LIF stage's spikes have 2^30 elements or more: levels=%d, %lld neurons and time steps",
                lif->levels, static_cast<long long>(elements));
  return check_tensors("LIF stage", {lif->gain, lif->bias, lif->theta, lif->spikes});
}

svf_status check_conv_stage(const Conv& conv, const svf_lif_stage* lif) {
  if (conv.saturate)
    return fail(SVF_INVALID_ARGUMENT, "a convolution with a LIF stage has output type SVF_INT32");
  return check_stage(lif, {conv.frames, conv.out_h, conv.out_w, conv.out_channels});
}

svf_status check_sizes(const svf_attention_params* p, AttentionArgs* args) {
  if (p == nullptr) return fail(SVF_INVALID_ARGUMENT, "attention parameters are null");
  if (p->groups < 1 || p->tokens < 1 || p->channels < 1)
    return fail(SVF_INVALID_ARGUMENT, "attention sizes must be positive: G=%d N=%d C=%d", p->groups,
                p->tokens, p->channels);
  if (p->heads < 1 || p->channels % p->heads != 0)
    return fail(SVF_INVALID_ARGUMENT, "heads=%d must divide C=%d", p->heads, p->channels);
  const int width = p->channels / p->heads;
  if (svf_status status = check_levels(p->levels)) return status;
  if (too_many({p->levels, p->groups, p->tokens, p->channels}) || too_many({width, width}))
    return fail(
        SVF_INVALID_ARGUMENT,
        "attention input, or a head's matrix [%d, %d], has 2^30 elements or more: levels=%d G=%d N=%d "
        "C=%d",
        width, width, p->levels, p->groups, p->tokens, p->channels);
  if (p->kind != SVF_HAMMING && p->kind != SVF_DOT)
    return fail(SVF_INVALID_ARGUMENT, "attention kind %d is neither SVF_HAMMING nor SVF_DOT", p->kind);
  args->groups = p->groups;
  args->tokens = p->tokens;
  args->channels = p->channels;
  args->heads = p->heads;
  args->width = width;
  args->words = (p->channels + 31) / 32;
  args->levels = p->levels;
  args->hamming = p->kind == SVF_HAMMING;
  return check_tensors("attention", {args->q, args->k, args->v});
}

// What a convolution writes: the tensors of its stage, or y.
svf_status check_written(const Conv& conv, bool staged, const svf_lif_stage* lif, const void* y) {
  return staged ? check_conv_stage(conv, lif) : check_tensors("convolution", {y});
}

}  // namespace

svf_status fail(svf_status status, const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::vsnprintf(message, sizeof message, format, args);
  va_end(args);
  return status;
}

const char* last_error() { return message; }

svf_status check_conv(const svf_conv2d_params* p, Conv* out) {
  if (p == nullptr) return fail(SVF_INVALID_ARGUMENT, "convolution parameters are null");
  if (p->frames < 1 || p->height < 1 || p->width < 1 || p->in_channels < 1 || p->out_channels < 1)
    return fail(SVF_INVALID_ARGUMENT, "convolution sizes must be positive: T=%d H=%d W=%d Cin=%d Cout=%d",
                p->frames, p->height, p->width, p->in_channels, p->out_channels);
  for (int axis = 0; axis < 2; ++axis)
    if (p->kernel[axis] < 1 || p->stride[axis] < 1 || p->padding[axis] < 0)
      return fail(SVF_INVALID_ARGUMENT,
                  "kernel and stride must be positive and padding not negative: "
                  "kernel (%d, %d), stride (%d, %d), padding (%d, %d)",
                  p->kernel[0], p->kernel[1], p->stride[0], p->stride[1], p->padding[0], p->padding[1]);
  if (p->groups < 1 || p->in_channels % p->groups != 0 || p->out_channels % p->groups != 0)
    return fail(SVF_INVALID_ARGUMENT, "groups=%d must divide Cin=%d and Cout=%d", p->groups, p->in_channels,
                p->out_channels);
  const int64_t padded_h = p->height + 2 * int64_t{p->padding[0]};
  const int64_t padded_w = p->width + 2 * int64_t{p->padding[1]};
  const int64_t span_h = padded_h - p->kernel[0], span_w = padded_w - p->kernel[1];
  if (span_h < 0 || span_w < 0)
    return fail(SVF_INVALID_ARGUMENT,
                "kernel (%d, %d) is larger than the padded frame (%d + 2*%d, %d + 2*%d)", p->kernel[0],
                p->kernel[1], p->height, p->padding[0], p->width, p->padding[1]);
  if (p->output_type != SVF_INT32 && p->output_type != SVF_INT8)
    return fail(SVF_INVALID_ARGUMENT, "output type %d is neither SVF_INT32 nor SVF_INT8", p->output_type);
  if (too_many({p->frames, padded_h, padded_w, p->in_channels}))
    return fail(SVF_INVALID_ARGUMENT,
                "the padded input has 2^30 elements or more: T=%d, H=%d + 2*%d, W=%d + 2*%d, Cin=%d",
                p->frames, p->height, p->padding[0], p->width, p->padding[1], p->in_channels);
  const int64_t out_h = span_h / p->stride[0] + 1, out_w = span_w / p->stride[1] + 1;
  if (too_many({p->frames, out_h, out_w, p->out_channels}))
    return fail(SVF_INVALID_ARGUMENT, "the output has 2^30 elements or more: T=%d, Ho=%d, Wo=%d, Cout=%d",
                p->frames, static_cast<int>(out_h), static_cast<int>(out_w), p->out_channels);
  // The kernels widen groups that are narrower than a vector.
  const int group_width = std::max(p->out_channels / p->groups, kMaxLanes);
  if (too_many({p->kernel[0], p->kernel[1], p->in_channels, group_width}))
    return fail(
        SVF_INVALID_ARGUMENT,
        "kernel (%d, %d) with Cin=%d and groups padded to %d output channels has 2^30 weights or more",
        p->kernel[0], p->kernel[1], p->in_channels, group_width);
  *out = Conv{p->frames,
              p->height,
              p->width,
              p->in_channels,
              p->out_channels,
              p->kernel[0],
              p->kernel[1],
              p->stride[0],
              p->stride[1],
              p->padding[0],
              p->padding[1],
              p->groups,
              p->in_channels / p->groups,
              p->out_channels / p->groups,
              static_cast<int>(out_h),
              static_cast<int>(out_w),
              (p->in_channels + 31) / 32,
              0,
              false,
              p->output_type == SVF_INT8,
              1,
              0,
              SVF_AUTO};
  return SVF_OK;
}

svf_status check_density(int32_t density) {
  if (density == SVF_AUTO || density == SVF_EVENT || density == SVF_DENSE) return SVF_OK;
  return fail(SVF_INVALID_ARGUMENT, "density %d is neither SVF_AUTO nor SVF_EVENT nor SVF_DENSE", density);
}

svf_status check_tensors(const char* what, std::initializer_list<const void*> tensors) {
  for (const void* tensor : tensors)
    if (tensor == nullptr) return fail(SVF_INVALID_ARGUMENT, "a tensor of the %s is null", what);
  return SVF_OK;
}

svf_status check_spike_conv(const svf_conv2d_params* params, bool staged, SpikeConvArgs* args) {
  Conv& conv = args->conv;
  if (svf_status status = check_conv(params, &conv)) return status;
  if (svf_status status = check_levels(params->levels)) return status;
  if (svf_status status = check_density(params->density)) return status;
  if (too_many({params->levels, conv.frames, conv.height, conv.width, conv.in_channels}))
    return fail(SVF_INVALID_ARGUMENT,
                "the input has 2^30 elements or more: levels=%d, T=%d, H=%d, W=%d, Cin=%d", params->levels,
                conv.frames, conv.height, conv.width, conv.in_channels);
  conv.levels = params->levels;
  conv.plane = static_cast<size_t>(conv.frames) * conv.height * conv.width * conv.in_words;
  conv.density = static_cast<svf_density>(params->density);
  if (svf_status status = check_written(conv, staged, args->lif, args->y)) return status;
  return check_tensors("convolution", {args->x, args->weight, args->bias, args->shift});
}

svf_status check_dense_conv(const svf_conv2d_params* params, bool staged, DenseConvArgs* args) {
  Conv& conv = args->conv;
  if (svf_status status = check_conv(params, &conv)) return status;
  if (params->input_type != SVF_UINT8 && params->input_type != SVF_INT8)
    return fail(SVF_INVALID_ARGUMENT, "input type %d is neither SVF_UINT8 nor SVF_INT8", params->input_type);
  conv.input_is_signed = params->input_type == SVF_INT8;
  const int lowest = conv.input_is_signed ? -128 : 0;
  if (params->zero_point < lowest || params->zero_point > lowest + 255)
    return fail(SVF_INVALID_ARGUMENT, "zero point %d is outside the input type's range %d..%d",
                params->zero_point, lowest, lowest + 255);
  conv.zero_point = params->zero_point;
  if (svf_status status = check_written(conv, staged, args->lif, args->y)) return status;
  return check_tensors("convolution", {args->x, args->weight, args->bias, args->shift});
}

svf_status check_lif(const svf_lif_params* p, LifArgs* args) {
  if (p == nullptr) return fail(SVF_INVALID_ARGUMENT, "LIF parameters are null");
  if (p->frames < 1 || p->positions < 1 || p->channels < 1)
    return fail(SVF_INVALID_ARGUMENT, "LIF sizes must be positive: T=%d, positions=%d, C=%d", p->frames,
                p->positions, p->channels);
  if (svf_status status = check_levels(p->levels)) return status;
  if (too_many({p->levels, p->frames, p->positions, p->channels}))
    return fail(SVF_INVALID_ARGUMENT,
                "LIF input has 2^30 elements or more: levels=%d, T=%d, positions=%d, C=%d", p->levels,
                p->frames, p->positions, p->channels);
  args->frames = p->frames;
  args->positions = p->positions;
  args->channels = p->channels;
  args->words = (p->channels + 31) / 32;
  args->levels = p->levels;
  args->soft_reset = p->soft_reset != 0;
  return check_tensors("LIF", {args->x, args->gain, args->bias, args->theta, args->y});
}

svf_status check_attention(const svf_attention_params* p, bool staged, AttentionArgs* args) {
  if (svf_status status = check_sizes(p, args)) return status;
  if (!staged) return check_tensors("attention", {args->y});
  const int64_t rows = int64_t{args->groups} * args->tokens;
  if (args->frames < 1 || rows % args->frames != 0)
    return fail(SVF_INVALID_ARGUMENT, "T=%d does not divide the %lld rows of the attention", args->frames,
                static_cast<long long>(rows));
  return check_stage(args->lif, {rows, args->channels});
}

svf_status check_causal_attention(const svf_attention_params* p, AttentionArgs* args) {
  if (svf_status status = check_sizes(p, args)) return status;
  if (args->window < 1) return fail(SVF_INVALID_ARGUMENT, "a window of %d frames is below 1", args->window);
  if ((args->before == nullptr) != (args->summary == nullptr))
    return fail(SVF_INVALID_ARGUMENT,
                "a frame of a stream takes summaries and gives one: one of them is null");
  if (args->before != nullptr && args->groups != 1)
    return fail(SVF_INVALID_ARGUMENT, "a stream goes on frame by frame, not with %d at once", args->groups);
  if ((args->y == nullptr) == (args->lif == nullptr))
    return fail(SVF_INVALID_ARGUMENT, "causal attention gives either y or spikes");
  args->frames = args->groups;
  return args->lif == nullptr ? SVF_OK : check_stage(args->lif, {args->groups, args->tokens, args->channels});
}

}  // namespace svf
