// ExecuTorch behind session.h, in a library of its own: svf-run starts, and says what is missing, without it.
#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include <exception>
#include <fstream>
#include <map>

#include "session.h"

#if SVF_ETDUMP
#include <executorch/devtools/etdump/etdump_flatcc.h>
#include <executorch/runtime/platform/clock.h>
#endif

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

#if SVF_ETDUMP
using executorch::runtime::ChainID;
using executorch::runtime::DebugHandle;
using executorch::runtime::EventTracerEntry;
using Ticks = et_timestamp_t;

double milliseconds(Ticks from, Ticks to) {
  return static_cast<double>(executorch::runtime::ticks_to_ns(to - from)) / 1e6;
}

// Writes an ETDump, and keeps what it says of operators beside it: reading one needs a library of its own.
// The runtime wraps what a kernel calls itself in the call of it, and a delegate logs its parts within its
// call.
class Tracer : public executorch::etdump::ETDumpGen {
 public:
  EventTracerEntry start_profiling(const char* name, ChainID chain, DebugHandle handle) override {
    const EventTracerEntry entry = ETDumpGen::start_profiling(name, chain, handle);
    open_.emplace_back(name);
    parts_ = open_.back() == kDelegate ? 0 : parts_;
    return entry;
  }

  void end_profiling(EventTracerEntry entry) override {
    const Ticks now = executorch::runtime::pal_current_ticks();
    ETDumpGen::end_profiling(entry);
    const std::string name = std::move(open_.back());
    open_.pop_back();
    if (name == kDelegate)
      note(entry.debug_handle, 0, "delegate", milliseconds(entry.start_time, now));
    else if (name == kOperator)
      note(entry.debug_handle, 0, std::exchange(kernel_, ""), milliseconds(entry.start_time, now));
    else
      kernel_ = name;
  }

  void log_profiling_delegate(const char* name, executorch::runtime::DelegateDebugIntId index, Ticks from,
                              Ticks to, const void* metadata, size_t size) override {
    ETDumpGen::log_profiling_delegate(name, index, from, to, metadata, size);
    note(current_debug_handle(), ++parts_, name == nullptr ? std::to_string(index) : name,
         milliseconds(from, to));
  }

  std::vector<Operation> operations() const {
    std::vector<Operation> all;
    for (const auto& entry : found_) all.push_back(entry.second);
    return all;
  }

 private:
  static constexpr char kOperator[] = "OPERATOR_CALL", kDelegate[] = "DELEGATE_CALL";

  void note(DebugHandle handle, int part, const std::string& kind, double time) {
    const auto index = static_cast<int64_t>(handle);
    Operation& operation = found_[{index, part}];
    operation.index = index;
    operation.part = part > 0;
    operation.kind = kind;
    operation.milliseconds.push_back(time);
  }

  std::vector<std::string> open_;
  std::string kernel_;
  int parts_ = 0;
  std::map<std::pair<int64_t, int>, Operation> found_;
};

std::unique_ptr<Tracer> tracer(const std::string& profile) {
  return profile.empty() ? nullptr : std::make_unique<Tracer>();
}
#else
std::unique_ptr<executorch::runtime::EventTracer> tracer(const std::string&) { return nullptr; }
#endif

class ExecuTorchSession : public Session {
 public:
  ExecuTorchSession(const uint8_t* graph, size_t size, const Signature& signature, const std::string& profile)
      : module_(std::make_unique<BufferDataLoader>(graph, size), nullptr, nullptr, tracer(profile)),
        results_(signature.results.size()),
        profile_(profile) {
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

  std::string end_profile(std::vector<Operation>& operations) noexcept override {
#if SVF_ETDUMP
    try {
      auto* traced = static_cast<Tracer*>(module_.event_tracer());
      operations = traced->operations();
      const auto dump = traced->get_etdump_data();
      const std::unique_ptr<void, decltype(&std::free)> owned(dump.buf, &std::free);
      const std::string path = profile_ + ".etdump";
      std::ofstream file(path, std::ios::binary);
      file.write(static_cast<const char*>(dump.buf), static_cast<std::streamsize>(dump.size));
      file.close();
      return file && dump.buf != nullptr ? "" : path + " cannot be written";
    } catch (const std::exception& error) {
      return error.what();
    }
#else
    operations.clear();
    return "this build of ExecuTorch has no ETDump";
#endif
  }

 private:
  using Sizes = std::vector<executorch::aten::SizesType>;

  Module module_;
  std::vector<Sizes> sizes_;  // of the frames, then of the state
  size_t results_;
  std::string profile_;
  std::vector<executorch::runtime::EValue> values_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const char svf_run_version[] = SVF_EXECUTORCH_VERSION;

extern "C" __attribute__((visibility("default"))) Session* svf_run_open(const uint8_t* graph, size_t size,
                                                                        const Signature& signature,
                                                                        int threads,
                                                                        const std::string& profile,
                                                                        std::string& error) noexcept {
  try {
    auto* pool = executorch::extension::threadpool::get_threadpool();
    if (pool == nullptr || !pool->_unsafe_reset_threadpool(static_cast<uint32_t>(threads))) {
      error = "ExecuTorch has no pool of " + std::to_string(threads) + " threads";
      return nullptr;
    }
    auto session = std::make_unique<ExecuTorchSession>(graph, size, signature, profile);
    error = session->load();
    return error.empty() ? session.release() : nullptr;
  } catch (const std::exception& caught) {
    error = caught.what();
    return nullptr;
  }
}

}  // namespace svf
