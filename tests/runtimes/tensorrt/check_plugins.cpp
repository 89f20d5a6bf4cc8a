// What TensorRT asks the plug-ins, asked here without TensorRT: creators, stored fields, formats, types and
// shapes that a run may have. Prints a line for every wrong answer. Usage: check_plugins LIBRARY
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

using namespace nvinfer1;

namespace {

using Shape = std::vector<int64_t>;
using Values = std::map<std::string, int64_t>;

int wrong = 0;

void expect(bool good, const std::string& op, const std::string& what) {
  if (good) return;
  ++wrong;
  std::printf("%s: %s\n", op.c_str(), what.c_str());
}

struct Tensor {
  DataType type;
  Shape shape;
};

// A plug-in's attributes, tensors that fit it, and changes of one input that do not.
struct Case {
  std::string op;
  Values values;
  std::vector<Tensor> inputs;
  std::vector<DataType> outputs;
  std::vector<std::pair<int, Shape>> misfits;
  std::vector<Values> bad_values;
};

PluginTensorDesc described(const Tensor& tensor) {
  PluginTensorDesc desc{};
  desc.type = tensor.type;
  desc.format = TensorFormat::kLINEAR;
  desc.dims.nbDims = static_cast<int32_t>(tensor.shape.size());
  for (size_t i = 0; i < tensor.shape.size(); ++i) desc.dims.d[i] = tensor.shape[i];
  return desc;
}

IPluginV3* make(IPluginCreatorV3One* creator, const Values& values) {
  std::vector<PluginField> fields;
  for (const auto& [name, value] : values)
    fields.emplace_back(name.c_str(), &value, PluginFieldType::kINT64, 1);
  const PluginFieldCollection collection{static_cast<int32_t>(fields.size()), fields.data()};
  return creator->createPlugin("layer", &collection, TensorRTPhase::kBUILD);
}

Values stored(IPluginV3* plugin) {
  auto* runtime =
      static_cast<IPluginV3OneRuntime*>(plugin->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
  const PluginFieldCollection* fields = runtime->getFieldsToSerialize();
  Values found;
  for (int32_t i = 0; i < fields->nbFields; ++i) {
    int32_t value = 0;
    std::memcpy(&value, fields->fields[i].data, sizeof value);
    found[fields->fields[i].name] = value;
  }
  return found;
}

void check_formats(IPluginV3OneBuild* build, const Case& one) {
  std::vector<DynamicPluginTensorDesc> tensors;
  for (const Tensor& tensor : one.inputs) tensors.push_back({described(tensor), {}, {}, {}});
  for (const DataType type : one.outputs) tensors.push_back({described({type, {1}}), {}, {}, {}});
  const int32_t inputs = static_cast<int32_t>(one.inputs.size());
  const int32_t outputs = static_cast<int32_t>(one.outputs.size());
  for (int32_t at = 0; at < inputs + outputs; ++at) {
    const auto supports = [&](DataType type, TensorFormat format) {
      auto changed = tensors;
      changed[at].desc.type = type;
      changed[at].desc.format = format;
      return build->supportsFormatCombination(at, changed.data(), inputs, outputs);
    };
    const DataType type = tensors[at].desc.type;
    expect(supports(type, TensorFormat::kLINEAR), one.op, "refuses its own type " + std::to_string(at));
    expect(!supports(DataType::kHALF, TensorFormat::kLINEAR), one.op, "takes half " + std::to_string(at));
    expect(!supports(type, TensorFormat::kCHW32), one.op, "takes another format " + std::to_string(at));
  }
  expect(!build->supportsFormatCombination(0, tensors.data(), inputs - 1, outputs), one.op,
         "takes fewer inputs");
  std::vector<DataType> types(outputs, DataType::kHALF);
  expect(build->getOutputDataTypes(types.data(), outputs, nullptr, inputs) == 0 && types == one.outputs,
         one.op, "gives other types");
  expect(build->getNbOutputs() == outputs, one.op, "has another number of outputs");
}

void check_shapes(IPluginV3OneRuntime* runtime, const Case& one) {
  std::vector<PluginTensorDesc> inputs;
  for (const Tensor& tensor : one.inputs) inputs.push_back(described(tensor));
  const auto takes = [&](const std::vector<PluginTensorDesc>& given) {
    return runtime->onShapeChange(given.data(), static_cast<int32_t>(given.size()), nullptr, 0) == 0;
  };
  expect(takes(inputs), one.op, "refuses shapes that fit");
  for (const auto& [at, shape] : one.misfits) {
    auto changed = inputs;
    changed[at] = described({one.inputs[at].type, shape});
    expect(!takes(changed), one.op, "takes a shape that does not fit input " + std::to_string(at));
  }
}

void check(IPluginCreatorV3One* creator, const Case& one) {
  for (const Values& values : one.bad_values)
    expect(make(creator, values) == nullptr, one.op, "takes attributes that make no sense");
  IPluginV3* plugin = make(creator, one.values);
  expect(plugin != nullptr, one.op, "cannot be made");
  if (plugin == nullptr) return;
  expect(stored(plugin) == one.values, one.op, "stores other fields than it was made of");
  const auto* fields =
      static_cast<IPluginV3OneRuntime*>(plugin->getCapabilityInterface(PluginCapabilityType::kRUNTIME))
          ->getFieldsToSerialize();
  IPluginV3* again = creator->createPlugin("layer", fields, TensorRTPhase::kRUNTIME);
  expect(again != nullptr, one.op, "cannot be made again of what it stores");
  IPluginV3* copy = plugin->clone();
  for (IPluginV3* each : {plugin, again, copy}) {
    if (each == nullptr) continue;
    expect(stored(each) == one.values, one.op, "a copy has other fields");
    check_formats(static_cast<IPluginV3OneBuild*>(each->getCapabilityInterface(PluginCapabilityType::kBUILD)),
                  one);
    check_shapes(
        static_cast<IPluginV3OneRuntime*>(each->getCapabilityInterface(PluginCapabilityType::kRUNTIME)), one);
    delete each;
  }
}

std::vector<Case> cases() {
  const DataType i32 = DataType::kINT32, f32 = DataType::kFLOAT, i8 = DataType::kINT8;
  std::vector<Case> all;
  for (const std::string kind : {"Hamming", "Dot"}) {
    const Tensor words{i32, {5, 7, 2}}, planes{i32, {3, 5, 7, 2}}, frame{i32, {1, 7, 2}};
    const Values heads{{"channels", 40}, {"heads", 4}};
    const std::vector<Values> bad{{{"channels", 40}, {"heads", 7}}, {{"channels", 40}}, {}};
    all.push_back({kind + "Attention",
                   heads,
                   {words, words, words},
                   {i32},
                   {{0, {5, 7, 3}}, {1, {5, 6, 2}}, {2, {7, 2}}, {0, {2, 5, 7, 2}}},
                   bad});
    all.push_back({kind + "Attention",
                   heads,
                   {planes, planes, planes},
                   {i32},
                   {{0, {4, 5, 7, 2}}, {0, {5, 7, 2}}, {2, {3, 5, 7, 1}}},
                   bad});
    const Values window{{"channels", 40}, {"heads", 4}, {"window", 2}};
    all.push_back({kind + "CausalAttention",
                   window,
                   {words, words, words},
                   {i32},
                   {{0, {5, 7, 3}}},
                   {{{"channels", 40}, {"heads", 4}}, {{"channels", 40}, {"heads", 4}, {"window", -1}}}});
    all.push_back({kind + "AttentionStep",
                   heads,
                   {frame, frame, frame, {i32, {4, 10, 10}}},
                   {i32, i32},
                   {{3, {4, 10, 9}}, {3, {10, 10}}, {1, {1, 8, 2}}},
                   bad});
  }
  for (const bool packs : {false, true}) {
    for (const bool stream : {false, true}) {
      for (const DataType carrier : {f32, i32}) {
        const Tensor vector{i32, {40}};
        Case one{std::string(packs ? "LifWords" : "LifSpikes") + (stream ? "From" : ""),
                 {{"soft_reset", 1}, {"levels", packs ? 15 : 127}},
                 {{carrier, {3, 40, 6, 5}}, vector, vector, vector},
                 {packs ? i32 : i8},
                 {{0, {40, 6, 5}}, {0, {3, 41, 6, 5}}, {1, {1}}, {2, {40, 1, 1}}, {3, {39}}},
                 {{{"levels", packs ? 16 : 128}}, {{"levels", 0}}, {}, {{"levels", int64_t{1} << 32}}}};
        if (stream) {
          one.inputs.push_back({i32, {40, 6, 5}});
          one.outputs.push_back(i32);
          one.misfits.push_back({4, {40, 6, 6}});
          one.misfits.push_back({4, {1, 40, 6, 5}});
        }
        all.push_back(one);
      }
    }
  }
  return all;
}

}  // namespace

int main(int count, char** arguments) {
  void* library = count == 2 ? dlopen(arguments[1], RTLD_NOW) : nullptr;
  if (library == nullptr) {
    std::printf("%s\n", count == 2 ? dlerror() : "usage: check_plugins LIBRARY");
    return 2;
  }
  using GetCreators = IPluginCreatorInterface* const* (*)(int32_t&);
  const auto get = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"));
  int32_t creators = 0;
  std::map<std::string, IPluginCreatorV3One*> known;
  IPluginCreatorInterface* const* all = get(creators);
  for (int32_t i = 0; i < creators; ++i) {
    auto* creator = static_cast<IPluginCreatorV3One*>(all[i]);
    known[creator->getPluginName()] = creator;
  }
  int checked = 0;
  for (const Case& one : cases()) {
    if (known.count(one.op) == 0) {
      expect(false, one.op, "is not there");
      continue;
    }
    check(known[one.op], one);
    ++checked;
  }
  std::printf("%d cases, %d plug-ins, %d wrong\n", checked, static_cast<int>(known.size()), wrong);
  return wrong == 0 ? 0 : 1;
}
