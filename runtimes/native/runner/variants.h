// Runtime variants: a runtime together with the dialect of graph it is given, under the names of the Python
// harness.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bundle.h"
#include "failure.h"
#include "onnxruntime_backend.h"
#include "session.h"
#include "stream.h"

namespace svf {

struct Variant {
  const char* name;
  const char* runtime;
  const char* dialect;
  const char* operators;  // our library that it needs, or null
};

// All variants, in the order of the Python harness.
const std::vector<Variant>& variants();
// The variant called `name`. Failure (usage) with the known names.
const Variant& find_variant(const std::string& name);
// Runtimes this program was built for.
std::vector<std::string> backends();

// Results of one run in the manifest's order, checked for type and shape.
struct RunResult {
  std::vector<const int32_t*> outputs;
  std::vector<std::vector<int32_t>> words;  // packed spikes of every tap, when tapped
};

class LoadedGraph;

// The libraries of one variant, loaded into this process. They stay until it ends.
class Harness {
 public:
  // Throws Absent.
  Harness(const Bundle& bundle, const Variant& variant);
  // With `profile`, a path without its ending, the runtime writes its own profile there. Throws Failure (bad
  // bundle) for a graph that the runtime does not take.
  std::unique_ptr<LoadedGraph> open(int threads, bool taps, const std::string& profile = "");
  uint64_t graph_bytes() const;
  // Versions and the kernel set that belong beside a result.
  nlohmann::json versions() const;

 private:
  void load_executorch();
  void load_onnxruntime();
  void* load(const char* name, const char* file) const;
  std::string load_operators();

  const Bundle& bundle_;
  const Variant& variant_;
  const Artefact* artefact_;
  std::optional<std::string> operators_;
  std::string version_, kernels_;
  OpenSession open_executorch_ = nullptr;
  OnnxRuntime onnxruntime_;
};

class LoadedGraph {
 public:
  LoadedGraph(const Bundle& bundle, std::string path, Bytes graph, bool taps)
      : bundle_(bundle), path_(std::move(path)), graph_(std::move(graph)), taps_(taps) {}
  // Runs uint8 frames [T, C, H, W], as a stream of their own where the graph is a step of one. The result's
  // outputs stay valid until the next run. Throws std::runtime_error naming the graph.
  RunResult run(const std::vector<uint8_t>& frames);
  // Ends the profile it was opened with: operators in running order. Throws std::runtime_error.
  std::vector<Operation> end_profile();

 private:
  friend class Harness;
  RunResult call(const uint8_t* frames, int64_t steps);
  const Bundle& bundle_;
  std::string path_;
  Bytes graph_;
  bool taps_;
  std::optional<StreamState> state_;
  std::unique_ptr<Session> session_;
  std::vector<std::vector<int32_t>> joined_;  // outputs of a stream's steps
};

}  // namespace svf
