// ExecuTorch behind session.h, in a library of its own: svf-run starts, and says what is missing, without it.
#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include <exception>

#include "session.h"

// The wheel has the thread pool's library and not its header.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace svf {
namespace {

using executorch::aten::ScalarType;
using executorch::extension::BufferDataLoader;
using executorch::extension::Module;
using executorch::runtime::Error;
using executorch::runtime::Program;

constexpr char kMethod[] = "forward";

std::string reason(const char* what, Error error) {
  return std::string("ExecuTorch cannot ") + what + " (" + executorch::runtime::to_string(error) + ")";
}

class ExecuTorchSession : public Session {
 public:
  ExecuTorchSession(const uint8_t* graph, size_t size, const Signature& signature)
      : module_(std::make_unique<BufferDataLoader>(graph, size)), results_(signature.results.size()) {
    sizes_.emplace_back(signature.frames, signature.frames + 4);
    for (const StateInput& input : signature.state)
      sizes_.emplace_back(input.shape.begin(), input.shape.end());
  }

  std::string load() {
    Error error = module_.load(Program::Verification::InternalConsistency);
    if (error != Error::Ok) return reason("load the program", error);
    const auto meta = module_.method_meta(kMethod);
    if (!meta.ok()) return reason("find its method 'forward'", meta.error());
    if (meta->num_inputs() != sizes_.size() || meta->num_outputs() != results_)
      return "the program has " + std::to_string(meta->num_inputs()) + " inputs and " +
             std::to_string(meta->num_outputs()) + " results, " + std::to_string(sizes_.size()) + " and " +
             std::to_string(results_) + " were expected";
    for (size_t place = 0; place < sizes_.size(); ++place) {
      const auto input = meta->input_tensor_meta(place);
      const Sizes& sizes = sizes_[place];
      bool fits = input.ok() && input->scalar_type() == (place == 0 ? ScalarType::Byte : ScalarType::Int) &&
                  input->sizes().size() == sizes.size();
      for (size_t i = 0; fits && i < sizes.size(); ++i) fits = input->sizes()[i] == sizes[i];
      if (!fits)
        return std::string("the program takes other ") + (place == 0 ? "frames" : "states") +
               " than the manifest says";
    }
    error = module_.load_method(kMethod);
    return error == Error::Ok ? "" : reason("load its method", error);
  }

  std::string run(const uint8_t* frames, const std::vector<const int32_t*>& state,
                  std::vector<Tensor>& results) noexcept override {
    try {
      // The program only reads its inputs.
      std::vector<executorch::extension::TensorPtr> inputs;
      inputs.push_back(
          executorch::extension::from_blob(const_cast<uint8_t*>(frames), sizes_[0], ScalarType::Byte));
      for (size_t i = 0; i < state.size(); ++i)
        inputs.push_back(
            executorch::extension::from_blob(const_cast<int32_t*>(state[i]), sizes_[i + 1], ScalarType::Int));
      const std::vector<executorch::runtime::EValue> arguments(inputs.begin(), inputs.end());
      auto outputs = module_.execute(kMethod, arguments);
      if (!outputs.ok()) return reason("run the program", outputs.error());
      values_ = std::move(*outputs);
      results.clear();
      for (const auto& value : values_) {
        if (!value.isTensor()) return "a result of the program is no tensor";
        const auto& tensor = value.toTensor();
        const Type type = tensor.scalar_type() == ScalarType::Int     ? Type::kInt32
                          : tensor.scalar_type() == ScalarType::Float ? Type::kFloat
                                                                      : Type::kOther;
        results.push_back({type, {tensor.sizes().begin(), tensor.sizes().end()}, tensor.const_data_ptr()});
      }
      return "";
    } catch (const std::exception& error) {
      return error.what();
    }
  }

 private:
  using Sizes = std::vector<executorch::aten::SizesType>;

  Module module_;
  std::vector<Sizes> sizes_;  // of the frames, then of the state
  size_t results_;
  std::vector<executorch::runtime::EValue> values_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const char svf_run_version[] = SVF_EXECUTORCH_VERSION;

extern "C" __attribute__((visibility("default"))) Session* svf_run_open(const uint8_t* graph, size_t size,
                                                                        const Signature& signature,
                                                                        int threads,
                                                                        std::string& error) noexcept {
  try {
    auto* pool = executorch::extension::threadpool::get_threadpool();
    if (pool == nullptr || !pool->_unsafe_reset_threadpool(static_cast<uint32_t>(threads))) {
      error = "ExecuTorch has no pool of " + std::to_string(threads) + " threads";
      return nullptr;
    }
    auto session = std::make_unique<ExecuTorchSession>(graph, size, signature);
    error = session->load();
    return error.empty() ? session.release() : nullptr;
  } catch (const std::exception& caught) {
    error = caught.what();
    return nullptr;
  }
}

}  // namespace svf
