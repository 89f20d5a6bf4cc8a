// HammingAttention and DotAttention, within groups of tokens; ...CausalAttention, where a group is a frame
// and sees earlier ones; ...AttentionStep, one frame of a stream. Version 1, namespace "".
//
//   inputs      q, k, v: int32 words [G, N, ceil(channels / 32)], or [levels, G, N, ...] with 2 to 15 levels;
//               a step also takes the sum of earlier summaries, int32 [heads, d, d] with d = channels / heads
//   outputs     int32 [G, N, channels]; a step also gives its own summary
//   attributes  channels, heads; window of causal attention
#include <new>

#include "plugin.h"
#include "svf_cuda.h"

namespace svf {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginTensorDesc;

constexpr int kRank = 3;  // without an axis of planes
constexpr size_t kChannels = 0, kHeads = 1, kWindow = 2;

enum class Form { kGroups, kCausal, kStep };

bool has_rank(int32_t rank) { return rank == kRank || rank == kRank + 1; }

template <svf_attention_kind kKind, Form kForm>
class AttentionPlugin final : public Plugin {
 public:
  using Plugin::Plugin;

  AttentionPlugin* clone() noexcept override { return new (std::nothrow) AttentionPlugin(op_, values()); }

  size_t getWorkspaceSize(const DynamicPluginTensorDesc* inputs, int32_t, const DynamicPluginTensorDesc*,
                          int32_t) const noexcept override {
    const svf_attention_params most = parameters(inputs[0].max);
    return svf_cuda_attention_workspace(&most, 0);
  }

  int32_t enqueue(const PluginTensorDesc* inputs, const PluginTensorDesc*, const void* const* sources,
                  void* const* targets, void* workspace, cudaStream_t stream) noexcept override {
    const svf_attention_params given = parameters(inputs[0].dims);
    const auto in = [sources](int32_t i) { return static_cast<const int32_t*>(sources[i]); };
    const auto out = [targets](int32_t i) { return static_cast<int32_t*>(targets[i]); };
    switch (kForm) {
      case Form::kGroups:
        return launched(svf_cuda_attention(&given, in(0), in(1), in(2), out(0), workspace, stream));
      case Form::kCausal:
        return launched(svf_cuda_causal_attention(&given, value(kWindow), in(0), in(1), in(2), nullptr,
                                                  nullptr, out(0), nullptr, workspace, stream));
      case Form::kStep:  // the sum of earlier summaries is given, whatever the window
        return launched(svf_cuda_causal_attention(&given, 2, in(0), in(1), in(2), in(3), out(1), out(0),
                                                  nullptr, workspace, stream));
    }
    return -1;
  }

 protected:
  bool infer(const DimsExprs* inputs, DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const override {
    if (!has_rank(inputs[0].nbDims)) return false;
    const int32_t first = inputs[0].nbDims - kRank;
    outputs[0].nbDims = kRank;
    outputs[0].d[0] = inputs[0].d[first];
    outputs[0].d[1] = inputs[0].d[first + 1];
    outputs[0].d[2] = builder.constant(value(kChannels));
    if (kForm == Form::kStep) {
      outputs[1].nbDims = 3;
      outputs[1].d[0] = builder.constant(value(kHeads));
      outputs[1].d[1] = outputs[1].d[2] = builder.constant(width());
    }
    return true;
  }

  std::string problem(const PluginTensorDesc* inputs) const override {
    const Dims& query = inputs[0].dims;
    const int64_t words = (value(kChannels) + kWordBits - 1) / kWordBits;
    const bool good = has_rank(query.nbDims) && parameters(query).levels >= 1 &&
                      parameters(query).levels <= SVF_MAX_LEVELS && query.d[query.nbDims - 1] == words &&
                      same_shape(query, inputs[1].dims) && same_shape(query, inputs[2].dims);
    if (!good) {
      return "q, k and v must be words [G, N, " + std::to_string(words) + "] for " +
             std::to_string(value(kChannels)) + " channels, with at most " + std::to_string(SVF_MAX_LEVELS) +
             " planes in front";
    }
    if (kForm != Form::kStep) return "";
    if (parameters(query).groups != 1) return "a step takes one frame";
    if (has_shape(inputs[3].dims, {value(kHeads), width(), width()})) return "";
    const std::string side = std::to_string(width());
    return "summaries must be [" + std::to_string(value(kHeads)) + ", " + side + ", " + side + "]";
  }

 private:
  int32_t width() const { return value(kChannels) / value(kHeads); }

  svf_attention_params parameters(const Dims& dims) const {
    const int32_t first = dims.nbDims - kRank;
    return {static_cast<int32_t>(dims.d[first]),
            static_cast<int32_t>(dims.d[first + 1]),
            value(kChannels),
            value(kHeads),
            kKind,
            first == 0 ? 1 : static_cast<int32_t>(dims.d[0])};
  }
};

template <svf_attention_kind kKind, Form kForm>
nvinfer1::IPluginV3* make(const Operator& op, const std::vector<int32_t>& values, std::string& problem) {
  if (values[kChannels] < 1 || values[kHeads] < 1 || values[kChannels] % values[kHeads] != 0) {
    problem = "heads must divide channels";
  } else if (kForm == Form::kCausal && values[kWindow] < 1) {
    problem = "a window has at least one frame";
  } else {
    return new (std::nothrow) AttentionPlugin<kKind, kForm>(op, values);
  }
  return nullptr;
}

Operator attention(const char* name, Form form) {
  const std::vector<DataType> words{DataType::kINT32};
  Operator op{name, {words, words, words}, {DataType::kINT32}, {"channels", "heads"}};
  if (form == Form::kCausal) op.attributes.push_back("window");
  if (form == Form::kStep) {
    op.inputs.push_back({DataType::kINT32});
    op.outputs.push_back(DataType::kINT32);
  }
  return op;
}

template <svf_attention_kind kKind, Form kForm>
nvinfer1::IPluginCreatorInterface* creator(const char* name) {
  static const Operator op = attention(name, kForm);
  static Creator one(op, make<kKind, kForm>);
  return &one;
}

}  // namespace

std::vector<nvinfer1::IPluginCreatorInterface*> attention_creators() {
  return {creator<SVF_HAMMING, Form::kGroups>("HammingAttention"),
          creator<SVF_HAMMING, Form::kCausal>("HammingCausalAttention"),
          creator<SVF_HAMMING, Form::kStep>("HammingAttentionStep"),
          creator<SVF_DOT, Form::kGroups>("DotAttention"),
          creator<SVF_DOT, Form::kCausal>("DotCausalAttention"),
          creator<SVF_DOT, Form::kStep>("DotAttentionStep")};
}

}  // namespace svf
