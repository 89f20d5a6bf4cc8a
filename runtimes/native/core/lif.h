// Integer LIF and packing in one pass: the membranes of 32 channels stay in registers over all time steps.
#ifndef SVF_LIF_H
#define SVF_LIF_H

#include "simd_common.h"

namespace svf {
namespace {

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
template <bool kSoftReset, int kLevels, int kInRegisters>
Simd::I32 fire(Simd::I32 h, const Thresholds<kInRegisters>& thresholds, int some_levels, int v,
               Simd::Mask (&reached)[most_levels(kLevels)][kWordVectors]) {
  const int levels = kLevels > 0 ? kLevels : some_levels;
  for (int level = 0; level < levels; ++level) reached[level][v] = Simd::ge32(h, thresholds.at(level, v));
  if (!kSoftReset) return Simd::zero_where(reached[0][v], h);
  for (int level = 0; level < levels; ++level)
    h = Simd::subtract_where(reached[level][v], h, thresholds.at(0, v));
  return h;
}

// A word's gains, biases and thresholds, one after the other.
constexpr size_t kLifGain = 0, kLifBias = kWordChannels, kLifThresholds = 2 * kWordChannels;

// Words whose membranes are in registers at one time, side by side in memory: each waits for its own former
// time step, and reading goes through memory in order.
constexpr int kLifWords = Simd::kLanes32 >= 8 ? Simd::kLanes32 / 4 : 1;

struct LifSteps {
  size_t x_time, y_time, y_plane;  // from one time step or plane to the next
  size_t numbers;                  // from one word's numbers to the next's
  int frames, levels;
};

// One word of every plane for kWords neighbours: x points at the first channel at t = 0. kLevels 0: as many
// as steps.levels says. Membranes start at those of `before` and are left in `after`, unless null.
template <bool kSoftReset, int kLevels, bool kUnitGain, int kWords>
void lif_words(const int32_t* x, const int32_t* numbers, const LifSteps& from, int32_t* y,
               const int32_t* before, int32_t* after) {
  const LifSteps steps = from;  // kept out of reach of what y writes
  const int levels = kLevels > 0 ? kLevels : steps.levels;
  Simd::I32 u[kWords][kWordVectors];
  for (int i = 0; i < kWords; ++i)
    for (int v = 0; v < kWordVectors; ++v)
      u[i][v] =
          before == nullptr ? Simd::zero32() : Simd::load32(before + i * kWordChannels + v * Simd::kLanes32);
  // A single word's thresholds stay in registers.
  const Thresholds<kWords == 1 ? kLevels : 0> first(numbers + kLifThresholds);
  for (int t = 0; t < steps.frames; ++t, x += steps.x_time, y += steps.y_time)
    for (int i = 0; i < kWords; ++i) {
      const int32_t* own = numbers + i * steps.numbers;
      const auto thresholds = kWords == 1 ? first : decltype(first)(own + kLifThresholds);
      Simd::Mask reached[most_levels(kLevels)][kWordVectors];
      for (int v = 0; v < kWordVectors; ++v) {
        const int lane = v * Simd::kLanes32;
        Simd::I32 input = Simd::load32(x + i * kWordChannels + lane);
        if (!kUnitGain) input = Simd::mul32(Simd::load32(own + kLifGain + lane), input);
        input = Simd::add32(input, Simd::load32(own + kLifBias + lane));
        const Simd::I32 h = Simd::half32(Simd::add32(u[i][v], input));
        u[i][v] = fire<kSoftReset, kLevels>(h, thresholds, levels, v, reached);
      }
      for (int level = 0; level < levels; ++level)
        y[static_cast<size_t>(level) * steps.y_plane + i] =
            static_cast<int32_t>(Simd::word_of(reached[level]));
    }
  if (after == nullptr) return;
  for (int i = 0; i < kWords; ++i)
    for (int v = 0; v < kWordVectors; ++v)
      Simd::store32(after + i * kWordChannels + v * Simd::kLanes32, u[i][v]);
}

template <bool kSoftReset, bool kUnitGain, int kWords>
auto lif_words_of(int levels) {
  return levels == 1   ? lif_words<kSoftReset, 1, kUnitGain, kWords>
         : levels == 2 ? lif_words<kSoftReset, 2, kUnitGain, kWords>
         : levels == 3 ? lif_words<kSoftReset, 3, kUnitGain, kWords>
         : levels == 4 ? lif_words<kSoftReset, 4, kUnitGain, kWords>
                       : lif_words<kSoftReset, 0, kUnitGain, kWords>;
}

template <int kWords>
auto lif_words_of(const LifArgs& a, bool unit_gain) {
  if (a.soft_reset)
    return unit_gain ? lif_words_of<true, true, kWords>(a.levels)
                     : lif_words_of<true, false, kWords>(a.levels);
  return unit_gain ? lif_words_of<false, true, kWords>(a.levels)
                   : lif_words_of<false, false, kWords>(a.levels);
}

// The numbers of every word, and once more those of the first ones, so that any kLifWords neighbours of
// neighbouring positions lie side by side: [words + kLifWords - 1, step].
class LifNumbers {
 public:
  explicit LifNumbers(const LifArgs& a)
      : step(kLifThresholds + static_cast<size_t>(a.levels) * kWordChannels),
        numbers_((a.words + kLifWords - 1) * step) {
    if (!ok()) return;
    memset(numbers_.get(), 0, (a.words + kLifWords - 1) * step * sizeof(int32_t));
    for (int i = 0; i < a.words + kLifWords - 1; ++i) {
      const int word = i % a.words, first = word * kWordChannels;
      const int count = min_of(kWordChannels, a.channels - first);
      int32_t* out = numbers_.get() + i * step;
      memcpy(out + kLifGain, a.gain + first, count * sizeof(int32_t));
      memcpy(out + kLifBias, a.bias + first, count * sizeof(int32_t));
      list_thresholds(a.theta + first, count, a.levels, out + kLifThresholds);
    }
  }
  bool ok() const { return numbers_.ok(); }
  const int32_t* of(size_t word) const { return numbers_.get() + word * step; }

