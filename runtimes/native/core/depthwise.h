// Depthwise convolutions: channels are lanes. Of spikes, a word's 32 channels are counted into bytes once,
// and neighbours in a line are woven into 32-bit lanes, so that one dot product takes several taps of a
// kernel row.
#ifndef SVF_DEPTHWISE_H
#define SVF_DEPTHWISE_H

#include "epilogue.h"

namespace svf {
namespace {

constexpr size_t kWovenBytes = kWordChannels * sizeof(int32_t);

// Dot products of one kernel row.
int depthwise_steps(const Conv& c) { return (c.kernel_w + SmallDot::kDepth - 1) / SmallDot::kDepth; }

// Lanes of weights: [word, kernel_h, step, 32], zero beyond the kernel and the channels.
size_t depthwise_weights_size(const Conv& c) {
  return static_cast<size_t>(c.in_words) * c.kernel_h * depthwise_steps(c) * kWovenBytes;
}

void prepare_depthwise(const Conv& c, const int8_t* weight, void* prepared) {
  memset(prepared, 0, depthwise_weights_size(c));
  const size_t row_lanes = static_cast<size_t>(depthwise_steps(c)) * kWordChannels;
  SmallDot::Weight* out = static_cast<SmallDot::Weight*>(prepared);
  for (int word = 0; word < c.in_words; ++word)
    for (int ky = 0; ky < c.kernel_h; ++ky, out += row_lanes * SmallDot::kDepth)
      for (int kx = 0; kx < c.kernel_w; ++kx) {
        const int8_t* from =
            weight + (static_cast<size_t>(ky) * c.kernel_w + kx) * c.out_channels + word * kWordChannels;
        SmallDot::Weight* to =
            out + kx / SmallDot::kDepth * kWordChannels * SmallDot::kDepth + kx % SmallDot::kDepth;
        for (int i = 0; i < min_of(kWordChannels, c.out_channels - word * kWordChannels); ++i)
          to[i * SmallDot::kDepth] = from[i];
      }
}

// The woven lines of one word: what output lines [oy, oy_end) of a frame see, borders as zeros.
class WovenLines {
 public:
  WovenLines(const Conv& c, int oy, int oy_end)
      : first_(oy * c.stride_h - c.pad_h),
        end_((oy_end - 1) * c.stride_h - c.pad_h + c.kernel_h),
        width_(line_positions(c)),
        lanes_(static_cast<size_t>(end_ - first_) * width_ * kWordChannels),
        positions_(max_of(width_ + SmallDot::kDepth, static_cast<size_t>(c.pad_w) + c.width)),
        bytes_(positions_ * kWordChannels) {
    if (!ok()) return;
    memset(bytes_.get(), 0, positions_ * kWordChannels * sizeof(SmallDot::Input));
    for (int row = first_; row < end_; ++row)
      if (row < 0 || row >= c.height) memset(line(row), 0, width_ * kWovenBytes);
  }
  bool ok() const { return lanes_.ok() && bytes_.ok(); }

  // The lines of frame t that there are.
  void fill(const SpikeConvArgs& a, int t, int word) {
    const Conv& c = a.conv;
    for (int row = max_of(0, first_); row < min_of(end_, c.height); ++row) {
      const int32_t* words = a.x + (static_cast<size_t>(t) * c.height + row) * c.width * c.in_words + word;
      SmallDot::spikes(words, static_cast<size_t>(c.in_words), static_cast<size_t>(c.width), c.levels,
                       c.plane, bytes_.get() + static_cast<size_t>(c.pad_w) * kWordChannels);
      char* out = line(row);
      for (size_t x = 0; x < width_; ++x)
        SmallDot::weave(bytes_.get() + x * kWordChannels, kWordChannels, out + x * kWovenBytes);
    }
  }

  // What output line oy sees first.
  const char* at(const Conv& c, int oy) { return line(oy * c.stride_h - c.pad_h); }
  // From one line to the next: the last dot product of the last pixel reads to there.
  static size_t line_bytes(const Conv& c) { return line_positions(c) * kWovenBytes; }

 private:
  static size_t line_positions(const Conv& c) {
    return static_cast<size_t>(c.out_w - 1) * c.stride_w +
           static_cast<size_t>(depthwise_steps(c)) * SmallDot::kDepth;
  }

  char* line(int row) {
    return reinterpret_cast<char*>(lanes_.get()) + static_cast<size_t>(row - first_) * width_ * kWovenBytes;
  }

