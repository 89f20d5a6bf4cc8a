// Spikes counted into small integers, 0..levels, and multiplied with all weights by dot products: the dense
// form of a spike convolution, for one word (32 output channels) and the positions of a tile.
#ifndef SVF_DENSE_TILE_H
#define SVF_DENSE_TILE_H

#include <utility>

#include "dot_tile.h"
#include "epilogue.h"

namespace svf {
namespace {

constexpr size_t kChannelBytes = DenseDot::kDepth * sizeof(DenseDot::Weight);  // weights of kDepth inputs
constexpr size_t kStepBytes = kWordChannels * kChannelBytes;

// Input channels of a position, rounded up to whole dot products.
int padded_inputs(const Conv& c) {
  return (c.in_channels + DenseDot::kDepth - 1) / DenseDot::kDepth * DenseDot::kDepth;
}

// Bytes of the weights of one word: [kernel_h, kernel_w, padded_inputs / kDepth, 32, kDepth].
size_t dense_word_size(const Conv& c) {
  return static_cast<size_t>(c.kernel_h) * c.kernel_w * (padded_inputs(c) / DenseDot::kDepth) * kStepBytes;
}

int out_words(const Conv& c) { return (c.out_channels + kWordChannels - 1) / kWordChannels; }

// Which forms a tile may take. Convolutions in groups have no dense form.
bool may_be_dense(const Conv& c) { return c.groups == 1 && c.density != SVF_EVENT; }
bool may_be_event(const Conv& c) { return c.groups != 1 || c.density != SVF_DENSE; }

size_t dense_weights_size(const Conv& c) { return may_be_dense(c) ? out_words(c) * dense_word_size(c) : 0; }

// [out_words, dense_word_size], zeros beyond the channels.
void prepare_dense(const Conv& c, const int8_t* weight, void* prepared) {
  constexpr int kDepth = DenseDot::kDepth;
  static const int8_t zeros[kWordChannels] = {};
  DenseDot::Weight* out = static_cast<DenseDot::Weight*>(prepared);
  const int taps = c.kernel_h * c.kernel_w;
  for (int word = 0; word < out_words(c); ++word) {
    const int width = min_of(kWordChannels, c.out_channels - word * kWordChannels);
    for (int tap = 0; tap < taps; ++tap)
      for (int ci = 0; ci < c.in_channels; ci += kDepth, out += kWordChannels * kDepth) {
        const int8_t* rows[kDepth];
        int8_t tail[kDepth][kWordChannels];
        for (int i = 0; i < kDepth; ++i) {
          if (ci + i >= c.in_channels) {
            rows[i] = zeros;
            continue;
          }
          rows[i] = weight + (static_cast<size_t>(tap) * c.in_channels + ci + i) * c.out_channels +
                    static_cast<size_t>(word) * kWordChannels;
          if (width == kWordChannels) continue;
          memset(tail[i], 0, kWordChannels);
          memcpy(tail[i], rows[i], static_cast<size_t>(width));
          rows[i] = tail[i];
        }
        for (int lane = 0; lane < kWordChannels; ++lane)
          for (int i = 0; i < kDepth; ++i) out[lane * kDepth + i] = rows[i][lane];
      }
  }
}

// The sums of kPixels positions x kVectors * kLanes32 channels. A position's inputs are `runs` runs of
// `steps` dot products each, `run_step` inputs apart. kFlush: sums are widened every `most` dot products.
template <typename Dot, int kPixels, int kVectors, bool kFlush>
void dense_pixels(const typename Dot::Input* const* from, size_t run_step, int runs, int steps,
                  const char* weight, int most, int32_t* acc) {
  typename Dot::Sum sum[kPixels][kVectors];
  Simd::I32 wide[kPixels][kVectors];
  SVF_UNROLL
  for (int i = 0; i < kPixels; ++i) SVF_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    sum[i][v] = Dot::zero();
    if (kFlush) wide[i][v] = Simd::zero32();
  }
  const typename Dot::Input* x[kPixels];
  SVF_UNROLL
  for (int i = 0; i < kPixels; ++i) x[i] = from[i];
  auto flush = [&] {
    SVF_UNROLL
    for (int i = 0; i < kPixels; ++i) SVF_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      wide[i][v] = Simd::add32(wide[i][v], Dot::total(sum[i][v]));
      sum[i][v] = Dot::zero();
    }
  };
  int room = most;
  for (int run = 0; run < runs; ++run) {
    for (int step = 0; step < steps;) {
      int stop = steps;
      if (kFlush) {
        stop = min_of(steps, step + room);
        room -= stop - step;
      }
      for (; step < stop; ++step, weight += kStepBytes) {
        typename Dot::Lanes w[kVectors];
        SVF_UNROLL
        for (int v = 0; v < kVectors; ++v) w[v] = Dot::load(weight + v * sizeof(typename Dot::Lanes));
        SVF_UNROLL
        for (int i = 0; i < kPixels; ++i) {
          const typename Dot::Lanes value = Dot::broadcast(x[i] + step * Dot::kDepth);
          SVF_UNROLL
          for (int v = 0; v < kVectors; ++v) sum[i][v] = Dot::add(sum[i][v], value, w[v]);
        }
      }
      if (kFlush && room == 0) {
        flush();
        room = most;
      }
    }
    SVF_UNROLL
    for (int i = 0; i < kPixels; ++i) x[i] += run_step;
  }
  SVF_UNROLL
  for (int i = 0; i < kPixels; ++i) SVF_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    Simd::I32 total = Dot::total(sum[i][v]);
    if (kFlush) total = Simd::add32(wide[i][v], total);
    Simd::store32(acc + i * kWordChannels + v * Simd::kLanes32, total);
  }
}