  const size_t step;

 private:
  Scratch<int32_t> numbers_;
};

bool lif(const LifArgs& a, const svf_parallel* parallel) {
  const LifNumbers numbers(a);
  if (!numbers.ok()) return false;
  bool unit_gain = true;
  for (int c = 0; c < a.channels; ++c) unit_gain = unit_gain && a.gain[c] == 1;
  const auto several = lif_words_of<kLifWords>(a, unit_gain);
  const auto one = lif_words_of<1>(a, unit_gain);
  const size_t channels = static_cast<size_t>(a.channels), words = static_cast<size_t>(a.words);
  const size_t positions = static_cast<size_t>(a.positions), tail = channels % kWordChannels;
  const size_t y_time = positions * words;
  const LifSteps steps{positions * channels, y_time, a.frames * y_time, numbers.step, a.frames, a.levels};
  constexpr size_t kTile = 512;  // words a task
  const size_t tile_positions = max_of<size_t>(1, kTile / words);
  return for_each(parallel, (positions + tile_positions - 1) / tile_positions, [&](size_t tile) {
    const size_t begin = tile * tile_positions, end = min_of(positions, begin + tile_positions);
    const auto run = [&](auto words_at, size_t at, size_t word, size_t channel) {
      words_at(a.x + channel, numbers.of(word), steps, a.y + at,
               a.before == nullptr ? nullptr : a.before + channel,
               a.after == nullptr ? nullptr : a.after + channel);
    };
    if (tail == 0) {
      for (size_t i = begin * words; i < end * words;) {
        const bool many = end * words - i >= kLifWords;
        run(many ? several : one, i, i % words, i * kWordChannels);
        i += many ? kLifWords : 1;
      }
      return true;
    }
    // A last word that is not full is copied into one that is.
    Scratch<int32_t> padded(static_cast<size_t>(a.frames) * kWordChannels);
    if (!padded.ok()) return false;
    memset(padded.get(), 0, static_cast<size_t>(a.frames) * kWordChannels * sizeof(int32_t));
    const size_t last = words - 1, tail_bytes = tail * sizeof(int32_t);
    LifSteps alone = steps;
    alone.x_time = kWordChannels;
    for (size_t p = begin; p < end; ++p) {
      for (size_t word = 0; word < last; ++word)
        run(one, p * words + word, word, p * channels + word * kWordChannels);
      const size_t channel = p * channels + last * kWordChannels;
      int32_t u[kWordChannels] = {};
      if (a.before != nullptr) memcpy(u, a.before + channel, tail_bytes);
      for (int t = 0; t < a.frames; ++t)
        memcpy(&padded[static_cast<size_t>(t) * kWordChannels], a.x + t * steps.x_time + channel, tail_bytes);
      one(padded.get(), numbers.of(last), alone, a.y + p * words + last, u, u);
      if (a.after != nullptr) memcpy(a.after + channel, u, tail_bytes);
    }
    return true;
  });
}

}  // namespace
}  // namespace svf
#endif
