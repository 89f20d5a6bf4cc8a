#include "stream.h"

#include <algorithm>

namespace svf {
namespace {

constexpr char kTaken[] = "state:", kGiven[] = "next:";

// Wraps where a graph that was not made from a program gives more than its range proof allows.
void add(std::vector<int32_t>& sum, const int32_t* values, int32_t sign) {
  for (size_t k = 0; k < sum.size(); ++k)
    sum[k] = static_cast<int32_t>(static_cast<uint32_t>(sum[k]) +
                                  static_cast<uint32_t>(sign) * static_cast<uint32_t>(values[k]));
}

}  // namespace

StreamState::StreamState(const std::vector<StateTensor>& tensors, bool channels_last) {
  for (const StateTensor& tensor : tensors) {
    const auto [first, second, third] = tensor.shape;
    const bool moved = channels_last && tensor.window == 0;
    inputs_.push_back({kTaken + tensor.layer, moved ? std::vector<int64_t>{second, third, first}
                                                    : std::vector<int64_t>{first, second, third}});
    memories_.push_back(
        {tensor.window, std::vector<int32_t>(static_cast<size_t>(first * second * third)), {}});
  }
}

std::vector<std::string> StreamState::given() const {
  std::vector<std::string> names;
  for (const StateInput& input : inputs_) names.push_back(kGiven + input.name.substr(sizeof kTaken - 1));
  return names;
}

void StreamState::reset() {
  for (Memory& memory : memories_) {
    std::fill(memory.taken.begin(), memory.taken.end(), 0);
    memory.summaries.clear();
  }
}

std::vector<const int32_t*> StreamState::taken() const {
  std::vector<const int32_t*> tensors;
  for (const Memory& memory : memories_) tensors.push_back(memory.taken.data());
  return tensors;
}

bool StreamState::advance(const Tensor* given) {
  for (size_t i = 0; i < memories_.size(); ++i) {
    Memory& memory = memories_[i];
    if (given[i].type != Type::kInt32 || given[i].shape != inputs_[i].shape) return false;
    const auto* values = static_cast<const int32_t*>(given[i].data);
    const size_t size = memory.taken.size();
    if (memory.window == 0) {
      std::copy(values, values + size, memory.taken.begin());
      continue;
    }
    // The sum of the last window - 1 summaries, the present frame's included.
    memory.summaries.emplace_back(values, values + size);
    add(memory.taken, values, 1);
    if (static_cast<int64_t>(memory.summaries.size()) < memory.window) continue;
    add(memory.taken, memory.summaries.front().data(), -1);
    memory.summaries.pop_front();
  }
  return true;
}

}  // namespace svf
