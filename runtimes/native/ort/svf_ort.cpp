// ONNX Runtime operator library: domain ai.svf, version 1 (docs/contract.md, "Operators").
#include "attention.h"
#include "convolution.h"
#include "layout.h"
#include "lif.h"

namespace svf {
namespace {

using Type = ONNXTensorElementDataType;
using Types = std::vector<Type>;

constexpr Type kU8 = ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
constexpr Type kS8 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
constexpr Type kS32 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;

template <bool kPacked, svf_type kInput, svf_type kOutput>
Conv make_conv(const Node& node) {
  return Conv{Convolution(node, kPacked, kInput, kOutput, SVF_AUTO)};
}
template <bool kPacked, svf_type kInput, bool kAdds, bool kStreams>
ConvLif make_conv_lif(const Node& node) {
  return ConvLif(node, kPacked, kInput, kAdds, kStreams);
}
template <bool kInteger>
Lif make_lif(const Node& node) {
  return Lif(node, kInteger);
}
template <svf_attention_kind kKind>
Attention make_attention(const Node& node) {
  return Attention(node, kKind);
}
LifFrom make_lif_from(const Node& node) { return LifFrom(node); }
template <svf_attention_kind kKind>
AttentionLif make_attention_lif(const Node& node) {
  return AttentionLif(node, kKind);
}
template <svf_attention_kind kKind, bool kStep>
CausalAttentionLif make_causal_attention_lif(const Node& node) {
  return CausalAttentionLif(node, kKind, kStep);
}

// A convolution with a LIF on an input of this type. The sum may take the place of the residual.
template <bool kPacked, svf_type kInput, bool kAdds, bool kStreams>
struct ConvLifDefinition : Definition<ConvLif> {
  ConvLifDefinition(const char* name, Type input)
      : Definition<ConvLif>(name, types(input), Types(kStreams ? 3 : 2, kS32),
                            make_conv_lif<kPacked, kInput, kAdds, kStreams>) {
    if constexpr (kAdds) {
      OrtCustomOp::GetMayInplace = [](int** inputs, int** outputs) -> size_t {
        *inputs = new int[1]{ConvLif::kResidual};
        *outputs = new int[1]{ConvLif::kSum};
        return 1;
      };
      OrtCustomOp::ReleaseMayInplace = [](int* inputs, int* outputs) {
        delete[] inputs;
        delete[] outputs;
      };
    }
  }
  static Types types(Type input) {
    Types all{input, kS8, kS32, kS32, kS32, kS32, kS32};
    all.insert(all.end(), kAdds + kStreams, kS32);
    return all;
  }
};

// Lives as long as the library: sessions keep pointers to the definitions.
struct Library {
  Ort::CustomOpDomain domain{"ai.svf"};
  Definition<Conv> convolutions[6] = {
      {"SpikeConv2d", {kS32, kS8, kS32, kS32}, {kS32}, make_conv<true, SVF_INT8, SVF_INT32>},
      {"SpikeConv2dS8", {kS32, kS8, kS32, kS32}, {kS8}, make_conv<true, SVF_INT8, SVF_INT8>},
      {"IntConv2d", {kU8, kS8, kS32, kS32}, {kS32}, make_conv<false, SVF_UINT8, SVF_INT32>},
      {"IntConv2d", {kS8, kS8, kS32, kS32}, {kS32}, make_conv<false, SVF_INT8, SVF_INT32>},
      {"IntConv2dS8", {kU8, kS8, kS32, kS32}, {kS8}, make_conv<false, SVF_UINT8, SVF_INT8>},
      {"IntConv2dS8", {kS8, kS8, kS32, kS32}, {kS8}, make_conv<false, SVF_INT8, SVF_INT8>},
  };
  template <bool kPacked, svf_type kInput>
  struct ConvLifs {
    ConvLifs(const char* lif, const char* from, const char* add, const char* add_from, Type input)
        : plain(lif, input), plain_from(from, input), adding(add, input), adding_from(add_from, input) {}
    void join(Ort::CustomOpDomain& domain) {
      domain.Add(&plain);
      domain.Add(&plain_from);
      domain.Add(&adding);
      domain.Add(&adding_from);
    }
    ConvLifDefinition<kPacked, kInput, false, false> plain;
    ConvLifDefinition<kPacked, kInput, false, true> plain_from;
    ConvLifDefinition<kPacked, kInput, true, false> adding;
    ConvLifDefinition<kPacked, kInput, true, true> adding_from;
  };
  ConvLifs<true, SVF_INT8> spike_conv_lifs{"SpikeConv2dLif", "SpikeConv2dLifFrom", "SpikeConv2dAddLif",
                                           "SpikeConv2dAddLifFrom", kS32};
  ConvLifs<false, SVF_UINT8> u8_conv_lifs{"IntConv2dLif", "IntConv2dLifFrom", "IntConv2dAddLif",
                                          "IntConv2dAddLifFrom", kU8};
  ConvLifs<false, SVF_INT8> s8_conv_lifs{"IntConv2dLif", "IntConv2dLifFrom", "IntConv2dAddLif",
                                         "IntConv2dAddLifFrom", kS8};
  Definition<Lif> lifs[2] = {
      {"Lif", {kS32, kS32, kS32, kS32}, {kS32}, make_lif<false>},
      {"IntegerLif", {kS32, kS32, kS32, kS32}, {kS32}, make_lif<true>},
  };
  Definition<Attention> attentions[2] = {
      {"HammingAttention", {kS32, kS32, kS32}, {kS32}, make_attention<SVF_HAMMING>},
      {"DotAttention", {kS32, kS32, kS32}, {kS32}, make_attention<SVF_DOT>},
  };
  Definition<AttentionLif> attention_lifs[2] = {
      {"HammingAttentionLif", Types(6, kS32), {kS32}, make_attention_lif<SVF_HAMMING>},
      {"DotAttentionLif", Types(6, kS32), {kS32}, make_attention_lif<SVF_DOT>},
  };
  Definition<LifFrom> lif_from{"LifFrom", Types(5, kS32), Types(2, kS32), make_lif_from};
  Definition<CausalAttentionLif> causal_attention_lifs[4] = {
      {"HammingCausalAttentionLif", Types(6, kS32), {kS32}, make_causal_attention_lif<SVF_HAMMING, false>},
      {"DotCausalAttentionLif", Types(6, kS32), {kS32}, make_causal_attention_lif<SVF_DOT, false>},
      {"HammingAttentionLifStep", Types(8, kS32), Types(3, kS32),
       make_causal_attention_lif<SVF_HAMMING, true>},
      {"DotAttentionLifStep", Types(8, kS32), Types(3, kS32), make_causal_attention_lif<SVF_DOT, true>},
  };

