// Integer LIF and packing in one pass: the membranes of 32 channels stay in registers over all time steps.
#ifndef SVF_LIF_H
#define SVF_LIF_H

#include "simd_common.h"

namespace svf {
namespace {

// Words of the output from one time step to the next, and from one thermometer plane to the next; channels
// and words of a position.
struct WordSteps {
  size_t time, plane, channels, words;
  int levels;
};

// l * theta for l = 1..levels, [levels, 32]; beyond `count` channels one that no membrane reaches, so that
// their bits are zero. Nor does any reach INT32_MAX, being half of an int32: it stands for what is larger.
void list_thresholds(const int32_t* theta, int count, int levels, int32_t* out) {
  for (int level = 1; level <= levels; ++level)
    for (int c = 0; c < kWordChannels; ++c)
      *out++ =
          c < count ? static_cast<int32_t>(min_of(int64_t{level} * theta[c], int64_t{INT32_MAX})) : INT32_MAX;
}

// The thresholds of one word in registers, or in memory where the number of levels is not known (kLevels 0).
template <int kLevels>
class Thresholds {
 public:
  explicit Thresholds(const int32_t* thresholds) : memory_(thresholds) {
    if constexpr (kLevels > 0)
      for (int i = 0; i < kLevels * kWordVectors; ++i)
        registers_[i] = Simd::load32(thresholds + i * Simd::kLanes32);
  }
  Simd::I32 at(int level, int v) const {
    const int i = level * kWordVectors + v;
    if constexpr (kLevels > 0)
      return registers_[i];
    else
      return Simd::load32(memory_ + i * Simd::kLanes32);
  }

