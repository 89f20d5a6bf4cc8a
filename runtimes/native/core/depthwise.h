// Depthwise convolutions: channels are lanes. Of spikes, a word's 32 channels are counted into bytes once,
// and neighbours in a line are woven into 32-bit lanes, so that one dot product takes several taps of a
// kernel row.
#ifndef SVF_DEPTHWISE_H
#define SVF_DEPTHWISE_H

#include <type_traits>

#include "simd_common.h"

namespace svf {
namespace {

constexpr int kWord = 32;  // channels
constexpr size_t kWovenBytes = kWord * sizeof(int32_t);

// Dot products of one kernel row.
int depthwise_steps(const Conv& c) { return (c.kernel_w + SmallDot::kDepth - 1) / SmallDot::kDepth; }

// Lanes of weights: [word, kernel_h, step, 32], zero beyond the kernel and the channels.
size_t depthwise_weights_size(const Conv& c) {
  return static_cast<size_t>(c.in_words) * c.kernel_h * depthwise_steps(c) * kWovenBytes;
}

void prepare_depthwise(const Conv& c, const int8_t* weight, void* prepared) {
  memset(prepared, 0, depthwise_weights_size(c));
  const size_t row_lanes = static_cast<size_t>(depthwise_steps(c)) * kWord;
  SmallDot::Weight* out = static_cast<SmallDot::Weight*>(prepared);
  for (int word = 0; word < c.in_words; ++word)
    for (int ky = 0; ky < c.kernel_h; ++ky, out += row_lanes * SmallDot::kDepth)
      for (int kx = 0; kx < c.kernel_w; ++kx) {
        const int8_t* from =
            weight + (static_cast<size_t>(ky) * c.kernel_w + kx) * c.out_channels + word * kWord;
        SmallDot::Weight* to = out + kx / SmallDot::kDepth * kWord * SmallDot::kDepth + kx % SmallDot::kDepth;
        for (int i = 0; i < min_of(kWord, c.out_channels - word * kWord); ++i)
          to[i * SmallDot::kDepth] = from[i];
      }
}

// The woven lines of one word: what output lines [oy, oy_end) of a frame see, borders as zeros.
class WovenLines {
 public:
  WovenLines(const Conv& c, int lines)
      : steps_(depthwise_steps(c)),
        // The last dot product of the last pixel reads to here.
        width_(static_cast<size_t>(c.out_w - 1) * c.stride_w +
               static_cast<size_t>(steps_) * SmallDot::kDepth),
        lanes_((static_cast<size_t>(lines - 1) * c.stride_h + c.kernel_h) * width_ * kWord),
        positions_(max_of(width_ + SmallDot::kDepth, static_cast<size_t>(c.pad_w) + c.width)),
        bytes_(positions_ * kWord) {}
  bool ok() const { return lanes_.ok() && bytes_.ok(); }

  void fill(const SpikeConvArgs& a, int t, int word, int oy, int oy_end) {
    const Conv& c = a.conv;
    memset(bytes_.get(), 0, positions_ * kWord * sizeof(SmallDot::Input));
    const int first = oy * c.stride_h - c.pad_h;
    for (int row = first; row < (oy_end - 1) * c.stride_h - c.pad_h + c.kernel_h; ++row) {
      char* line = at(row - first, 0);
      if (row < 0 || row >= c.height) {
        memset(line, 0, width_ * kWovenBytes);
        continue;
      }
      const int32_t* words = a.x + (static_cast<size_t>(t) * c.height + row) * c.width * c.in_words + word;
      SmallDot::Input* bytes = bytes_.get() + static_cast<size_t>(c.pad_w) * kWord;
      for (int x = 0; x < c.width; ++x, words += c.in_words, bytes += kWord)
        SmallDot::spikes(words, c.levels, c.plane, bytes);
      for (size_t x = 0; x < width_; ++x)
        SmallDot::weave(bytes_.get() + x * kWord, kWord, line + x * kWovenBytes);
    }
  }

  char* at(int row, size_t x) {
    return reinterpret_cast<char*>(lanes_.get()) + (row * width_ + x) * kWovenBytes;
  }
  size_t line_bytes() const { return width_ * kWovenBytes; }