// The same by multiply_pairs's products; sums are int32 from the start.
template <typename Dot, int kPixels, int kVectors>
void dense_pairs(const typename Dot::Input* const* from, size_t run_step, int runs, int steps,
                 const char* weight, int, int32_t* acc) {
  constexpr int kPairs = (kPixels + 1) / 2, kHalves = 2 * kVectors;
  constexpr size_t kHalf = Simd::kLanes32 / 2 * kChannelBytes;
  const typename Dot::Input* x[2 * kPairs];
  typename Dot::Sum sum[kPairs][kHalves];
  SVF_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    x[2 * p] = from[2 * p];
    x[2 * p + 1] = from[min_of(2 * p + 1, kPixels - 1)];
    SVF_UNROLL
    for (int v = 0; v < kHalves; ++v) sum[p][v] = Dot::zero();
  }
  for (int run = 0; run < runs; ++run) {
    for (int step = 0; step < steps; ++step, weight += kStepBytes) {
      typename Dot::Lanes inputs[kPairs];
      SVF_UNROLL
      for (int p = 0; p < kPairs; ++p)
        inputs[p] = Dot::pair(x[2 * p] + step * Dot::kDepth, x[2 * p + 1] + step * Dot::kDepth);
      SVF_UNROLL
      for (int v = 0; v < kHalves; ++v) {
        const typename Dot::Lanes w = Dot::load(weight + v * kHalf);
        SVF_UNROLL
        for (int p = 0; p < kPairs; ++p) sum[p][v] = Dot::add(sum[p][v], inputs[p], w);
      }
    }
    SVF_UNROLL
    for (int p = 0; p < 2 * kPairs; ++p) x[p] += run_step;
  }
  SVF_UNROLL
  for (int p = 0; p < kPixels; ++p) SVF_UNROLL
  for (int v = 0; v < kVectors; ++v)
    Simd::store32(acc + p * kWordChannels + v * Simd::kLanes32,
                  Dot::row(sum[p / 2][2 * v], sum[p / 2][2 * v + 1], p % 2));
}

typedef void (*DensePixels)(const DenseDot::Input* const*, size_t, int, int, const char*, int, int32_t*);

template <typename Dot, int kVectors, bool kFlush, int... kPixels>
constexpr void list_dense_pixels(DensePixels* table, std::integer_sequence<int, kPixels...>) {
  if constexpr (TakesPairs<Dot>::value)
    ((table[kPixels + 1] = dense_pairs<Dot, kPixels + 1, kVectors>), ...);
  else
    ((table[kPixels + 1] = dense_pixels<Dot, kPixels + 1, kVectors, kFlush>), ...);
}

