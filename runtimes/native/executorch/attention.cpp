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

template <svf_attention_kind kKind>
Tensor& attention_lif_out(KernelRuntimeContext& context, const Tensor& q, const Tensor& k, const Tensor& v,
                          int64_t channels, int64_t heads, bool joint, const Tensor& gain,
                          const Tensor& lif_bias, const Tensor& theta, bool soft_reset, int64_t levels,
                          Tensor& out) {
  Call call(context);
  svf_attention_params p{};
  svf_lif_stage lif{};
  if (!call.fits({channels, heads}, "channels, heads") ||
      !call.takes_packed(q, {-1, -1, -1, words(channels)}, "q", p.levels) || !call.takes_like(k, q, "k") ||
      !call.takes_like(v, q, "v") ||
      !read_lif(call, gain, lif_bias, theta, soft_reset, levels, channels, lif))
    return out;
  const int64_t frames = q.size(q.dim() - 4), height = q.size(q.dim() - 3), width = q.size(q.dim() - 2);
  const int64_t tokens = joint ? frames * height * width : height * width;
  if (!call.fits({tokens}, "tokens") ||
      !call.gives_packed(out, levels, {frames, height, width, words(channels)}, "out"))
    return out;
  p.groups = joint ? 1 : static_cast<int32_t>(frames);
  p.tokens = static_cast<int32_t>(tokens);
  p.channels = static_cast<int32_t>(channels);
  p.heads = static_cast<int32_t>(heads);
  p.kind = kKind;
  lif.spikes = out.mutable_data_ptr<int32_t>();
  call.passes(svf_attention_lif(&p, static_cast<int32_t>(frames), q.const_data_ptr<int32_t>(),
                                k.const_data_ptr<int32_t>(), v.const_data_ptr<int32_t>(), &lif, &kParallel));
  return out;
}

EXECUTORCH_LIBRARY(svf, "hamming_attention.out", attention_out<SVF_HAMMING>);
EXECUTORCH_LIBRARY(svf, "hamming_attention_lif.out", attention_lif_out<SVF_HAMMING>);
EXECUTORCH_LIBRARY(svf, "dot_attention.out", attention_out<SVF_DOT>);
EXECUTORCH_LIBRARY(svf, "dot_attention_lif.out", attention_lif_out<SVF_DOT>);

}  // namespace
}  // namespace svf
