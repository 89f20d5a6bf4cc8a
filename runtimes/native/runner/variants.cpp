#include "variants.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "failure.h"
#include "machine.h"
#include "spikes.h"

namespace svf {
namespace {

constexpr char kCore[] = "svf_core";

// File names under which ONNX Runtime is looked for where the bundle has none.
constexpr const char* kOnnxRuntimeFiles[] = {SVF_ONNXRUNTIME_FILES};

std::string folder_of_this_program() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  const std::string text(path, size < 0 ? 0 : static_cast<size_t>(size));
  return text.substr(0, text.find_last_of('/') + 1);
}

const char* kernel_set() {
  using Isa = const char* (*)();
  void* core = dlopen("libsvf_core.so", RTLD_NOW | RTLD_NOLOAD);
  const auto isa = core == nullptr ? nullptr : reinterpret_cast<Isa>(dlsym(core, "svf_isa"));
  return isa == nullptr ? "" : isa();
}

std::vector<int64_t> shape_of(Shape shape, int64_t steps) { return {steps, shape.c, shape.h, shape.w}; }

std::vector<int32_t> words_of(const Tap& tap, const Tensor& tensor, const std::string& path) {
  const auto [t, c, h, w] = tap.shape;
  const int64_t row = tap.words_per_position();
  std::vector<int64_t> packed{t, h, w, row};
  if (tap.levels > 1) packed.insert(packed.begin(), tap.levels);
  if (tensor.type == Type::kInt32 && tensor.shape == packed) {
    const auto* data = static_cast<const int32_t*>(tensor.data);
    return {data, data + tap.words()};
  }
  if (tensor.type == Type::kFloat && tensor.shape == std::vector<int64_t>{t, c, h, w})
    return pack_spikes(tap, static_cast<const float*>(tensor.data));
  throw std::runtime_error(path + ": layer '" + tap.layer +
                           "' has other spikes than the manifest describes; export the bundle again");
}

}  // namespace

const std::vector<Variant>& variants() {
  static const std::vector<Variant> all{
      {"onnxruntime packed", "onnxruntime", "packed", "svf_ort"},
      {"onnxruntime packed, no library", "onnxruntime", "packed", nullptr},
      {"onnxruntime portable", "onnxruntime", "portable", nullptr},
      {"executorch packed", "executorch", "packed", "svf_executorch"},
      {"executorch portable", "executorch", "portable", nullptr},
  };
  return all;
}

const Variant& find_variant(const std::string& name) {
  std::string known;
  for (const Variant& variant : variants()) {
    if (variant.name == name) return variant;
    known += std::string(known.empty() ? "'" : "; '") + variant.name + "'";
  }
  throw Failure(Exit::kUsage, "no runtime is called '" + name + "'; known runtimes: " + known);
}

std::vector<std::string> backends() {
  std::vector<std::string> names;
  if (SVF_RUNNER_EXECUTORCH) names.emplace_back("executorch");
  if (SVF_RUNNER_ORT) names.emplace_back("onnxruntime");
  return names;
}

Harness::Harness(const Bundle& bundle, const Variant& variant)
    : bundle_(bundle), variant_(variant), artefact_(bundle.artefact(variant.runtime, variant.dialect)) {
  if (artefact_ == nullptr)
    throw Absent{std::string("the bundle has no ") + variant.dialect + " graph for " + variant.runtime,
                 false};
  if (variant.operators != nullptr) operators_ = load_operators();
  if (variant.runtime == std::string("executorch"))
    load_executorch();
  else
    load_onnxruntime();
  if (variant.operators != nullptr) kernels_ = kernel_set();
}

// Loads our core by its path, so that the operator library finds this one, and returns that library's path.
std::string Harness::load_operators() {
  std::string path;
  for (const char* name : {kCore, variant_.operators}) {
    const auto found = bundle_.library(name, platform());
    if (!found)
      throw Absent{
          bundle_.folder().path() + ": holds the operator library '" + name + "' for " +
              bundle_.platforms(name) + ", not for " + platform() +
              "; export the bundle with --native and a folder built for it, or use a portable runtime",
          true};
    path = *found;
    if (name == kCore) load(name, nullptr);
  }
  return path;
}

