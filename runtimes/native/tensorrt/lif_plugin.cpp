// The integer LIF over time: LifSpikes and LifWords from membranes of 0; ...From, a piece of a stream, with
// membranes before and after. Version 1, namespace "".
//
//   inputs      x: int32 [T, C, H, W], or float32, of which the floor is read; gain, bias, theta: int32 [C];
//               ...From: before, int32 [C, H, W]
//   outputs     LifSpikes: int8 [T, C, H, W]; LifWords: int32 words [T, H, W, ceil(C / 32)], with an axis of
//               planes in front where there are several levels; ...From: after, int32 [C, H, W]
//   attributes  soft_reset, levels (LifSpikes to 127, LifWords to 15)
//
// float32 is what TensorRT's int8 convolutions and their sums give, int32 what attention gives; int8 spikes
// are what the next convolution's DequantizeLinear takes.
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

constexpr int kRank = 4;
constexpr size_t kSoftReset = 0, kLevels = 1;
constexpr int kBefore = 4;

template <bool kPacks, bool kStream>
class LifPlugin final : public Plugin {
 public:
  using Plugin::Plugin;

  LifPlugin* clone() noexcept override { return new (std::nothrow) LifPlugin(op_, values()); }

  size_t getWorkspaceSize(const DynamicPluginTensorDesc*, int32_t, const DynamicPluginTensorDesc*,
                          int32_t) const noexcept override {
    return 0;
  }

  int32_t enqueue(const PluginTensorDesc* inputs, const PluginTensorDesc*, const void* const* sources,
                  void* const* targets, void*, cudaStream_t stream) noexcept override {
    const Dims& x = inputs[0].dims;
    const svf_lif_params given{static_cast<int32_t>(x.d[0]), static_cast<int32_t>(x.d[2] * x.d[3]),
                               static_cast<int32_t>(x.d[1]), value(kSoftReset), value(kLevels)};
    const auto in = [sources](int32_t i) { return static_cast<const int32_t*>(sources[i]); };
    const bool floats = inputs[0].type == DataType::kFLOAT;
    return launched(svf_cuda_lif_carriers(
        &given, sources[0], floats ? SVF_CARRIER_FLOAT32 : SVF_CARRIER_INT32, in(1), in(2), in(3),
        kStream ? in(kBefore) : nullptr, kStream ? static_cast<int32_t*>(targets[1]) : nullptr,
        kPacks ? nullptr : targets[0], SVF_CARRIER_INT8, kPacks ? static_cast<int32_t*>(targets[0]) : nullptr,
        stream));
  }

 protected:
  bool infer(const DimsExprs* inputs, DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const override {
    const DimsExprs& x = inputs[0];
    if (x.nbDims != kRank) return false;
    DimsExprs& spikes = outputs[0];
    if (kPacks) {
      int32_t axis = 0;
      if (value(kLevels) > 1) spikes.d[axis++] = builder.constant(value(kLevels));
      for (const int32_t from : {0, 2, 3}) spikes.d[axis++] = x.d[from];
      spikes.d[axis++] =
          builder.operation(nvinfer1::DimensionOperation::kCEIL_DIV, *x.d[1], *builder.constant(kWordBits));
      spikes.nbDims = axis;
    } else {
      spikes = x;
    }
    if (kStream) {
      outputs[1].nbDims = kRank - 1;
      for (int32_t axis = 1; axis < kRank; ++axis) outputs[1].d[axis - 1] = x.d[axis];
    }
    return true;
  }

  std::string problem(const PluginTensorDesc* inputs) const override {
    const Dims& x = inputs[0].dims;
    if (x.nbDims != kRank) return "x must be [T, C, H, W]";
    for (int32_t i = 1; i < kBefore; ++i) {
      if (!has_shape(inputs[i].dims, {x.d[1]}))
        return "gain, bias and theta must be [" + std::to_string(x.d[1]) + "], one for each channel of x";
    }
    if (kStream && !has_shape(inputs[kBefore].dims, {x.d[1], x.d[2], x.d[3]}))
      return "before must be [" + std::to_string(x.d[1]) + ", " + std::to_string(x.d[2]) + ", " +
             std::to_string(x.d[3]) + "], a frame of x";
    return "";
  }
};

template <bool kPacks, bool kStream>
nvinfer1::IPluginV3* make(const Operator& op, const std::vector<int32_t>& values, std::string& problem) {
  const int32_t most = kPacks ? SVF_MAX_LEVELS : INT8_MAX;
  if (values[kLevels] < 1 || values[kLevels] > most) {
    problem = "levels must be 1 to " + std::to_string(most);
    return nullptr;
  }
  return new (std::nothrow) LifPlugin<kPacks, kStream>(op, values);
}

template <bool kPacks, bool kStream>
nvinfer1::IPluginCreatorInterface* creator(const char* name) {
  static const Operator op = [name] {
    const std::vector<DataType> integers{DataType::kINT32};
    Operator made{name,
                  {{DataType::kFLOAT, DataType::kINT32}, integers, integers, integers},
                  {kPacks ? DataType::kINT32 : DataType::kINT8},
                  {"soft_reset", "levels"}};
    if (kStream) {
      made.inputs.push_back(integers);
      made.outputs.push_back(DataType::kINT32);
    }
    return made;
  }();
  static Creator one(op, make<kPacks, kStream>);
  return &one;
}

}  // namespace

std::vector<nvinfer1::IPluginCreatorInterface*> lif_creators() {
  return {creator<false, false>("LifSpikes"), creator<false, true>("LifSpikesFrom"),
          creator<true, false>("LifWords"), creator<true, true>("LifWordsFrom")};
}

}  // namespace svf