// The micro-kernel of each number of positions, 1 to kSpikePixels.
template <bool kFlush>
struct DensePixelsOf {
  DensePixels of[DenseDot::kSpikePixels + 1] = {};
  DensePixelsOf() {
    list_dense_pixels<DenseDot, DenseDot::kSpikeVectors, kFlush>(
        of, std::make_integer_sequence<int, DenseDot::kSpikePixels>());
  }
};

// The inputs under an output tile as small integers, zero outside the frame: [rows, columns, padded_inputs].
class CountedTile {
 public:
  CountedTile(const Conv& c, int lines, int columns)
      : conv_(c),
        rows_((lines - 1) * c.stride_h + c.kernel_h),
        columns_((columns - 1) * c.stride_w + c.kernel_w),
        depth_(static_cast<size_t>(padded_inputs(c))),
        size_(static_cast<size_t>(rows_) * columns_ * depth_ + kWordChannels),
        data_(size_) {
    if (data_.ok()) memset(data_.get(), 0, size_ * sizeof(DenseDot::Input));
  }
  bool ok() const { return data_.ok(); }

  // What frame t has at the window of the output position (oy, ox). Every call must have the same window:
  // what lies outside the frame stays zero.
  void fill(const int32_t* x, int t, int oy, int ox) {
    const Conv& c = conv_;
    const int y0 = oy * c.stride_h - c.pad_h, x0 = ox * c.stride_w - c.pad_w;
    const int first = max_of(0, -x0), last = min_of(columns_, c.width - x0);
    for (int row = max_of(0, -y0); row < min_of(rows_, c.height - y0); ++row) {
      const int32_t* words =
          x + ((static_cast<size_t>(t) * c.height + y0 + row) * c.width + x0 + first) * c.in_words;
      DenseDot::Input* out = data_.get() + (static_cast<size_t>(row) * columns_ + first) * depth_;
      if (first >= last) continue;
      if (depth_ == static_cast<size_t>(c.in_words) * kWordChannels) {  // one run of words
        DenseDot::counts(words, static_cast<size_t>(last - first) * c.in_words, c.levels, c.plane, out);
        continue;
      }
      // A last word that is not full writes zeros over the next position, which comes after it or is zero.
      for (int i = first; i < last; ++i, out += depth_, words += c.in_words)
        DenseDot::counts(words, static_cast<size_t>(c.in_words), c.levels, c.plane, out);
    }
  }

  // Sums of one word for the tile's output positions: acc [lines * columns, 32].
  void multiply(const char* weight, int lines, int columns, int32_t* acc) const {
    static const DensePixelsOf<false> whole;
    static const DensePixelsOf<true> flushed;
    const Conv& c = conv_;
    const size_t run_step = columns_ * depth_;
    const int steps = static_cast<int>(c.kernel_w * depth_ / DenseDot::kDepth);
    const int most = DenseDot::most_adds(c.levels);
    const DensePixels* run = most < c.kernel_h * steps ? flushed.of : whole.of;
    const int total = lines * columns;
    const int chunks = (total + DenseDot::kSpikePixels - 1) / DenseDot::kSpikePixels;
    int line = 0, column = 0;
    for (int chunk = 0, done = 0; chunk < chunks; ++chunk) {
      const int end = static_cast<int>(static_cast<int64_t>(total) * (chunk + 1) / chunks);
      const DenseDot::Input* from[DenseDot::kSpikePixels];
      for (int i = 0; i < end - done; ++i) {
        from[i] = data_.get() + (static_cast<size_t>(line) * c.stride_h * columns_ +
                                 static_cast<size_t>(column) * c.stride_w) *
                                    depth_;
        if (++column == columns) {
          column = 0;
          ++line;
        }
      }
      constexpr int kLanes = DenseDot::kSpikeVectors * Simd::kLanes32;
      for (int lane = 0; lane < kWordChannels; lane += kLanes)
        run[end - done](from, run_step, c.kernel_h, steps, weight + lane * kChannelBytes, most,
                        acc + static_cast<size_t>(done) * kWordChannels + lane);
      done = end;
    }
  }

 private:
  const Conv& conv_;
  int rows_, columns_;
  size_t depth_, size_;
  Scratch<DenseDot::Input> data_;
};

}  // namespace
}  // namespace svf
#endif
