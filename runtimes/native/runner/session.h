// A loaded graph, whatever runtime runs it. Implementations may live in a library of their own, so nothing is
// thrown across this interface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace svf {

enum class Type { kOther, kInt32, kFloat };

// A result; `data` stays valid until the next run.
struct Tensor {
  Type type;
  std::vector<int64_t> shape;
  const void* data;
};

// A tensor of a stream's state, int32, as a graph takes it.
struct StateInput {
  std::string name;
  std::vector<int64_t> shape;
};

// What a graph must look like.
struct Signature {
  std::string input;
  int64_t frames[4];                 // uint8 [T, C, H, W]
  std::vector<StateInput> state;     // inputs behind the frames
  std::vector<std::string> results;  // outputs, then what takes the place of the state, then taps
};

// What one operator of a graph took in every run, by the runtime's own profiler.
struct Operation {
  int64_t index;     // its place among the graph's operators
  bool part;         // it is a part of the operator at `index`, which a delegate runs
  std::string kind;  // what the runtime calls it
  std::string node;  // its name in the graph; empty where the runtime keeps none
  std::vector<double> milliseconds;
};

class Session {
 public:
  virtual ~Session() = default;
  // Runs `frames` with the tensors of `state` and fills `results`, both in the order of the signature.
  // Returns what went wrong, or nothing.
  virtual std::string run(const uint8_t* frames, const std::vector<const int32_t*>& state,
                          std::vector<Tensor>& results) noexcept = 0;
  // Ends the profile of a session that was opened with one, and gives the operators in the order they run in.
  // Returns what went wrong, or nothing.
  virtual std::string end_profile(std::vector<Operation>& operations) noexcept = 0;
};

// Loads a graph that stays in memory as long as the session. With `profile`, a path without its ending, the
// runtime writes its own profile there. Returns null and says in `error` why.
using OpenSession = Session* (*)(const uint8_t* graph, size_t size, const Signature& signature, int threads,
                                 const std::string& profile, std::string& error) noexcept;

}  // namespace svf