 private:
  int steps_;
  size_t width_;
  Scratch<int32_t> lanes_;
  size_t positions_;
  Scratch<SmallDot::Input> bytes_;
};

// kPixels neighbours of an output line, kLanes32 channels. kFlush: the sums are widened every `most` steps.
template <int kPixels, bool kFlush>
void depthwise_pixels(const char* x, size_t pixel_bytes, size_t line_bytes, const char* weight, int lines,
                      int steps, int most, Simd::I32* total) {
  SmallDot::Sum sum[kPixels];
  for (int i = 0; i < kPixels; ++i) sum[i] = SmallDot::zero();
  int adds = 0;
  for (int ky = 0; ky < lines; ++ky, x += line_bytes)
    for (int step = 0; step < steps; ++step, weight += kWovenBytes) {
      const SmallDot::Lanes w = SmallDot::load(weight);
      const char* at = x + static_cast<size_t>(step) * SmallDot::kDepth * kWovenBytes;
      for (int i = 0; i < kPixels; ++i)
        sum[i] = SmallDot::add(sum[i], SmallDot::load(at + i * pixel_bytes), w);
      if (kFlush && ++adds == most) {
        for (int i = 0; i < kPixels; ++i) {
          total[i] = Simd::add32(total[i], SmallDot::total(sum[i]));
          sum[i] = SmallDot::zero();
        }
        adds = 0;
      }
    }
  for (int i = 0; i < kPixels; ++i)
    total[i] = kFlush ? Simd::add32(total[i], SmallDot::total(sum[i])) : SmallDot::total(sum[i]);
}

constexpr int kDepthwisePixels = 8;

// Output line oy of frame t for one word, whose woven lines begin at `lines`.
template <bool kFlush>
void depthwise_line(const SpikeConvArgs& a, const Affine& affine, const char* weight, const char* lines,
                    size_t line_bytes, int word, size_t pixel) {
  const Conv& c = a.conv;
  const int steps = depthwise_steps(c), most = SmallDot::most_adds(c.levels);
  const size_t pixel_bytes = c.stride_w * kWovenBytes;
  for (int lane = 0; lane < min_of(kWord, c.out_channels - word * kWord); lane += Simd::kLanes32) {
    const int channel = word * kWord + lane;
    for (int ox = 0; ox < c.out_w;) {
      const char* x = lines + ox * pixel_bytes + lane * sizeof(int32_t);
      const char* w = weight + lane * sizeof(int32_t);
      const auto run = [&](auto pixels) {
        constexpr int kPixels = decltype(pixels)::value;
        Simd::I32 total[kPixels] = {};
        depthwise_pixels<kPixels, kFlush>(x, pixel_bytes, line_bytes, w, c.kernel_h, steps, most, total);
        for (int i = 0; i < kPixels; ++i)
          store_lanes(c, a.y, (pixel + ox + i) * c.out_channels + channel, rescale(total[i], affine + lane),
                      c.out_channels - channel);
        ox += kPixels;
      };
      const int left = c.out_w - ox;
      if (left >= kDepthwisePixels)
        run(std::integral_constant<int, kDepthwisePixels>());
      else if (left >= kDepthwisePixels / 2)
        run(std::integral_constant<int, kDepthwisePixels / 2>());
      else
        run(std::integral_constant<int, 1>());
    }
  }
}

bool depthwise_spikes(const SpikeConvArgs& a, const svf_parallel* parallel) {
  const Conv& c = a.conv;
  const size_t weights_size = depthwise_weights_size(c);
  Scratch<char> made(a.prepared == nullptr ? weights_size : 0);
  const PaddedAffine affine(c, a.bias, a.shift, kWord);
  if (!made.ok() || !affine.ok()) return false;
  if (a.prepared == nullptr) prepare_depthwise(c, a.weight, made.get());
  const char* weight = a.prepared == nullptr ? made.get() : static_cast<const char*>(a.prepared);
  const bool flush = c.kernel_h * depthwise_steps(c) > SmallDot::most_adds(c.levels);
  // Enough tasks for a few threads, of lines that still share what lies above and below them.
  const int wanted = 8, whole = c.frames * c.in_words;
  const int bands = min_of((c.out_h + 7) / 8, (wanted + whole - 1) / whole);
  const int lines = (c.out_h + bands - 1) / bands;
  return for_each(parallel, static_cast<size_t>(whole) * bands, [&](size_t i) {
    const int band = static_cast<int>(i % bands), word = static_cast<int>(i / bands % c.in_words);
    const int t = static_cast<int>(i / bands / c.in_words);
    const int begin = min_of(c.out_h, band * lines), end = min_of(c.out_h, begin + lines);
    if (begin == end) return true;
    WovenLines woven(c, end - begin);
    if (!woven.ok()) return false;
    woven.fill(a, t, word, begin, end);
    const char* of_word = weight + weights_size / c.in_words * word;
    for (int oy = begin; oy < end; ++oy) {
      const size_t pixel = (static_cast<size_t>(t) * c.out_h + oy) * c.out_w;
      const auto run = flush ? depthwise_line<true> : depthwise_line<false>;
      run(a, affine.affine + word * kWord, of_word, woven.at((oy - begin) * c.stride_h, 0),
          woven.line_bytes(), word, pixel);
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
