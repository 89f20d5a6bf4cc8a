// Frames from channels-first to channels-last.
#ifndef SVF_LAYOUT_H
#define SVF_LAYOUT_H

#include "simd_common.h"

namespace svf {
namespace {

// The usual case, which the compiler turns into shuffles.
void interleave3(const uint8_t* __restrict a, const uint8_t* __restrict b, const uint8_t* __restrict c,
                 size_t count, uint8_t* __restrict y) {
  for (size_t i = 0; i < count; ++i) {
    y[3 * i] = a[i];
    y[3 * i + 1] = b[i];
    y[3 * i + 2] = c[i];
  }
}

bool channels_last(const LayoutArgs& a, const svf_parallel* parallel) {
  constexpr size_t kBlock = 4096;  // positions of a task
  const size_t blocks = (a.positions + kBlock - 1) / kBlock;
  return for_each(parallel, a.frames * blocks, [&](size_t task) {
    const size_t frame = task / blocks, begin = task % blocks * kBlock;
    const size_t count = min_of(a.positions - begin, kBlock);
    const uint8_t* x = a.x + frame * a.channels * a.positions + begin;
    uint8_t* y = a.y + (frame * a.positions + begin) * a.channels;
    if (a.channels == 3) {
      interleave3(x, x + a.positions, x + 2 * a.positions, count, y);
      return true;
    }
    for (size_t i = 0; i < count; ++i)
      for (size_t c = 0; c < a.channels; ++c) y[i * a.channels + c] = x[c * a.positions + i];
    return true;
  });
}

}  // namespace
}  // namespace svf
#endif