 private:
  const int32_t* memory_;
  Simd::I32 registers_[kLevels > 0 ? kLevels * kWordVectors : 1];
};

constexpr int most_levels(int known) { return known > 0 ? known : SVF_MAX_LEVELS; }

// Which levels the membranes h reach, and what is left of them.
template <bool kSoftReset, int kLevels>
Simd::I32 fire(Simd::I32 h, const Thresholds<kLevels>& thresholds, int levels, int v,
               Simd::Mask (&reached)[most_levels(kLevels)][kWordVectors]) {
  for (int level = 0; level < levels; ++level) reached[level][v] = Simd::ge32(h, thresholds.at(level, v));
  if (!kSoftReset) return Simd::zero_where(reached[0][v], h);
  for (int level = 0; level < levels; ++level)
    h = Simd::subtract_where(reached[level][v], h, thresholds.at(0, v));
  return h;
}

// Positions whose membranes are in registers at one time: each waits for its own former time step.
constexpr int kLifPositions = Simd::kLanes32 >= 8 ? Simd::kLanes32 / 4 : 1;

// One word of every plane for kPositions neighbours: x points at its first channel at t = 0. kLevels 0: as
// many as steps.levels says. Membranes start at those of `before` and are left in `after`, unless null.
template <bool kSoftReset, int kLevels, bool kUnitGain, int kPositions>
void lif_words(const int32_t* x, size_t x_step, const int32_t* gain, const int32_t* bias,
               const int32_t* thresholds, int32_t* y, const WordSteps& steps, int frames,
               const int32_t* before, int32_t* after) {
  const int levels = kLevels > 0 ? kLevels : steps.levels;
  const size_t y_step = steps.time, plane = steps.plane;  // kept out of reach of what y writes
  const size_t channels = steps.channels, words = steps.words;
  const Thresholds<kLevels> reach(thresholds);
  Simd::I32 u[kPositions][kWordVectors];
  for (int i = 0; i < kPositions; ++i)
    for (int v = 0; v < kWordVectors; ++v)
      u[i][v] = before == nullptr ? Simd::zero32() : Simd::load32(before + i * channels + v * Simd::kLanes32);
  for (int t = 0; t < frames; ++t, x += x_step, y += y_step)
    for (int i = 0; i < kPositions; ++i) {
      Simd::Mask reached[most_levels(kLevels)][kWordVectors];
      for (int v = 0; v < kWordVectors; ++v) {
        const int lane = v * Simd::kLanes32;
        Simd::I32 input = Simd::load32(x + i * channels + lane);
        if (!kUnitGain) input = Simd::mul32(Simd::load32(gain + lane), input);
        const Simd::I32 h = Simd::half32(Simd::add32(u[i][v], Simd::add32(input, Simd::load32(bias + lane))));
        u[i][v] = fire<kSoftReset, kLevels>(h, reach, levels, v, reached);
      }
      for (int level = 0; level < levels; ++level)
        y[static_cast<size_t>(level) * plane + i * words] =
            static_cast<int32_t>(Simd::word_of(reached[level]));
    }
  if (after == nullptr) return;
  for (int i = 0; i < kPositions; ++i)
    for (int v = 0; v < kWordVectors; ++v) Simd::store32(after + i * channels + v * Simd::kLanes32, u[i][v]);
}

template <bool kSoftReset, bool kUnitGain, int kPositions>
auto lif_words_of(int levels) {
  return levels == 1   ? lif_words<kSoftReset, 1, kUnitGain, kPositions>
         : levels == 2 ? lif_words<kSoftReset, 2, kUnitGain, kPositions>
         : levels == 3 ? lif_words<kSoftReset, 3, kUnitGain, kPositions>
         : levels == 4 ? lif_words<kSoftReset, 4, kUnitGain, kPositions>
                       : lif_words<kSoftReset, 0, kUnitGain, kPositions>;
}

template <int kPositions>
auto lif_words_of(const LifArgs& a, bool unit_gain) {
  if (a.soft_reset)
    return unit_gain ? lif_words_of<true, true, kPositions>(a.levels)
                     : lif_words_of<true, false, kPositions>(a.levels);
  return unit_gain ? lif_words_of<false, true, kPositions>(a.levels)
                   : lif_words_of<false, false, kPositions>(a.levels);
}

bool lif(const LifArgs& a, const svf_parallel* parallel) {
  const int full_words = a.channels / 32, tail = a.channels % 32;
  int32_t gain[32] = {}, bias[32] = {};
  const size_t tail_bytes = static_cast<size_t>(tail) * sizeof(int32_t);
  memcpy(gain, a.gain + full_words * 32, tail_bytes);
  memcpy(bias, a.bias + full_words * 32, tail_bytes);
  const size_t word_thresholds = static_cast<size_t>(a.levels) * kWordChannels;
  Scratch<int32_t> thresholds(a.words * word_thresholds);
  if (!thresholds.ok()) return false;
  for (int w = 0; w < a.words; ++w)
    list_thresholds(a.theta + w * 32, a.channels - w * 32, a.levels, &thresholds[w * word_thresholds]);
  bool unit_gain = true;
  for (int c = 0; c < a.channels; ++c) unit_gain = unit_gain && a.gain[c] == 1;
  const auto several = lif_words_of<kLifPositions>(a, unit_gain);
  const auto one = lif_words_of<1>(a, unit_gain);
  const size_t x_step = static_cast<size_t>(a.positions) * a.channels;
  const size_t y_step = static_cast<size_t>(a.positions) * a.words;
  const WordSteps steps{y_step, static_cast<size_t>(a.frames) * y_step, static_cast<size_t>(a.channels),
                        static_cast<size_t>(a.words), a.levels};
  constexpr int kTile = 64;  // positions a task
  const size_t tiles = (static_cast<size_t>(a.positions) + kTile - 1) / kTile;
  return for_each(parallel, tiles, [&](size_t tile) {
    Scratch<int32_t> padded(tail ? static_cast<size_t>(a.frames) * 32 : 0);
    if (!padded.ok()) return false;
    if (tail) memset(padded.get(), 0, static_cast<size_t>(a.frames) * 32 * sizeof(int32_t));
    const size_t end = min_of(static_cast<size_t>(a.positions), (tile + 1) * kTile);
    for (size_t p = tile * kTile; p < end;) {
      const bool many = !tail && end - p >= static_cast<size_t>(kLifPositions);
      const auto run = many ? several : one;
      const int32_t* x = a.x + p * a.channels;
      const int32_t* before = a.before == nullptr ? nullptr : a.before + p * a.channels;
      int32_t* after = a.after == nullptr ? nullptr : a.after + p * a.channels;
      int32_t* y = a.y + p * a.words;
      for (int w = 0; w < full_words; ++w)
        run(x + w * 32, x_step, a.gain + w * 32, a.bias + w * 32, thresholds.get() + w * word_thresholds,
            y + w, steps, a.frames, before == nullptr ? nullptr : before + w * 32,
            after == nullptr ? nullptr : after + w * 32);
      p += many ? kLifPositions : 1;
      if (!tail) continue;
      int32_t u[32] = {};
      if (before != nullptr) memcpy(u, before + full_words * 32, tail_bytes);
      for (int t = 0; t < a.frames; ++t)
        memcpy(&padded[static_cast<size_t>(t) * 32], x + t * x_step + full_words * 32, tail_bytes);
      run(padded.get(), 32, gain, bias, thresholds.get() + full_words * word_thresholds, y + full_words,
          steps, a.frames, u, u);
      if (after != nullptr) memcpy(after + full_words * 32, u, tail_bytes);
    }
    return true;
  });
}

}  // namespace
}  // namespace svf
#endif