// Loads the bundle's file, or else `file` from where the loader looks, which is beside this program first.
void* Harness::load(const char* name, const char* file) const {
  const auto bundled = bundle_.library(name, platform());
  if (!bundled && file == nullptr) return nullptr;
  void* library = dlopen((bundled ? *bundled : std::string(file)).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    throw Absent{std::string("'") + name + "' cannot be loaded (" + dlerror() +
                     "); export the bundle with --native, so that it carries the runtimes for " + platform(),
                 bundled.has_value()};
  return library;
}

void Harness::load_executorch() {
  if (!SVF_RUNNER_EXECUTORCH) throw Absent{"this svf-run was built without ExecuTorch", false};
  const std::string beside = folder_of_this_program() + "libsvf_run_executorch.so";
  void* backend = load("svf_run_executorch", beside.c_str());
  load("executorch_kernels_optimized", "libexecutorch_kernels_optimized.so");
  if (variant_.dialect == std::string("portable"))
    load("executorch_backend_xnnpack", "libexecutorch_backend_xnnpack.so");
  if (operators_) load(variant_.operators, nullptr);
  open_executorch_ = reinterpret_cast<OpenSession>(dlsym(backend, "svf_run_open"));
  const auto* version = static_cast<const char*>(dlsym(backend, "svf_run_version"));
  if (open_executorch_ == nullptr || version == nullptr)
    throw Absent{"libsvf_run_executorch.so belongs to another svf-run; copy or export the bundle again",
                 true};
  version_ = version;
}

void Harness::load_onnxruntime() {
  if (!SVF_RUNNER_ORT) throw Absent{"this svf-run was built without ONNX Runtime", false};
#if SVF_RUNNER_ORT
  std::string problem;
  if (const auto bundled = bundle_.library("onnxruntime", platform())) {
    problem = onnxruntime_.load(*bundled);
  } else {
    for (const char* file : kOnnxRuntimeFiles)
      if ((problem = onnxruntime_.load(file)).empty()) break;
  }
  if (!problem.empty())
    throw Absent{"'onnxruntime' cannot be loaded (" + problem +
                     "); export the bundle with --native, so that it carries the runtimes for " + platform(),
                 false};
  version_ = onnxruntime_.version();
#endif
}

std::unique_ptr<LoadedGraph> Harness::open(int threads, bool taps, const std::string& profile) {
  if (taps && !artefact_->tapped)
    throw Failure(Exit::kBadBundle,
                  bundle_.folder().path(artefact_->path) +
                      ": the bundle has no twin of it that also returns spikes; export it with this release");
  const std::string& name = taps ? *artefact_->tapped : artefact_->path;
  auto graph = std::make_unique<LoadedGraph>(bundle_, bundle_.folder().path(name), bundle_.read(name), taps);
  const Manifest& manifest = bundle_.manifest();
  const auto [t, c, h, w] = manifest.frames;
  Signature signature{manifest.input, {t, c, h, w}, {}, {}};
  for (const OutputSpec& output : manifest.outputs) signature.results.push_back(output.name);
  if (manifest.form == "stream") {
    graph->state_.emplace(manifest.state, variant_.dialect == std::string("packed"));
    signature.frames[0] = 1;
    signature.state = graph->state_->inputs();
    for (std::string& name : graph->state_->given()) signature.results.push_back(std::move(name));
  }
  if (taps)
    for (const Tap& tap : manifest.taps) signature.results.push_back(tap.layer);
  std::string error;
  const uint8_t* data = graph->graph_.data();
  const size_t size = graph->graph_.size();
  if (open_executorch_ != nullptr)
    graph->session_.reset(open_executorch_(data, size, signature, threads, profile, error));
#if SVF_RUNNER_ORT
  else
    graph->session_.reset(onnxruntime_.open(data, size, signature, threads, operators_, profile, error));
#endif
  if (!graph->session_) bad_bundle(graph->path_ + ": " + error);
  return graph;
}

uint64_t Harness::graph_bytes() const { return bundle_.manifest().files.at(artefact_->path).size; }

nlohmann::json Harness::versions() const {
  nlohmann::json found{{variant_.runtime, version_}};
  if (!kernels_.empty()) found["kernels"] = kernels_;
  return found;
}

RunResult LoadedGraph::run(const std::vector<uint8_t>& frames) {
  const Manifest& manifest = bundle_.manifest();
  const int64_t steps = manifest.frames.t;
  if (!state_) return call(frames.data(), steps);
  state_->reset();
  joined_.assign(manifest.outputs.size(), {});
  RunResult whole;
  for (const Tap& tap : manifest.taps)
    if (taps_) whole.words.emplace_back(static_cast<size_t>(tap.words()));
  for (int64_t t = 0; t < steps; ++t) {
    const RunResult step = call(frames.data() + t * (manifest.frames.size() / steps), 1);
    for (size_t i = 0; i < joined_.size(); ++i)
      joined_[i].insert(joined_[i].end(), step.outputs[i],
                        step.outputs[i] + manifest.outputs[i].shape.size() / steps);
    for (size_t i = 0; i < whole.words.size(); ++i) {
      const int64_t levels = manifest.taps[i].levels, row = manifest.taps[i].words() / (levels * steps);
      for (int64_t level = 0; level < levels; ++level)
        std::copy_n(&step.words[i][static_cast<size_t>(level * row)], row,
                    &whole.words[i][static_cast<size_t>((level * steps + t) * row)]);
    }
  }
  for (const std::vector<int32_t>& output : joined_) whole.outputs.push_back(output.data());
  return whole;
}

RunResult LoadedGraph::call(const uint8_t* frames, int64_t steps) {
  std::vector<Tensor> tensors;
  const std::string error =
      session_->run(frames, state_ ? state_->taken() : std::vector<const int32_t*>{}, tensors);
  if (!error.empty()) throw std::runtime_error(path_ + ": " + error);
  const Manifest& manifest = bundle_.manifest();
  const size_t outputs = manifest.outputs.size(), taps = outputs + manifest.state.size();
  if (tensors.size() != taps + (taps_ ? manifest.taps.size() : 0))
    throw std::runtime_error(path_ + ": returns " + std::to_string(tensors.size()) +
                             " tensors, not those of the manifest; export the bundle again");
  RunResult result;
  for (size_t i = 0; i < outputs; ++i) {
    if (tensors[i].type != Type::kInt32 || tensors[i].shape != shape_of(manifest.outputs[i].shape, steps))
      throw std::runtime_error(path_ + ": output '" + manifest.outputs[i].name +
                               "' is not what the manifest describes; export the bundle again");
    result.outputs.push_back(static_cast<const int32_t*>(tensors[i].data));
  }
  if (state_ && !state_->advance(&tensors[outputs]))
    throw std::runtime_error(path_ +
                             ": its state is not what the manifest describes; export the bundle again");
  for (size_t i = taps; i < tensors.size(); ++i) {
    Tap tap = manifest.taps[i - taps];
    tap.shape.t = steps;
    result.words.push_back(words_of(tap, tensors[i], path_));
  }
  return result;
}

std::vector<Operation> LoadedGraph::end_profile() {
  std::vector<Operation> operations;
  const std::string error = session_->end_profile(operations);
  if (!error.empty()) throw std::runtime_error(path_ + ": " + error);
  return operations;
}

}  // namespace svf
