#include "onnxruntime_backend.h"

#define ORT_API_MANUAL_INIT
#include <dlfcn.h>
#include <onnxruntime_cxx_api.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

namespace svf {
namespace {

constexpr char kKernelTime[] = "_kernel_time";

// ONNX Runtime's profile is a list of events in microseconds, one a node and run.
std::vector<Operation> operations_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::map<int64_t, Operation> found;
  for (const nlohmann::json& event : nlohmann::json::parse(file)) {
    std::string name = event.at("name");
    const size_t end = name.rfind(kKernelTime);
    if (event.at("cat") != "Node" || end == std::string::npos) continue;
    const auto& arguments = event.at("args");
    const int64_t index = std::stoll(arguments.at("node_index").get<std::string>());
    Operation& operation = found[index];
    operation.index = index;
    operation.kind = arguments.at("op_name");
    operation.node = name.substr(0, end);
    operation.milliseconds.push_back(event.at("dur").get<double>() / 1e3);
  }
  std::vector<Operation> all;
  for (auto& entry : found) all.push_back(std::move(entry.second));
  return all;
}

class OnnxSession : public Session {
 public:
  OnnxSession(const Ort::Env& env, const uint8_t* graph, size_t size, const Signature& signature,
              const Ort::SessionOptions& options)
      : session_(env, graph, size, options),
        signature_(signature),
        memory_(Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault)) {
    for (const std::string& name : signature_.results) names_.push_back(name.c_str());
    inputs_.push_back(signature_.input.c_str());
    for (const StateInput& input : signature_.state) inputs_.push_back(input.name.c_str());
  }

  std::string run(const uint8_t* frames, const std::vector<const int32_t*>& state,
                  std::vector<Tensor>& results) noexcept override {
    try {
      // The session only reads its inputs.
      std::vector<Ort::Value> values;
      values.push_back(input(const_cast<uint8_t*>(frames), signature_.frames, 4));
      for (size_t i = 0; i < state.size(); ++i) {
        const std::vector<int64_t>& shape = signature_.state[i].shape;
        values.push_back(input(const_cast<int32_t*>(state[i]), shape.data(), shape.size()));
      }
      values_ = session_.Run(Ort::RunOptions{nullptr}, inputs_.data(), values.data(), values.size(),
                             names_.data(), names_.size());
      results.clear();
      for (const Ort::Value& found : values_) {
        const auto info = found.GetTensorTypeAndShapeInfo();
        const ONNXTensorElementDataType element = info.GetElementType();
        const Type type = element == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32   ? Type::kInt32
                          : element == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT ? Type::kFloat
                                                                           : Type::kOther;
        results.push_back({type, info.GetShape(), found.GetTensorRawData()});
      }
      return "";
    } catch (const std::exception& error) {
      return std::string("ONNX Runtime stopped (") + error.what() + ")";
    }
  }

  std::string end_profile(std::vector<Operation>& operations) noexcept override {
    try {
      Ort::AllocatorWithDefaultOptions allocator;
      operations = operations_of(session_.EndProfilingAllocated(allocator).get());
      return "";
    } catch (const std::exception& error) {
      return std::string("ONNX Runtime's profile cannot be read (") + error.what() + ")";
    }
  }

 private:
  template <typename T>
  Ort::Value input(T* data, const int64_t* shape, size_t rank) const {
    size_t count = 1;
    for (size_t axis = 0; axis < rank; ++axis) count *= static_cast<size_t>(shape[axis]);
    return Ort::Value::CreateTensor<T>(memory_, data, count, shape, rank);
  }

  Ort::Session session_;
  Signature signature_;
  Ort::MemoryInfo memory_;
  std::vector<const char*> inputs_, names_;
  std::vector<Ort::Value> values_;
};

}  // namespace

std::string OnnxRuntime::load(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return dlerror();
  using GetBase = const OrtApiBase* (*)();
  const auto base = reinterpret_cast<GetBase>(dlsym(library, "OrtGetApiBase"));
  const OrtApi* api = base == nullptr ? nullptr : base()->GetApi(ORT_API_VERSION);
  if (api == nullptr)
    return path + " is older than ONNX Runtime 1." + std::to_string(ORT_API_VERSION) +
           ", which svf-run needs";
  Ort::InitApi(api);
  version_ = base()->GetVersionString();
  return "";
}

Session* OnnxRuntime::open(const uint8_t* graph, size_t size, const Signature& signature, int threads,
                           const std::optional<std::string>& operators, const std::string& profile,
                           std::string& error) noexcept {
  try {
    // Sessions may outlive this call, and the environment must outlive them.
    static const Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "svf-run");
    Ort::SessionOptions options;  // as in runtimes/onnxruntime.py
    options.SetIntraOpNumThreads(threads);
    options.SetInterOpNumThreads(1);
    options.SetExecutionMode(ORT_SEQUENTIAL);
    options.SetDeterministicCompute(true);
    options.AddConfigEntry("session.force_spinning_stop", "1");
    if (!profile.empty()) options.EnableProfiling(profile.c_str());
    if (operators) options.RegisterCustomOpsLibrary(operators->c_str());
    return new OnnxSession(env, graph, size, signature, options);
  } catch (const std::exception& caught) {
    error = std::string("ONNX Runtime cannot load it (") + caught.what() + ")";
    return nullptr;
  }
}

}  // namespace svf
