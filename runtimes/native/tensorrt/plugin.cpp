// TensorRT plug-ins HammingAttention and DotAttention, version 1, namespace "" (ONNX domain ai.svf).
//
//   inputs      q, k, v: int32 words [G, N, ceil(channels / 32)], or [levels, G, N, ...] with 2 to 15 levels
//   output      int32 [G, N, channels]
//   attributes  channels, heads
//
// Only the IPluginV3 API of TensorRT 10.3 (JetPack 6) is used, so one source serves every later 10.x and
// TensorRT-RTX. A program loads the library with IPluginRegistry::loadLibrary, which calls getCreators below.
#include <NvInferRuntime.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>

#include "svf_cuda.h"

namespace svf {
namespace {

using nvinfer1::AsciiChar;
using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;
using nvinfer1::PluginTensorDesc;

constexpr const char* kVersion = "1";
constexpr const char* kNamespace = "";
constexpr int kInputs = 3;
constexpr int kRank = 3;  // without an axis of planes
constexpr int kWordBits = 32;

const char* plugin_name(bool hamming) { return hamming ? "HammingAttention" : "DotAttention"; }

nvinfer1::ILoggerFinder* logger_finder = nullptr;

// One line to TensorRT's log, or to stderr where the host program gave us no logger.
void complain(bool hamming, const std::string& message) {
  const std::string line = std::string("svf: ") + plugin_name(hamming) + ": " + message;
  nvinfer1::ILogger* logger = logger_finder == nullptr ? nullptr : logger_finder->findLogger();
  if (logger == nullptr) {
    std::fprintf(stderr, "%s\n", line.c_str());
  } else {
    logger->log(nvinfer1::ILogger::Severity::kERROR, line.c_str());
  }
}

class AttentionPlugin final : public nvinfer1::IPluginV3,
                              public nvinfer1::IPluginV3OneCore,
                              public nvinfer1::IPluginV3OneBuild,
                              public nvinfer1::IPluginV3OneRuntime {
 public:
  AttentionPlugin(bool hamming, int32_t channels, int32_t heads)
      : hamming_(hamming),
        channels_(channels),
        heads_(heads),
        fields_{PluginField{"channels", &channels_, PluginFieldType::kINT32, 1},
                PluginField{"heads", &heads_, PluginFieldType::kINT32, 1}},
        collection_{static_cast<int32_t>(fields_.size()), fields_.data()} {}

  // The fields point into the object itself: copies are made by clone, from values.
  AttentionPlugin(const AttentionPlugin&) = delete;
  AttentionPlugin& operator=(const AttentionPlugin&) = delete;

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
    switch (type) {
      case nvinfer1::PluginCapabilityType::kCORE:
        return static_cast<nvinfer1::IPluginV3OneCore*>(this);
      case nvinfer1::PluginCapabilityType::kBUILD:
        return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
      case nvinfer1::PluginCapabilityType::kRUNTIME:
        return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }

  AttentionPlugin* clone() noexcept override {
    return new (std::nothrow) AttentionPlugin(hamming_, channels_, heads_);
  }

  const AsciiChar* getPluginName() const noexcept override { return plugin_name(hamming_); }
  const AsciiChar* getPluginVersion() const noexcept override { return kVersion; }
  const AsciiChar* getPluginNamespace() const noexcept override { return kNamespace; }

  int32_t getNbOutputs() const noexcept override { return 1; }

  int32_t getOutputDataTypes(DataType* outputs, int32_t output_count, const DataType*,
                             int32_t) const noexcept override {
    if (output_count != 1) {
      return -1;
    }
    outputs[0] = DataType::kINT32;
    return 0;
  }

  int32_t getOutputShapes(const DimsExprs* inputs, int32_t input_count, const DimsExprs*, int32_t,
                          DimsExprs* outputs, int32_t output_count,
                          nvinfer1::IExprBuilder& builder) noexcept override {
    if (input_count != kInputs || output_count != 1 || !has_rank(inputs[0].nbDims)) {
      complain(hamming_, "takes q, k and v as words [G, N, W] or [levels, G, N, W]");
      return -1;
    }
    const int32_t first = inputs[0].nbDims - kRank;
    outputs[0].nbDims = kRank;
    outputs[0].d[0] = inputs[0].d[first];
    outputs[0].d[1] = inputs[0].d[first + 1];
    outputs[0].d[2] = builder.constant(channels_);
    return 0;
  }

  bool supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* tensors,
                                 int32_t input_count, int32_t output_count) noexcept override {
    return input_count == kInputs && output_count == 1 && tensors[position].desc.type == DataType::kINT32 &&
           tensors[position].desc.format == nvinfer1::TensorFormat::kLINEAR;
  }

  int32_t configurePlugin(const DynamicPluginTensorDesc*, int32_t, const DynamicPluginTensorDesc*,
                          int32_t) noexcept override {
    return 0;
  }

  size_t getWorkspaceSize(const DynamicPluginTensorDesc* inputs, int32_t, const DynamicPluginTensorDesc*,
                          int32_t) const noexcept override {
    const svf_attention_params most = parameters(inputs[0].max);
    return svf_cuda_attention_workspace(&most, 0);
  }

