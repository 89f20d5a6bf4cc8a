// The state of one stream: what a step takes, and what is made of what it gives (docs/contract.md,
// "Streams").
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "manifest.h"
#include "session.h"

namespace svf {

class StreamState {
 public:
  // With `channels_last` membranes are [H, W, C] in the graph.
  StreamState(const std::vector<StateTensor>& tensors, bool channels_last);

  std::vector<StateInput> inputs() const { return inputs_; }
  // Names of what a step gives for each tensor.
  std::vector<std::string> given() const;
  // A stream's begin.
  void reset();
  // What the next step takes.
  std::vector<const int32_t*> taken() const;
  // Goes on to what a step gave. Whether that has the right type and shape.
  bool advance(const Tensor* given);

 private:
  struct Memory {
    int64_t window;  // 0: a membrane
    std::vector<int32_t> taken;
    std::deque<std::vector<int32_t>> summaries;
  };
  std::vector<StateInput> inputs_;
  std::vector<Memory> memories_;
};

}  // namespace svf
