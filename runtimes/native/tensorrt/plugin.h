// What the plug-ins share: one class under IPluginV3's four interfaces, and creators.
//
// Only the IPluginV3 API of TensorRT 10.3 (JetPack 6) is used, so one source serves every later 10.x, 11 and
// TensorRT-RTX.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace svf {

constexpr int kWordBits = 32;
constexpr const char* kVersion = "1";
constexpr const char* kNamespace = "";

// An operator of ONNX domain ai.svf as TensorRT sees it: types that each input may have, types of the
// outputs, and integer attributes.
struct Operator {
  const char* name;
  std::vector<std::vector<nvinfer1::DataType>> inputs;
  std::vector<nvinfer1::DataType> outputs;
  std::vector<const char*> attributes;
};

// One line to TensorRT's log, or to stderr where the host program gave us no logger.
void complain(const Operator& op, const std::string& message);
void set_logger_finder(nvinfer1::ILoggerFinder* finder);

// Whether a shape is [wanted...]; -1 takes any size.
bool has_shape(const nvinfer1::Dims& dims, std::initializer_list<int64_t> wanted);
bool same_shape(const nvinfer1::Dims& one, const nvinfer1::Dims& other);

class Plugin : public nvinfer1::IPluginV3,
               public nvinfer1::IPluginV3OneCore,
               public nvinfer1::IPluginV3OneBuild,
               public nvinfer1::IPluginV3OneRuntime {
 public:
  // `values` are those of op.attributes. The fields point into the object: copies are made by clone.
  Plugin(const Operator& op, std::vector<int32_t> values);
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;

  const nvinfer1::AsciiChar* getPluginName() const noexcept override { return op_.name; }
  const nvinfer1::AsciiChar* getPluginVersion() const noexcept override { return kVersion; }
  const nvinfer1::AsciiChar* getPluginNamespace() const noexcept override { return kNamespace; }

  int32_t getNbOutputs() const noexcept override { return static_cast<int32_t>(op_.outputs.size()); }
  int32_t getOutputDataTypes(nvinfer1::DataType* outputs, int32_t output_count, const nvinfer1::DataType*,
                             int32_t) const noexcept override;
  int32_t getOutputShapes(const nvinfer1::DimsExprs* inputs, int32_t input_count, const nvinfer1::DimsExprs*,
                          int32_t, nvinfer1::DimsExprs* outputs, int32_t output_count,
                          nvinfer1::IExprBuilder& builder) noexcept override;
  bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors,
                                 int32_t input_count, int32_t output_count) noexcept override;
  int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc*, int32_t,
                          const nvinfer1::DynamicPluginTensorDesc*, int32_t) noexcept override {
    return 0;
  }
  int32_t onShapeChange(const nvinfer1::PluginTensorDesc* inputs, int32_t input_count,
                        const nvinfer1::PluginTensorDesc*, int32_t) noexcept override;
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override {
    return clone();
  }
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override { return &collection_; }

 protected:
  // Fills the shapes of the outputs; false where the inputs' ranks are not the operator's.
  virtual bool infer(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                     nvinfer1::IExprBuilder& builder) const = 0;
  // What is wrong with the inputs' shapes, or "".
  virtual std::string problem(const nvinfer1::PluginTensorDesc* inputs) const = 0;

  int32_t value(size_t attribute) const { return values_[attribute]; }
  const std::vector<int32_t>& values() const { return values_; }
  // 0 for a launch that was accepted; else complains with the kernels' words.
  int32_t launched(int32_t status) const;

  const Operator& op_;

 private:
  const std::vector<int32_t> values_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_;
};

// Makes plug-ins of one operator. A maker gets the values of its attributes (0 where a node has none) and
// says in `problem` what is wrong with them, or returns the plug-in.
class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  using Maker = nvinfer1::IPluginV3* (*)(const Operator& op, const std::vector<int32_t>& values,
                                         std::string& problem);

  Creator(const Operator& op, Maker maker);
  Creator(const Creator&) = delete;
  Creator& operator=(const Creator&) = delete;

  const nvinfer1::AsciiChar* getPluginName() const noexcept override { return op_.name; }
  const nvinfer1::AsciiChar* getPluginVersion() const noexcept override { return kVersion; }
  const nvinfer1::AsciiChar* getPluginNamespace() const noexcept override { return kNamespace; }
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  nvinfer1::IPluginV3* createPlugin(const nvinfer1::AsciiChar* layer,
                                    const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase) noexcept override;

 private:
  const Operator& op_;
  const Maker maker_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_;
};

// The creators of every plug-in, in two files.
std::vector<nvinfer1::IPluginCreatorInterface*> attention_creators();
std::vector<nvinfer1::IPluginCreatorInterface*> lif_creators();

}  // namespace svf
