// What follows the sums of a convolution, word by word (32 output channels): bias and shift, and then either
// the int32 or int8 output, or an addition, the integer LIF over time and packing.
#ifndef SVF_EPILOGUE_H
#define SVF_EPILOGUE_H

#include "lif.h"
#include "simd_common.h"

namespace svf {
namespace {

// The first `count` of kLanes32 values; the rest is zero, or is left as it was.
Simd::I32 load_lanes(const int32_t* from, int count) {
  if (count >= Simd::kLanes32) return Simd::load32(from);
  int32_t lanes[Simd::kLanes32] = {};
  if (count > 0) memcpy(lanes, from, static_cast<size_t>(count) * sizeof(int32_t));
  return Simd::load32(lanes);
}

void store_lanes(int32_t* to, Simd::I32 value, int count) {
  if (count >= Simd::kLanes32) return Simd::store32(to, value);
  int32_t lanes[Simd::kLanes32];
  Simd::store32(lanes, value);
  if (count > 0) memcpy(to, lanes, static_cast<size_t>(count) * sizeof(int32_t));
}

// Consecutive positions of one word at one time step.
struct Run {
  const int32_t* acc;  // sums: 32 channels a position
  size_t acc_step;     // from one position to the next, at least 32
  int32_t* u;          // membranes [count, 32], from the last time step to the next; null without a LIF
  int word;
  size_t pixel;  // of the first position: (t * out_h + oy) * out_w + ox
  int count;
};

class Epilogue {
 public:
  // y: null where lif takes the result; positions: of a time step.
  Epilogue(int channels, int frames, size_t positions, const int32_t* bias, const int32_t* shift, void* y,
           bool saturate, const svf_lif_stage* lif)
      : channels_(channels),
        words_((channels + kWordChannels - 1) / kWordChannels),
        frames_(static_cast<size_t>(frames)),
        positions_(positions),
        plane_(frames_ * positions * words_),
        y_(y),
        saturate_(saturate),
        right_only_(shifts_right_only(shift, channels)),
        unit_gain_(true),
        stage_(lif),
        word_numbers_(kThresholds + (lif == nullptr ? 0 : static_cast<size_t>(lif->levels) * kWordChannels)),
        numbers_(words_ * word_numbers_) {
    if (!ok()) return;
    memset(numbers_.get(), 0, words_ * word_numbers_ * sizeof(int32_t));
    for (int c = 0; c < channels; ++c) {
      int32_t* at = &numbers_[c / kWordChannels * word_numbers_ + c % kWordChannels];
      at[kBias] = bias[c];
      at[kShift] = shift[c];
      if (lif == nullptr) continue;
      at[kGain] = lif->gain[c];
      at[kLifBias] = lif->bias[c];
      unit_gain_ = unit_gain_ && lif->gain[c] == 1;
    }
    if (lif == nullptr) return;
    for (int w = 0; w < words_; ++w)
      list_thresholds(lif->theta + w * kWordChannels, left(w), lif->levels,
                      &numbers_[w * word_numbers_ + kThresholds]);

    run_ = lif->soft_reset != 0 ? spike_run<true>(lif->levels) : spike_run<false>(lif->levels);
  }
  bool ok() const { return numbers_.ok(); }
  bool has_lif() const { return stage_ != nullptr; }
  int words() const { return words_; }

  void finish(const Run& run) const { stage_ == nullptr ? store(run) : (this->*run_)(run); }

 private:
  // Offsets of a word's numbers.
  static constexpr int kBias = 0, kShift = 32, kGain = 64, kLifBias = 96, kThresholds = 128;
  typedef void (Epilogue::*RunOf)(const Run&) const;

  const int32_t* numbers(int word) const { return numbers_.get() + word * word_numbers_; }
  int left(int word) const { return channels_ - word * kWordChannels; }

  void store(const Run& run) const {
    const int32_t* numbers = this->numbers(run.word);
    const Affine affine{numbers + kBias, numbers + kShift, right_only_};
    const int32_t* acc = run.acc;
    size_t index = run.pixel * channels_ + static_cast<size_t>(run.word) * kWordChannels;
    for (int p = 0; p < run.count; ++p, acc += run.acc_step, index += channels_)
      for (int lane = 0; lane < min_of(kWordChannels, left(run.word)); lane += Simd::kLanes32) {
        const Simd::I32 value = rescale(Simd::load32(acc + lane), affine + lane);
        if (saturate_)
          store_s8(static_cast<int8_t*>(y_) + index + lane, value, left(run.word) - lane);
        else
          store_lanes(static_cast<int32_t*>(y_) + index + lane, value, left(run.word) - lane);
      }
  }

  static void store_s8(int8_t* to, Simd::I32 value, int count) {
    value = Simd::min32(Simd::max32(value, Simd::set32(-127)), Simd::set32(127));
    if (count >= Simd::kLanes32) return Simd::store_s8(to, value);
    int8_t lanes[Simd::kLanes32];
    Simd::store_s8(lanes, value);
    memcpy(to, lanes, static_cast<size_t>(count));
  }

