// `svf-run parity`: the same spikes and outputs as the golden vectors, on every runtime.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bundle.h"
#include "failure.h"
#include "variants.h"

namespace svf {

// What a command made of its runtimes: entries of its document, how to exit, and one sentence if that is no
// success.
struct Outcome {
  nlohmann::json entries = nlohmann::json::array();
  Exit exit = Exit::kOk;
  std::string sentence;
};

// Failure (bad bundle) when there is no golden clip to run.
void require_clip(const Bundle& bundle);

// Sums up how runtimes ended. A runtime that was asked for by name must have run.
class Verdicts {
 public:
  void good() { ran_ = true; }
  void bad(const Variant& variant, const std::string& what);
  void outputs(const Variant& variant, bool exact);
  // Takes a step with a runtime; what ends it becomes the `failure` or `reason` of its entry. Whether it went
  // well.
  bool attempt(const Variant& variant, bool required, nlohmann::json& entry,
               const std::function<void()>& step);
  void conclude(Outcome& outcome) const;

 private:
  void absent(const Variant& variant, const Absent& why, bool required);

  bool ran_ = false;
  std::string bad_, absent_, missing_;
};

// `spikes` is a folder for the words of layers that differ, or empty.
Outcome run_parity(const Bundle& bundle, const std::vector<const Variant*>& chosen, bool required,
                   int threads, const std::string& spikes);

}  // namespace svf
