// Attention on packed spikes, alone and with the LIF behind it.
#ifndef SVF_ORT_ATTENTION_H
#define SVF_ORT_ATTENTION_H

#include "support.h"

namespace svf {

struct Attention {
  Attention(const Node& node, svf_attention_kind kind)
      : channels(node.integer("channels")), heads(node.integer("heads")), kind(kind) {}

  void run(const Call& call) const {
    const auto [q, planes] = call.packed_shape(0, 3, "q");
    const Shape packed = with_planes(planes, {q[0], q[1], words(channels)});
    const svf_attention_params p{narrow(q[0], "G"),       narrow(q[1], "N"), channels, heads, kind,
                                 narrow(planes, "planes")};
    const int32_t* query = call.input<int32_t>(0, packed, "q");
    const int32_t* key = call.input<int32_t>(1, packed, "k");
    const int32_t* value = call.input<int32_t>(2, packed, "v");
    int32_t* y = call.output<int32_t>(0, {q[0], q[1], channels});
    check(svf_attention(&p, query, key, value, y, call.parallel()));
  }

  int32_t channels, heads;
  svf_attention_kind kind;
};

// Inputs q, k, v, gain, lif_bias, theta. Words of frames: joint attention is among all of them, the other
// within each.
struct AttentionLif {
  AttentionLif(const Node& node, svf_attention_kind kind)
      : neuron(node, 3),
        channels(node.integer("channels")),
        heads(node.integer("heads")),
        joint(node.integer("joint") != 0),
        kind(kind) {}

  void run(const Call& call) const {
    const auto [q, planes] = call.packed_shape(0, 4, "q");
    const Shape packed = with_planes(planes, {q[0], q[1], q[2], words(channels)});
    const int32_t frames = narrow(q[0], "T");
    const int64_t tokens = int64_t{narrow(q[1], "H")} * narrow(q[2], "W") * (joint ? frames : 1);
    const svf_attention_params p{joint ? 1 : frames,      narrow(tokens, "tokens"), channels, heads, kind,
                                 narrow(planes, "planes")};
    const int32_t* query = call.input<int32_t>(0, packed, "q");
    const int32_t* key = call.input<int32_t>(1, packed, "k");
    const int32_t* value = call.input<int32_t>(2, packed, "v");
    const svf_lif_stage lif = neuron.stage(call, {q[0], q[1], q[2], channels});
    check(svf_attention_lif(&p, frames, query, key, value, &lif, call.parallel()));
  }

  Neuron neuron;
  int32_t channels, heads;
  bool joint;
  svf_attention_kind kind;
};

// Causal attention with a LIF: of a clip, with an attribute `window`; or of one frame of a stream, with the
// further inputs summaries and before and the further outputs summary, which need not be wanted, and after.
struct CausalAttentionLif {
  CausalAttentionLif(const Node& node, svf_attention_kind kind, bool step)
      : neuron(node, 3),
        channels(node.integer("channels")),
        heads(node.integer("heads")),
        window(step ? 1 : node.integer("window")),
        kind(kind),
        step(step),
        gives_summary(node.gives(1)) {}

  void run(const Call& call) const {
    const auto [q, planes] = call.packed_shape(0, 4, "q");
    const Shape packed = with_planes(planes, {q[0], q[1], q[2], words(channels)});
    const int64_t tokens = int64_t{narrow(q[1], "H")} * narrow(q[2], "W");
    const svf_attention_params p{narrow(q[0], "T"),       narrow(tokens, "tokens"), channels, heads, kind,
                                 narrow(planes, "planes")};
    const int32_t* query = call.input<int32_t>(0, packed, "q");
    const int32_t* key = call.input<int32_t>(1, packed, "k");
    const int32_t* value = call.input<int32_t>(2, packed, "v");
    const Shape sizes{q[0], q[1], q[2], channels};
    svf_lif_stage lif = neuron.stage(call, sizes);
    const int32_t* summaries = nullptr;
    int32_t* summary = nullptr;
    std::vector<int32_t> unwanted;
    if (step) {
      if (heads < 1) refuse("heads is " + std::to_string(heads) + ", which is below 1");
      const Shape matrix{heads, channels / heads, channels / heads};
      summaries = call.input<int32_t>(6, matrix, "summaries");
      if (!gives_summary) unwanted.resize(static_cast<size_t>(matrix[0] * matrix[1] * matrix[2]));
      summary = gives_summary ? call.output<int32_t>(1, matrix) : unwanted.data();
      neuron.carry(call, sizes, 7, 2, lif);
    }
    check(svf_causal_attention(&p, window, query, key, value, summaries, summary, nullptr, &lif,
                               call.parallel()));
  }

  Neuron neuron;
  int32_t channels, heads, window;
  svf_attention_kind kind;
  bool step, gives_summary;
};

}  // namespace svf
#endif