  int first_, end_;  // lines of the frame
  size_t width_;
  Scratch<int32_t> lanes_;
  size_t positions_;
  Scratch<SmallDot::Input> bytes_;
};

// kPixels neighbours of an output line, kLanes32 channels, by the dot products at these offsets. kFlush: the
// sums are widened after `most` of them.
template <int kPixels, bool kFlush>
void depthwise_pixels(const char* x, size_t pixel_bytes, const uint32_t* offset, int steps,
                      const char* weight, int most, int32_t* out) {
  SmallDot::Sum sum[kPixels];
  Simd::I32 total[kFlush ? kPixels : 1];
  SVF_UNROLL
  for (int i = 0; i < kPixels; ++i) sum[i] = SmallDot::zero();
  if constexpr (kFlush)
    for (int i = 0; i < kPixels; ++i) total[i] = Simd::zero32();
  for (int step = 0, adds = 0; step < steps; ++step, weight += kWovenBytes) {
    const SmallDot::Lanes w = SmallDot::load(weight);
    const char* at = x + offset[step];
    SVF_UNROLL
    for (int i = 0; i < kPixels; ++i) sum[i] = SmallDot::add(sum[i], SmallDot::load(at + i * pixel_bytes), w);
    if constexpr (kFlush) {
      if (++adds < most) continue;
      for (int i = 0; i < kPixels; ++i) {
        total[i] = Simd::add32(total[i], SmallDot::total(sum[i]));
        sum[i] = SmallDot::zero();
      }
      adds = 0;
    }
  }
  SVF_UNROLL
  for (int i = 0; i < kPixels; ++i) {
    Simd::I32 value = SmallDot::total(sum[i]);
    if constexpr (kFlush) value = Simd::add32(value, total[i]);
    Simd::store32(out + i * kWordChannels, value);
  }
}

typedef void (*DepthwisePixels)(const char*, size_t, const uint32_t*, int, const char*, int, int32_t*);

// The sums of one output line of a word, [out_w, 32]; x: its first woven line.
template <bool kFlush>
void depthwise_line(const Conv& c, const char* x, const uint32_t* offsets, int steps, const char* weight,
                    int32_t* sums) {
  constexpr int kMost = 8;
  const int most = SmallDot::most_adds(c.levels);
  const size_t pixel_bytes = c.stride_w * kWovenBytes;
  for (int lane = 0; lane < min_of(kWordChannels, c.out_channels); lane += Simd::kLanes32)
    for (int ox = 0; ox < c.out_w;) {
      const int left = c.out_w - ox, pixels = left >= kMost ? kMost : left >= kMost / 2 ? kMost / 2 : 1;
      const DepthwisePixels run = pixels == kMost       ? depthwise_pixels<kMost, kFlush>
                                  : pixels == kMost / 2 ? depthwise_pixels<kMost / 2, kFlush>
                                                        : depthwise_pixels<1, kFlush>;
      const size_t lane_bytes = lane * sizeof(int32_t);
      run(x + ox * pixel_bytes + lane_bytes, pixel_bytes, offsets, steps, weight + lane_bytes, most,
          sums + ox * kWordChannels + lane);
      ox += pixels;
    }
}

bool depthwise_spikes(const SpikeConvArgs& a, const svf_parallel* parallel) {
  const Conv& c = a.conv;
  const size_t weights_size = depthwise_weights_size(c);
  const int row_steps = depthwise_steps(c), steps = c.kernel_h * row_steps;
  Scratch<char> made(a.prepared == nullptr ? weights_size : 0);
  Scratch<uint32_t> offsets(static_cast<size_t>(steps));
  const size_t frame = static_cast<size_t>(c.out_h) * c.out_w;
  const Epilogue epilogue(c.out_channels, c.frames, frame, a.bias, a.shift, a.y, c.saturate, a.lif);
  if (!made.ok() || !offsets.ok() || !epilogue.ok()) return false;
  if (a.prepared == nullptr) prepare_depthwise(c, a.weight, made.get());
  const char* weights = a.prepared == nullptr ? made.get() : static_cast<const char*>(a.prepared);
  for (int i = 0; i < steps; ++i)
    offsets[i] = static_cast<uint32_t>(i / row_steps * WovenLines::line_bytes(c) +
                                       i % row_steps * SmallDot::kDepth * kWovenBytes);
  const auto line_sums = steps > SmallDot::most_adds(c.levels) ? depthwise_line<true> : depthwise_line<false>;
  // A task is a word of a band of lines, of all time steps where a LIF follows them. Neighbours weave the
  // lines between them twice, so bands are as tall as a second-level cache allows, unless there are threads
  // to feed.
  const int task_frames = epilogue.has_lif() ? c.frames : 1, times = c.frames / task_frames;
  constexpr int kLeast = 8, kBandBytes = 1 << 17, kTasks = 8;
  const bool few = parallel != nullptr && parallel->for_each != nullptr && times * c.in_words < kTasks;
  const int woven_lines = static_cast<int>(kBandBytes / WovenLines::line_bytes(c));
  const int tall = few ? kLeast : max_of(kLeast, (woven_lines - c.kernel_h) / c.stride_h);
  const int bands = (c.out_h + tall - 1) / tall;
  return for_each(parallel, static_cast<size_t>(times) * c.in_words * bands, [&](size_t task) {
    const int band = static_cast<int>(task % bands), word = static_cast<int>(task / bands % c.in_words);
    const int begin = static_cast<int>(static_cast<int64_t>(c.out_h) * band / bands);
    const int end = static_cast<int>(static_cast<int64_t>(c.out_h) * (band + 1) / bands);
    const size_t line = static_cast<size_t>(c.out_w) * kWordChannels;
    WovenLines woven(c, begin, end);
    Scratch<int32_t> sums(line), u(epilogue.has_lif() ? line * (end - begin) : 0);
    if (!woven.ok() || !sums.ok() || !u.ok()) return false;
    const char* weight = weights + weights_size / c.in_words * word;
    const int first = static_cast<int>(task / bands / c.in_words) * task_frames;
    for (int t = first; t < first + task_frames; ++t) {
      woven.fill(a, t, word);
      for (int oy = begin; oy < end; ++oy) {
        line_sums(c, woven.at(c, oy), offsets.get(), steps, weight, sums.get());
        epilogue.finish({sums.get(), kWordChannels,
                         epilogue.has_lif() ? u.get() + line * (oy - begin) : nullptr, word,
                         t * frame + static_cast<size_t>(oy) * c.out_w, c.out_w});
      }
    }
    return true;
  });
}

Simd::I16 widen(const int8_t* x) { return Simd::widen_s8(x); }
Simd::I16 widen(const uint8_t* x) { return Simd::widen_u8(x); }

// Of bytes: one tap at a time. Needs at least kLanes16 channels.
template <typename T>
void depthwise_pixel(const DenseConvArgs& a, const Affine& affine, const Pixel& p, size_t pixel) {
  const Conv& c = a.conv;
  const Simd::I16 zero_point = Simd::set16(static_cast<int16_t>(c.zero_point));
  for (int done = 0; done < c.out_channels; done += Simd::kLanes16) {
    const int first = min_of(done, c.out_channels - Simd::kLanes16);  // the last block may overlap
    Simd::I32 low = Simd::zero32(), high = Simd::zero32();
    for (int ky = 0; ky < c.kernel_h; ++ky) {
      const int iy = p.oy * c.stride_h - c.pad_h + ky;
      if (iy < 0 || iy >= c.height) continue;
      for (int kx = 0; kx < c.kernel_w; ++kx) {
        const int ix = p.ox * c.stride_w - c.pad_w + kx;
        if (ix < 0 || ix >= c.width) continue;
        const T* x = static_cast<const T*>(a.x) +
                     ((static_cast<size_t>(p.t) * c.height + iy) * c.width + ix) * c.in_channels + first;
        const int8_t* w = a.weight + static_cast<size_t>(ky * c.kernel_w + kx) * c.out_channels + first;
        const Simd::I16 value = Simd::sub16(widen(x), zero_point);
        const Simd::I16 product = Simd::mul16(value, Simd::widen_s8(w));  // |product| <= 255 * 127 < 2^15
        low = Simd::add32(low, Simd::low32(product));
        high = Simd::add32(high, Simd::high32(product));
      }
    }
    const size_t index = pixel * c.out_channels + first;
    const int half = Simd::kLanes32;
    store_lanes(c, a.y, index, rescale(low, affine + first), half);
    store_lanes(c, a.y, index + half, rescale(high, affine + (first + half)), half);
  }
}

bool depthwise_bytes(const DenseConvArgs& a, const svf_parallel* parallel) {
  const Conv& c = a.conv;
  const size_t pixels = static_cast<size_t>(c.frames) * c.out_h * c.out_w;
  constexpr size_t kTile = 32;
  const Affine affine{a.bias, a.shift, shifts_right_only(a.shift, c.out_channels)};
  return for_each(parallel, (pixels + kTile - 1) / kTile, [&](size_t i) {
    for (size_t pixel = i * kTile; pixel < min_of(pixels, (i + 1) * kTile); ++pixel) {
      const Pixel p = pixel_at(c, pixel);
      c.input_is_signed ? depthwise_pixel<int8_t>(a, affine, p, pixel)
                        : depthwise_pixel<uint8_t>(a, affine, p, pixel);
    }
    return true;
  });
}

}  // namespace
}  // namespace svf
#endif
