// Frames from channels-first to channels-last. No kernel set has a faster one: stores bound it.
#include "svf_core.h"

namespace {

constexpr int64_t kBlock = 4096;  // positions of a task

struct Layout {
  int64_t channels, positions, blocks;
  const uint8_t* x;
  uint8_t* y;
};

// `kChannels`: the number of channels, or 0 where it is known at run time only.
template <int kChannels>
void move_block(const Layout& l, size_t task) {
  const int64_t channels = kChannels ? kChannels : l.channels;
  const int64_t frame = static_cast<int64_t>(task) / l.blocks;
  const int64_t begin = static_cast<int64_t>(task) % l.blocks * kBlock;
  const int64_t count = l.positions - begin < kBlock ? l.positions - begin : kBlock;
  const uint8_t* x = l.x + frame * channels * l.positions + begin;
  uint8_t* y = l.y + (frame * l.positions + begin) * channels;
  for (int64_t i = 0; i < count; ++i)
    for (int64_t c = 0; c < channels; ++c) y[i * channels + c] = x[c * l.positions + i];
}

}  // namespace

extern "C" svf_status svf_channels_last(int64_t frames, int64_t channels, int64_t positions, const uint8_t* x,
                                        uint8_t* y, const svf_parallel* parallel) {
  Layout layout{channels, positions, (positions + kBlock - 1) / kBlock, x, y};
  const auto task = [](void* arg, size_t i) {
    const Layout& l = *static_cast<const Layout*>(arg);
    l.channels == 3 ? move_block<3>(l, i) : move_block<0>(l, i);
  };
  const size_t tasks = static_cast<size_t>(frames * layout.blocks);
  if (parallel != nullptr && parallel->for_each != nullptr)
    parallel->for_each(parallel->context, task, &layout, tasks);
  else
    for (size_t i = 0; i < tasks; ++i) task(&layout, i);
  return SVF_OK;
}