  Definition<ChannelsLast> channels_last{
      "ChannelsLast", {kU8}, {kU8}, [](const Node&) { return ChannelsLast{}; }};

  Library() {
    domain.Add(&channels_last);
    for (auto& definition : convolutions) domain.Add(&definition);
    spike_conv_lifs.join(domain);
    u8_conv_lifs.join(domain);
    s8_conv_lifs.join(domain);
    domain.Add(&lif_from);
    for (auto& definition : lifs) domain.Add(&definition);
    for (auto& definition : attentions) domain.Add(&definition);
    for (auto& definition : attention_lifs) domain.Add(&definition);
    for (auto& definition : causal_attention_lifs) domain.Add(&definition);
  }
};

}  // namespace
}  // namespace svf

extern "C" SVF_API OrtStatus* ORT_API_CALL RegisterCustomOps(OrtSessionOptions* options,
                                                             const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) {
    // The oldest API every version has can still carry the message.
    return base->GetApi(1)->CreateStatus(
        ORT_FAIL, ("svf: this library needs ONNX Runtime API " + std::to_string(ORT_API_VERSION) +
                   ", but ONNX Runtime " + base->GetVersionString() + " is older")
                      .c_str());
  }
  Ort::InitApi(api);
  return svf::guarded([&] {
    static svf::Library library;
    Ort::UnownedSessionOptions(options).Add(library.domain);
  });
}