  // kLevels 0: as many as the stage says. kUsual: shifts to the right only, gains of 1 and a full word.
  template <bool kSoftReset, int kLevels, bool kUsual>
  void spike(const Run& run) const {
    const int levels = kLevels > 0 ? kLevels : stage_->levels;
    const int channels_left = left(run.word);
    const size_t plane = plane_, words = static_cast<size_t>(words_),
                 channels = static_cast<size_t>(channels_);
    // Kept out of reach of what is written below.
    Simd::I32 bias[kWordVectors], shift[kWordVectors], lif_bias[kWordVectors];
    const int32_t* numbers = this->numbers(run.word);
    for (int v = 0; v < kWordVectors; ++v) {
      bias[v] = Simd::load32(numbers + kBias + v * Simd::kLanes32);
      shift[v] = Simd::load32(numbers + kShift + v * Simd::kLanes32);
      lif_bias[v] = Simd::load32(numbers + kLifBias + v * Simd::kLanes32);
    }
    const Thresholds<kLevels> thresholds(numbers + kThresholds);
    const Affine affine{numbers + kBias, numbers + kShift, right_only_};
    const size_t index = run.pixel * channels + static_cast<size_t>(run.word) * kWordChannels;
    const int32_t* residual = stage_->residual == nullptr ? nullptr : stage_->residual + index;
    int32_t* sum = stage_->sum == nullptr ? nullptr : stage_->sum + index;
    int32_t* spikes = stage_->spikes + run.pixel * words + run.word;
    const int32_t* acc = run.acc;
    int32_t* u = run.u;
    for (int p = 0; p < run.count; ++p, acc += run.acc_step, u += kWordChannels, spikes += words) {
      Simd::Mask reached[most_levels(kLevels)][kWordVectors];
      for (int v = 0; v < kWordVectors; ++v) {
        const int lane = v * Simd::kLanes32;
        Simd::I32 x = Simd::load32(acc + lane);
        x = kUsual ? Simd::shift_right32(Simd::add32(x, bias[v]), shift[v]) : rescale(x, affine + lane);
        if (residual != nullptr)
          x = Simd::add32(
              x, kUsual ? Simd::load32(residual + lane) : load_lanes(residual + lane, channels_left - lane));
        if (sum != nullptr) {
          if (kUsual)
            Simd::store32(sum + lane, x);
          else
            store_lanes(sum + lane, x, channels_left - lane);
        }
        if (!kUsual) x = Simd::mul32(x, Simd::load32(numbers + kGain + lane));
        const Simd::I32 h = Simd::half32(Simd::add32(Simd::load32(u + lane), Simd::add32(x, lif_bias[v])));
        Simd::store32(u + lane, fire<kSoftReset, kLevels>(h, thresholds, levels, v, reached));
      }
      for (int level = 0; level < levels; ++level)
        spikes[static_cast<size_t>(level) * plane] = static_cast<int32_t>(Simd::word_of(reached[level]));
      if (residual != nullptr) residual += channels;
      if (sum != nullptr) sum += channels;
    }
  }

  template <bool kSoftReset, int kLevels>
  void spike_any(const Run& run) const {
    const size_t t = run.pixel / positions_;
    if (t == 0) begin(run);
    if (right_only_ && unit_gain_ && left(run.word) >= kWordChannels)
      spike<kSoftReset, kLevels, true>(run);
    else
      spike<kSoftReset, kLevels, false>(run);
    if (t + 1 == frames_ && stage_->after != nullptr) end(run);
  }

  // Where a run's membranes lie in `before` and `after`, and how many channels of its word there are.
  size_t first_neuron(const Run& run) const {
    return run.pixel % positions_ * channels_ + static_cast<size_t>(run.word) * kWordChannels;
  }
  size_t membrane_bytes(const Run& run) const {
    return static_cast<size_t>(min_of(kWordChannels, left(run.word))) * sizeof(int32_t);
  }

  void begin(const Run& run) const {
    memset(run.u, 0, static_cast<size_t>(run.count) * kWordChannels * sizeof(int32_t));
    if (stage_->before == nullptr) return;
    const int32_t* before = stage_->before + first_neuron(run);
    for (int p = 0; p < run.count; ++p, before += channels_)
      memcpy(run.u + p * kWordChannels, before, membrane_bytes(run));
  }

  void end(const Run& run) const {
    int32_t* after = stage_->after + first_neuron(run);
    for (int p = 0; p < run.count; ++p, after += channels_)
      memcpy(after, run.u + p * kWordChannels, membrane_bytes(run));
  }

  template <bool kSoftReset>
  static RunOf spike_run(int levels) {
    return levels == 1   ? &Epilogue::spike_any<kSoftReset, 1>
           : levels == 2 ? &Epilogue::spike_any<kSoftReset, 2>
           : levels == 3 ? &Epilogue::spike_any<kSoftReset, 3>
           : levels == 4 ? &Epilogue::spike_any<kSoftReset, 4>
                         : &Epilogue::spike_any<kSoftReset, 0>;
  }

  int channels_, words_;
  size_t frames_, positions_, plane_;
  void* y_;
  bool saturate_, right_only_, unit_gain_;
  const svf_lif_stage* stage_;
  RunOf run_ = nullptr;
  size_t word_numbers_;
  Scratch<int32_t> numbers_;  // [words, word_numbers]
};

}  // namespace
}  // namespace svf
#endif
