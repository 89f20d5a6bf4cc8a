// Integer LIF and packing in one pass: the membranes of 32 channels stay in registers over all time steps.
#ifndef SVF_LIF_H
#define SVF_LIF_H

#include "simd_common.h"

namespace svf {
namespace {

// Words of the output: from one time step to the next, and from one thermometer plane to the next.
struct WordSteps {
  size_t time, plane;
  int levels;
};

// One word of every plane: x points at its first channel at t = 0. kLevels 0: as many as steps.levels says.
template <bool kSoftReset, int kLevels>
void lif_word(const int32_t* x, size_t x_step, const int32_t* gain, const int32_t* bias, const int32_t* theta,
              int32_t* y, const WordSteps& steps, int frames) {
  const int levels = kLevels > 0 ? kLevels : steps.levels;
  const size_t y_step = steps.time, plane = steps.plane;  // kept out of reach of what y writes
  Simd::I32 u[kWordVectors];
  for (int v = 0; v < kWordVectors; ++v) u[v] = Simd::zero32();
  for (int t = 0; t < frames; ++t, x += x_step, y += y_step) {
    uint32_t words[kLevels > 0 ? kLevels : SVF_MAX_LEVELS] = {};
    for (int v = 0; v < kWordVectors; ++v) {
      const int lane = v * Simd::kLanes32;
      const Simd::I32 input = Simd::add32(Simd::mul32(Simd::load32(gain + lane), Simd::load32(x + lane)),
                                          Simd::load32(bias + lane));
      const Simd::I32 h = Simd::half32(Simd::add32(u[v], input));
      const Simd::I32 threshold = Simd::load32(theta + lane);
      // S >= l where l - 1 thresholds taken from H leave another one: a product l * theta could overflow.
      Simd::I32 rest = h;
      for (int level = 0; level < levels; ++level) {
        words[level] |= Simd::ge_bits(rest, threshold) << lane;
        if (kSoftReset || level + 1 < levels) rest = Simd::subtract_where_ge(rest, threshold);
      }
      u[v] = kSoftReset ? rest : Simd::zero_where_ge(h, threshold);
    }
    for (int level = 0; level < levels; ++level)
      y[static_cast<size_t>(level) * plane] = static_cast<int32_t>(words[level]);
  }
}

template <bool kSoftReset>
auto lif_word_of(int levels) {
  return levels == 1   ? lif_word<kSoftReset, 1>
         : levels == 2 ? lif_word<kSoftReset, 2>
         : levels == 3 ? lif_word<kSoftReset, 3>
         : levels == 4 ? lif_word<kSoftReset, 4>
                       : lif_word<kSoftReset, 0>;
}

bool lif(const LifArgs& a, const svf_parallel* parallel) {
  const int full_words = a.channels / 32, tail = a.channels % 32;
  // Padding channels never reach their threshold, so their bits are zero.
  int32_t gain[32] = {}, bias[32] = {}, theta[32];
  for (int32_t& t : theta) t = INT32_MAX;
  const size_t tail_bytes = static_cast<size_t>(tail) * sizeof(int32_t);
  memcpy(gain, a.gain + full_words * 32, tail_bytes);
  memcpy(bias, a.bias + full_words * 32, tail_bytes);
  memcpy(theta, a.theta + full_words * 32, tail_bytes);
  const auto run = a.soft_reset ? lif_word_of<true>(a.levels) : lif_word_of<false>(a.levels);
  const size_t x_step = static_cast<size_t>(a.positions) * a.channels;
  const size_t y_step = static_cast<size_t>(a.positions) * a.words;
  const WordSteps steps{y_step, static_cast<size_t>(a.frames) * y_step, a.levels};
  constexpr int kTile = 64;  // positions a task
  const size_t tiles = (static_cast<size_t>(a.positions) + kTile - 1) / kTile;
  return for_each(parallel, tiles, [&](size_t tile) {
    Scratch<int32_t> padded(tail ? static_cast<size_t>(a.frames) * 32 : 0);
    if (!padded.ok()) return false;
    if (tail) memset(padded.get(), 0, static_cast<size_t>(a.frames) * 32 * sizeof(int32_t));
    const size_t end = min_of(static_cast<size_t>(a.positions), (tile + 1) * kTile);
    for (size_t p = tile * kTile; p < end; ++p) {
      const int32_t* x = a.x + p * a.channels;
      int32_t* y = a.y + p * a.words;
      for (int w = 0; w < full_words; ++w)
        run(x + w * 32, x_step, a.gain + w * 32, a.bias + w * 32, a.theta + w * 32, y + w, steps, a.frames);
      if (!tail) continue;
      for (int t = 0; t < a.frames; ++t)
        memcpy(&padded[static_cast<size_t>(t) * 32], x + t * x_step + full_words * 32, tail_bytes);
      run(padded.get(), 32, gain, bias, theta, y + full_words, steps, a.frames);
    }
    return true;
  });
}

}  // namespace
}  // namespace svf
#endif