  int32_t onShapeChange(const PluginTensorDesc* inputs, int32_t input_count, const PluginTensorDesc*,
                        int32_t) noexcept override {
    if (input_count != kInputs) {
      return -1;
    }
    const Dims& query = inputs[0].dims;
    const int32_t words = (channels_ + kWordBits - 1) / kWordBits;
    const bool good = has_rank(query.nbDims) && parameters(query).levels >= 1 &&
                      parameters(query).levels <= SVF_MAX_LEVELS && query.d[query.nbDims - 1] == words &&
                      same(query, inputs[1].dims) && same(query, inputs[2].dims);
    if (!good) {
      complain(hamming_, "q, k and v must be words [G, N, " + std::to_string(words) + "] for " +
                             std::to_string(channels_) + " channels, with at most " +
                             std::to_string(SVF_MAX_LEVELS) + " planes in front");
      return -1;
    }
    return 0;
  }

  int32_t enqueue(const PluginTensorDesc* inputs, const PluginTensorDesc*, const void* const* sources,
                  void* const* targets, void* workspace, cudaStream_t stream) noexcept override {
    const svf_attention_params given = parameters(inputs[0].dims);
    const auto words = [sources](int32_t input) { return static_cast<const int32_t*>(sources[input]); };
    const svf_status status = svf_cuda_attention(&given, words(0), words(1), words(2),
                                                 static_cast<int32_t*>(targets[0]), workspace, stream);
    if (status != SVF_OK) complain(hamming_, svf_cuda_last_error());
    return status == SVF_OK ? 0 : -1;
  }

  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override {
    return clone();
  }

  const PluginFieldCollection* getFieldsToSerialize() noexcept override { return &collection_; }

 private:
  static bool has_rank(int32_t rank) { return rank == kRank || rank == kRank + 1; }

  static bool same(const Dims& one, const Dims& other) {
    bool equal = one.nbDims == other.nbDims;
    for (int32_t i = 0; equal && i < one.nbDims; ++i) {
      equal = one.d[i] == other.d[i];
    }
    return equal;
  }

  svf_attention_params parameters(const Dims& dims) const {
    const int32_t first = dims.nbDims - kRank;
    return {static_cast<int32_t>(dims.d[first]),
            static_cast<int32_t>(dims.d[first + 1]),
            channels_,
            heads_,
            hamming_ ? SVF_HAMMING : SVF_DOT,
            first == 0 ? 1 : static_cast<int32_t>(dims.d[0])};
  }

  const bool hamming_;
  const int32_t channels_;
  const int32_t heads_;
  const std::array<PluginField, 2> fields_;
  const PluginFieldCollection collection_;
};

// An integer attribute, which parsers hand over as one INT32 or one INT64; 0 when absent.
int64_t integer_field(const PluginFieldCollection& fields, const char* name) {
  for (int32_t i = 0; i < fields.nbFields; ++i) {
    const PluginField& field = fields.fields[i];
    if (std::strcmp(field.name, name) != 0 || field.data == nullptr || field.length != 1) {
      continue;
    }
    if (field.type == PluginFieldType::kINT32) {
      int32_t value = 0;
      std::memcpy(&value, field.data, sizeof value);
      return value;
    }
    if (field.type == PluginFieldType::kINT64) {
      int64_t value = 0;
      std::memcpy(&value, field.data, sizeof value);
      return value;
    }
  }
  return 0;
}

class AttentionCreator final : public nvinfer1::IPluginCreatorV3One {
 public:
  explicit AttentionCreator(bool hamming)
      : hamming_(hamming),
        fields_{PluginField{"channels", nullptr, PluginFieldType::kINT32, 1},
                PluginField{"heads", nullptr, PluginFieldType::kINT32, 1}},
        collection_{static_cast<int32_t>(fields_.size()), fields_.data()} {}

  AttentionCreator(const AttentionCreator&) = delete;
  AttentionCreator& operator=(const AttentionCreator&) = delete;

  const AsciiChar* getPluginName() const noexcept override { return plugin_name(hamming_); }
  const AsciiChar* getPluginVersion() const noexcept override { return kVersion; }
  const AsciiChar* getPluginNamespace() const noexcept override { return kNamespace; }
  const PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }

  nvinfer1::IPluginV3* createPlugin(const AsciiChar* layer, const PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase) noexcept override {
    const int64_t channels = fields == nullptr ? 0 : integer_field(*fields, "channels");
    const int64_t heads = fields == nullptr ? 0 : integer_field(*fields, "heads");
    if (channels < 1 || channels > INT32_MAX || heads < 1 || channels % heads != 0) {
      complain(hamming_, "layer '" + std::string(layer == nullptr ? "" : layer) +
                             "' has channels = " + std::to_string(channels) +
                             " and heads = " + std::to_string(heads) + "; heads must divide channels");
      return nullptr;
    }
    return new (std::nothrow)
        AttentionPlugin(hamming_, static_cast<int32_t>(channels), static_cast<int32_t>(heads));
  }

 private:
  const bool hamming_;
  const std::array<PluginField, 2> fields_;
  const PluginFieldCollection collection_;
};

}  // namespace
}  // namespace svf

#define SVF_EXPORT extern "C" __attribute__((visibility("default")))

SVF_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  static svf::AttentionCreator hamming(true);
  static svf::AttentionCreator dot(false);
  static nvinfer1::IPluginCreatorInterface* const creators[] = {&hamming, &dot};
  count = 2;
  return creators;
}

SVF_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { svf::logger_finder = finder; }
