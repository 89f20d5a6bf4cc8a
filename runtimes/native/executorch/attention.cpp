// Attention on packed spikes, alone and with the LIF behind it.
#include "call.h"

namespace svf {
namespace {

template <svf_attention_kind kKind>
Tensor& attention_out(KernelRuntimeContext& context, const Tensor& q, const Tensor& k, const Tensor& v,
                      int64_t channels, int64_t heads, Tensor& out) {
  Call call(context);
  svf_attention_params p{};
  if (!call.fits({channels, heads}, "channels, heads") ||
      !call.takes_packed(q, {-1, -1, words(channels)}, "q", p.levels) || !call.takes_like(k, q, "k") ||
      !call.takes_like(v, q, "v") ||
      !call.gives(out, ScalarType::Int, {q.size(q.dim() - 3), q.size(q.dim() - 2), channels}, "out"))
    return out;
  p.groups = static_cast<int32_t>(q.size(q.dim() - 3));
  p.tokens = static_cast<int32_t>(q.size(q.dim() - 2));
  p.channels = static_cast<int32_t>(channels);
  p.heads = static_cast<int32_t>(heads);
  p.kind = kKind;
  call.passes(svf_attention(&p, q.const_data_ptr<int32_t>(), k.const_data_ptr<int32_t>(),
                            v.const_data_ptr<int32_t>(), out.mutable_data_ptr<int32_t>(), &kParallel));
  return out;
}

// Packed words of frames and the LIF that reads the result, checked.
bool read(Call& call, const Tensor& q, const Tensor& k, const Tensor& v, int64_t channels, int64_t heads,
          const Tensor& gain, const Tensor& lif_bias, const Tensor& theta, bool soft_reset, int64_t levels,
          const Tensor& spikes, svf_attention_params& p, svf_lif_stage& lif) {
  p = {};
  lif = {};
  if (!call.fits({channels, heads}, "channels, heads") ||
      !call.takes_packed(q, {-1, -1, -1, words(channels)}, "q", p.levels) || !call.takes_like(k, q, "k") ||
      !call.takes_like(v, q, "v") ||
      !read_lif(call, gain, lif_bias, theta, soft_reset, levels, channels, lif))
    return false;
  const int64_t frames = q.size(q.dim() - 4), height = q.size(q.dim() - 3), width = q.size(q.dim() - 2);
  if (!call.fits({frames * height * width}, "tokens") ||
      !call.gives_packed(spikes, levels, {frames, height, width, words(channels)}, "spikes"))
    return false;
  p.groups = static_cast<int32_t>(frames);
  p.tokens = static_cast<int32_t>(height * width);
  p.channels = static_cast<int32_t>(channels);
  p.heads = static_cast<int32_t>(heads);
  lif.spikes = spikes.mutable_data_ptr<int32_t>();
  return true;
}

template <svf_attention_kind kKind>
Tensor& attention_lif_out(KernelRuntimeContext& context, const Tensor& q, const Tensor& k, const Tensor& v,
                          int64_t channels, int64_t heads, bool joint, const Tensor& gain,
                          const Tensor& lif_bias, const Tensor& theta, bool soft_reset, int64_t levels,
                          Tensor& out) {
  Call call(context);
  svf_attention_params p;
  svf_lif_stage lif;
  if (!read(call, q, k, v, channels, heads, gain, lif_bias, theta, soft_reset, levels, out, p, lif))
    return out;
  const int32_t frames = p.groups;
  if (joint) {
    p.groups = 1;
    p.tokens *= frames;
  }
  p.kind = kKind;
  call.passes(svf_attention_lif(&p, frames, q.const_data_ptr<int32_t>(), k.const_data_ptr<int32_t>(),
                                v.const_data_ptr<int32_t>(), &lif, &kParallel));
  return out;
}

template <svf_attention_kind kKind>
Tensor& causal_attention_lif_out(KernelRuntimeContext& context, const Tensor& q, const Tensor& k,
                                 const Tensor& v, int64_t channels, int64_t heads, int64_t window,
                                 const Tensor& gain, const Tensor& lif_bias, const Tensor& theta,
                                 bool soft_reset, int64_t levels, Tensor& out) {
  Call call(context);
  svf_attention_params p;
  svf_lif_stage lif;
  if (!call.fits({window}, "window") ||
      !read(call, q, k, v, channels, heads, gain, lif_bias, theta, soft_reset, levels, out, p, lif))
    return out;
  p.kind = kKind;
  call.passes(svf_causal_attention(&p, static_cast<int32_t>(window), q.const_data_ptr<int32_t>(),
                                   k.const_data_ptr<int32_t>(), v.const_data_ptr<int32_t>(), nullptr, nullptr,
                                   nullptr, &lif, &kParallel));
  return out;
}

// One frame of a stream. Without `summaries` attention stays within the frame, and `summary` is empty.
template <svf_attention_kind kKind>
Tensor& attention_lif_step_out(KernelRuntimeContext& context, const Tensor& q, const Tensor& k,
                               const Tensor& v, int64_t channels, int64_t heads, const Tensor& gain,
                               const Tensor& lif_bias, const Tensor& theta, bool soft_reset, int64_t levels,
                               const OptionalTensor& summaries, const Tensor& before, const Tensor& spikes,
                               const Tensor& summary, Tensor& after) {
  Call call(context);
  svf_attention_params p;
  svf_lif_stage lif;
  if (!read(call, q, k, v, channels, heads, gain, lif_bias, theta, soft_reset, levels, spikes, p, lif) ||
      !read_membranes(call, before, after, q.size(q.dim() - 3), q.size(q.dim() - 2), channels, lif))
    return after;
  const int32_t* earlier = nullptr;
  int32_t* own = nullptr;
  if (summaries.has_value()) {
    const int64_t width = heads > 0 ? channels / heads : 0;  // the core refuses other numbers of heads
    if (!call.takes(*summaries, ScalarType::Int, {heads, width, width}, "summaries") ||
        !call.gives(summary, ScalarType::Int, {heads, width, width}, "summary"))
      return after;
    earlier = summaries->const_data_ptr<int32_t>();
    own = summary.mutable_data_ptr<int32_t>();
  } else if (!call.gives(summary, ScalarType::Int, {0}, "summary")) {
    return after;
  }
  p.kind = kKind;
  call.passes(svf_causal_attention(&p, 1, q.const_data_ptr<int32_t>(), k.const_data_ptr<int32_t>(),
                                   v.const_data_ptr<int32_t>(), earlier, own, nullptr, &lif, &kParallel));
  return after;
}

EXECUTORCH_LIBRARY(svf, "hamming_attention.out", attention_out<SVF_HAMMING>);
EXECUTORCH_LIBRARY(svf, "hamming_attention_lif.out", attention_lif_out<SVF_HAMMING>);
EXECUTORCH_LIBRARY(svf, "hamming_causal_attention_lif.out", causal_attention_lif_out<SVF_HAMMING>);
EXECUTORCH_LIBRARY(svf, "hamming_attention_lif_step.out", attention_lif_step_out<SVF_HAMMING>);
EXECUTORCH_LIBRARY(svf, "dot_attention.out", attention_out<SVF_DOT>);
EXECUTORCH_LIBRARY(svf, "dot_attention_lif.out", attention_lif_out<SVF_DOT>);
EXECUTORCH_LIBRARY(svf, "dot_causal_attention_lif.out", causal_attention_lif_out<SVF_DOT>);
EXECUTORCH_LIBRARY(svf, "dot_attention_lif_step.out", attention_lif_step_out<SVF_DOT>);

}  // namespace
}  // namespace svf
