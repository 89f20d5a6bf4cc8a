#include "plugin.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "svf_cuda.h"

namespace svf {

using nvinfer1::AsciiChar;
using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginCapabilityType;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;
using nvinfer1::PluginTensorDesc;

namespace {

nvinfer1::ILoggerFinder* logger_finder = nullptr;

std::vector<PluginField> fields_of(const Operator& op, const std::vector<int32_t>* values) {
  std::vector<PluginField> fields;
  for (size_t i = 0; i < op.attributes.size(); ++i) {
    const void* data = values == nullptr ? nullptr : values->data() + i;
    fields.emplace_back(op.attributes[i], data, PluginFieldType::kINT32, 1);
  }
  return fields;
}

// An integer attribute, which parsers hand over as one INT32 or one INT64; 0 when absent or beyond int32.
int32_t integer_field(const PluginFieldCollection* fields, const char* name) {
  for (int32_t i = 0; fields != nullptr && i < fields->nbFields; ++i) {
    const PluginField& field = fields->fields[i];
    if (std::strcmp(field.name, name) != 0 || field.data == nullptr || field.length != 1) continue;
    if (field.type == PluginFieldType::kINT32) {
      int32_t value = 0;
      std::memcpy(&value, field.data, sizeof value);
      return value;
    }
    if (field.type == PluginFieldType::kINT64) {
      int64_t value = 0;
      std::memcpy(&value, field.data, sizeof value);
      return value < INT32_MIN || value > INT32_MAX ? 0 : static_cast<int32_t>(value);
    }
  }
  return 0;
}

}  // namespace

void complain(const Operator& op, const std::string& message) {
  const std::string line = std::string("svf: ") + op.name + ": " + message;
  nvinfer1::ILogger* logger = logger_finder == nullptr ? nullptr : logger_finder->findLogger();
  if (logger == nullptr) {
    std::fprintf(stderr, "%s\n", line.c_str());
  } else {
    logger->log(nvinfer1::ILogger::Severity::kERROR, line.c_str());
  }
}

void set_logger_finder(nvinfer1::ILoggerFinder* finder) { logger_finder = finder; }

bool has_shape(const Dims& dims, std::initializer_list<int64_t> wanted) {
  if (dims.nbDims != static_cast<int32_t>(wanted.size())) return false;
  const auto* size = dims.d;
  for (const int64_t want : wanted) {
    if (want >= 0 && *size != want) return false;
    ++size;
  }
  return true;
}

bool same_shape(const Dims& one, const Dims& other) {
  bool equal = one.nbDims == other.nbDims;
  for (int32_t i = 0; equal && i < one.nbDims; ++i) equal = one.d[i] == other.d[i];
  return equal;
}

Plugin::Plugin(const Operator& op, std::vector<int32_t> values)
    : op_(op),
      values_(std::move(values)),
      fields_(fields_of(op, &values_)),
      collection_{static_cast<int32_t>(fields_.size()), fields_.data()} {}

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(PluginCapabilityType type) noexcept {
  switch (type) {
    case PluginCapabilityType::kCORE:
      return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case PluginCapabilityType::kBUILD:
      return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case PluginCapabilityType::kRUNTIME:
      return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

int32_t Plugin::getOutputDataTypes(DataType* outputs, int32_t output_count, const DataType*,
                                   int32_t) const noexcept {
  if (output_count != getNbOutputs()) return -1;
  for (int32_t i = 0; i < output_count; ++i) outputs[i] = op_.outputs[i];
  return 0;
}

int32_t Plugin::getOutputShapes(const DimsExprs* inputs, int32_t input_count, const DimsExprs*, int32_t,
                                DimsExprs* outputs, int32_t output_count,
                                nvinfer1::IExprBuilder& builder) noexcept {
  if (input_count != static_cast<int32_t>(op_.inputs.size()) || output_count != getNbOutputs()) {
    complain(op_, "has " + std::to_string(input_count) + " inputs and " + std::to_string(output_count) +
                      " outputs, not " + std::to_string(op_.inputs.size()) + " and " +
                      std::to_string(op_.outputs.size()));
    return -1;
  }
  if (!infer(inputs, outputs, builder)) {
    complain(op_, "an input has another number of axes than the operator takes (docs/contract.md)");
    return -1;
  }
  return 0;
}

bool Plugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* tensors,
                                       int32_t input_count, int32_t output_count) noexcept {
  if (input_count != static_cast<int32_t>(op_.inputs.size()) || output_count != getNbOutputs()) return false;
  const PluginTensorDesc& tensor = tensors[position].desc;
  if (tensor.format != nvinfer1::TensorFormat::kLINEAR) return false;
  if (position >= input_count) return tensor.type == op_.outputs[position - input_count];
  const std::vector<DataType>& types = op_.inputs[position];
  return std::find(types.begin(), types.end(), tensor.type) != types.end();
}

int32_t Plugin::onShapeChange(const PluginTensorDesc* inputs, int32_t input_count, const PluginTensorDesc*,
                              int32_t) noexcept {
  if (input_count != static_cast<int32_t>(op_.inputs.size())) return -1;
  const std::string what = problem(inputs);
  if (what.empty()) return 0;
  complain(op_, what);
  return -1;
}

int32_t Plugin::launched(int32_t status) const {
  if (status == SVF_OK) return 0;
  complain(op_, svf_cuda_last_error());
  return -1;
}

Creator::Creator(const Operator& op, Maker maker)
    : op_(op),
      maker_(maker),
      fields_(fields_of(op, nullptr)),
      collection_{static_cast<int32_t>(fields_.size()), fields_.data()} {}

nvinfer1::IPluginV3* Creator::createPlugin(const AsciiChar* layer, const PluginFieldCollection* fields,
                                           nvinfer1::TensorRTPhase) noexcept {
  std::vector<int32_t> values;
  std::string given, problem;
  for (const char* attribute : op_.attributes) {
    values.push_back(integer_field(fields, attribute));
    given += (given.empty() ? "" : ", ") + std::string(attribute) + " = " + std::to_string(values.back());
  }
  nvinfer1::IPluginV3* plugin = maker_(op_, values, problem);
  if (plugin == nullptr) {
    complain(op_, "layer '" + std::string(layer == nullptr ? "" : layer) + "' has " + given +
                      (problem.empty() ? "; there is no memory for it" : "; " + problem));
  }
  return plugin;
}

}  // namespace svf

#define SVF_EXPORT extern "C" __attribute__((visibility("default")))

// A program loads the library with IPluginRegistry::loadLibrary, which asks for these.
SVF_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  static const std::vector<nvinfer1::IPluginCreatorInterface*> creators = [] {
    std::vector<nvinfer1::IPluginCreatorInterface*> all = svf::attention_creators();
    for (nvinfer1::IPluginCreatorInterface* one : svf::lif_creators()) all.push_back(one);
    return all;
  }();
  count = static_cast<int32_t>(creators.size());
  return creators.data();
}

SVF_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { svf::set_logger_finder(finder); }
