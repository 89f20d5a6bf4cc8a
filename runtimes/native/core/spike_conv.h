// Packed spikes x int8 weights: adds the weight rows of the active inputs (event-driven), once in each
// thermometer plane that has them set.
#ifndef SVF_SPIKE_CONV_H
#define SVF_SPIKE_CONV_H

#include "lif.h"
#include "simd_common.h"
#include "stages.h"

namespace svf {
namespace {

// Appends the offsets of the weight rows that one input position adds under the first tap, for one group.
uint32_t* active_rows(const Conv& c, const int32_t* words, int group, uint32_t stride, uint32_t* end) {
  const int first = group * c.group_in, last = first + c.group_in;  // channels
  for (int w = first / 32; w * 32 < last; ++w) {
    uint32_t bits = static_cast<uint32_t>(words[w]);
    if (w * 32 < first) bits &= ~0u << (first - w * 32);
    if (w * 32 + 32 > last) bits &= ~0u >> (w * 32 + 32 - last);
    // Modulo 2^32: for a group that starts inside the word, bit 0 lies before the group's first row.
    const uint32_t row = static_cast<uint32_t>(w * 32) - static_cast<uint32_t>(first);
    end = Simd::append_rows(end, bits, row * stride, stride);
  }
  return end;
}

// Appends [from, to) + offset. Reads and writes up to kRowSlack entries past the ends.
uint32_t* append_shifted(uint32_t* end, const uint32_t* from, const uint32_t* to, uint32_t offset) {
  const Simd::I32 add = Simd::set32(static_cast<int32_t>(offset));
  for (ptrdiff_t i = 0; i < to - from; i += Simd::kLanes32)
    Simd::store32(reinterpret_cast<int32_t*>(end + i),
                  Simd::add32(Simd::load32(reinterpret_cast<const int32_t*>(from + i)), add));
  return end + (to - from);
}

// One pixel, kVectors * kLanes16 output channels starting at `weight`, `bias`, `shift` and y[index].
template <int kVectors>
void add_rows(const Conv& c, const int8_t* weight, const uint32_t* row, const uint32_t* end,
              const Affine& affine, void* y, size_t index, int count) {
  Simd::I32 wide[2 * kVectors];
  for (int v = 0; v < 2 * kVectors; ++v) wide[v] = Simd::zero32();
  do {
    Simd::I16 sum[kVectors];
    for (int v = 0; v < kVectors; ++v) sum[v] = Simd::zero16();
    const uint32_t* stop = end - row > kMaxInt16Adds ? row + kMaxInt16Adds : end;
    for (; row != stop; ++row)
      for (int v = 0; v < kVectors; ++v)
        sum[v] = Simd::add16(sum[v], Simd::widen_s8(weight + *row + v * Simd::kLanes16));
    for (int v = 0; v < kVectors; ++v) {
      wide[2 * v] = Simd::add32(wide[2 * v], Simd::low32(sum[v]));
      wide[2 * v + 1] = Simd::add32(wide[2 * v + 1], Simd::high32(sum[v]));
    }
  } while (row != end);
  for (int v = 0; v < 2 * kVectors; ++v) {
    const int lane = v * Simd::kLanes32;
    store_lanes(c, y, index + lane, rescale(wide[v], affine + lane), count - lane);
  }
}

constexpr int kPixelTile = 32;  // output pixels whose row lists are kept while weights are read

struct Lists {
  const uint32_t* from[kPixelTile];
  const uint32_t* to[kPixelTile];
};

// All output channels of one group, for output pixels [begin, begin + pixels).
void add_tile(const SpikeConvArgs& a, const Columns& columns, int group, size_t begin, int pixels,
              const Lists& lists) {
  const Conv& c = a.conv;
  const int width = columns.group_width;
  for (int done = 0; done < width;) {
    int vectors = min_of((width - done) / Simd::kLanes16, Simd::kBlockVectors);
    int first = done;
    if (vectors == 0) {  // the last block overlaps the one before it
      vectors = 1;
      first = width - Simd::kLanes16;
    }
    const int column = group * width + first, count = c.group_out - first;
    const int8_t* weight = columns.weight + column;
    const Affine affine = columns.affine + column;
    static_assert(Simd::kBlockVectors == 4, "one case per number of vectors");
    const auto run = vectors == 4   ? add_rows<4>
                     : vectors == 3 ? add_rows<3>
                     : vectors == 2 ? add_rows<2>
                                    : add_rows<1>;
    size_t index = begin * c.out_channels + static_cast<size_t>(group) * c.group_out + first;
    for (int i = 0; i < pixels; ++i, index += c.out_channels)
      run(c, weight, lists.from[i], lists.to[i], affine, a.y, index, count);
    done = first + vectors * Simd::kLanes16;
  }
}

// Output lines [oy, oy_end) of frame t. An input position's row list is made once and then joined under every
// tap.
bool spike_lines(const SpikeConvArgs& a, const Columns& columns, int t, int oy, int oy_end) {
  const Conv& c = a.conv;
  const int first_line = min_of(c.height, max_of(0, oy * c.stride_h - c.pad_h));
  const int last_line = min_of(c.height, (oy_end - 1) * c.stride_h - c.pad_h + c.kernel_h);
  const size_t positions = static_cast<size_t>(max_of(0, last_line - first_line)) * c.width;
  const size_t taps = static_cast<size_t>(c.kernel_h) * c.kernel_w;
  const size_t most = static_cast<size_t>(c.group_in) * c.levels;  // rows of a position
  Scratch<uint32_t> rows(positions * most + kRowSlack);
  Scratch<size_t> starts(positions + 1);
  Scratch<uint32_t> joined(taps == 1 ? 0 : kPixelTile * taps * most + kRowSlack);
  if (!rows.ok() || !starts.ok() || !joined.ok()) return false;
  const int32_t* words = a.x + (static_cast<size_t>(t) * c.height + first_line) * c.width * c.in_words;
  const size_t pixels_end = static_cast<size_t>(oy_end) * c.out_w;
  for (int g = 0; g < c.groups; ++g) {
    uint32_t* end = rows.get();
    for (size_t i = 0; i < positions; ++i) {
      starts[i] = static_cast<size_t>(end - rows.get());
      for (int level = 0; level < c.levels; ++level)
        end = active_rows(c, words + level * c.plane + i * c.in_words, g, columns.stride, end);
    }
    starts[positions] = static_cast<size_t>(end - rows.get());
    for (size_t begin = static_cast<size_t>(oy) * c.out_w; begin < pixels_end; begin += kPixelTile) {
      const int pixels = static_cast<int>(min_of<size_t>(kPixelTile, pixels_end - begin));
      Lists lists;
      uint32_t* next = joined.get();
      for (int i = 0; i < pixels; ++i) {
        const int y0 = static_cast<int>((begin + i) / c.out_w) * c.stride_h - c.pad_h;
        const int x0 = static_cast<int>((begin + i) % c.out_w) * c.stride_w - c.pad_w;
        lists.from[i] = lists.to[i] = next;
        for (int ky = max_of(0, -y0); ky < min_of(c.kernel_h, c.height - y0); ++ky)
          for (int kx = max_of(0, -x0); kx < min_of(c.kernel_w, c.width - x0); ++kx) {
            const size_t position = static_cast<size_t>(y0 + ky - first_line) * c.width + (x0 + kx);
            const uint32_t *from = rows.get() + starts[position], *to = rows.get() + starts[position + 1];
            if (taps == 1) {  // read in place
              lists.from[i] = from;
              lists.to[i] = to;
            } else {
              const uint32_t tap = static_cast<uint32_t>((ky * c.kernel_w + kx) * c.group_in);
              lists.to[i] = next = append_shifted(next, from, to, tap * columns.stride);
            }
          }
      }
      const size_t frame = static_cast<size_t>(t) * c.out_h * c.out_w;
      add_tile(a, columns, g, frame + begin, pixels, lists);
    }
  }
  return true;
}

// Depthwise: the 32 channels of a word are lanes, each added where its bit is set; neighbours share a weight
// load.
template <int kPixels, bool kBinary>
void depthwise_word(const SpikeConvArgs& a, const int8_t* weight, uint32_t stride, const Affine& affine,
                    int word, const Pixel& p) {
  constexpr int kVectors = 32 / Simd::kLanes16;
  const Conv& c = a.conv;
  const int levels = kBinary ? 1 : c.levels;
  Simd::I16 sum[kPixels][kVectors];
  Simd::I32 wide[kPixels][2 * kVectors];
  for (int i = 0; i < kPixels; ++i) {
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Simd::zero16();
    for (int v = 0; v < 2 * kVectors; ++v) wide[i][v] = Simd::zero32();
  }
  auto flush = [&] {
    for (int i = 0; i < kPixels; ++i)
      for (int v = 0; v < kVectors; ++v) {
        wide[i][2 * v] = Simd::add32(wide[i][2 * v], Simd::low32(sum[i][v]));
        wide[i][2 * v + 1] = Simd::add32(wide[i][2 * v + 1], Simd::high32(sum[i][v]));
        sum[i][v] = Simd::zero16();
      }
  };
  int adds = 0;
  for (int ky = 0; ky < c.kernel_h; ++ky) {
    const int iy = p.oy * c.stride_h - c.pad_h + ky;
    if (iy < 0 || iy >= c.height) continue;
    const int32_t* line = a.x + (static_cast<size_t>(p.t) * c.height + iy) * c.width * c.in_words + word;
    for (int kx = 0; kx < c.kernel_w; ++kx) {
      adds += levels;
      if (adds > kMaxInt16Adds) {
        flush();
        adds = levels;
      }
      const int8_t* row = weight + static_cast<size_t>(ky * c.kernel_w + kx) * stride;
      Simd::I16 w[kVectors];
      for (int v = 0; v < kVectors; ++v) w[v] = Simd::widen_s8(row + v * Simd::kLanes16);
      for (int i = 0; i < kPixels; ++i) {
        const int ix = (p.ox + i) * c.stride_w - c.pad_w + kx;
        if (ix < 0 || ix >= c.width) continue;
        const int32_t* at = line + static_cast<size_t>(ix) * c.in_words;
        for (int level = 0; level < levels; ++level) {
          const uint32_t bits = static_cast<uint32_t>(at[level * c.plane]);
          for (int v = 0; v < kVectors; ++v)
            sum[i][v] = Simd::add16_where(sum[i][v], bits >> (v * Simd::kLanes16), w[v]);
        }
      }
    }
  }
  flush();
  const size_t pixel = (static_cast<size_t>(p.t) * c.out_h + p.oy) * c.out_w + p.ox;
  for (int i = 0; i < kPixels; ++i)
    for (int v = 0; v < 2 * kVectors; ++v) {
      const int lane = v * Simd::kLanes32, channel = word * 32 + lane;
      if (channel >= c.out_channels) break;
      store_lanes(c, a.y, (pixel + i) * c.out_channels + channel, rescale(wide[i][v], affine + lane),
                  c.out_channels - channel);
    }
}

template <bool kBinary>
bool depthwise_spike_conv2d(const SpikeConvArgs& a, const svf_parallel* parallel) {
  constexpr int kPixels = 4;
  const Conv& c = a.conv;
  // The last word's channels with zero channels behind them, if C is not a multiple of 32.
  const int full_words = c.out_channels / 32, tail = c.out_channels % 32;
  const size_t taps = static_cast<size_t>(c.kernel_h) * c.kernel_w;
  Scratch<int8_t> tail_weight(tail ? taps * 32 : 0);
  if (!tail_weight.ok()) return false;
  int32_t tail_bias[32] = {}, tail_shift[32] = {};
  if (tail) {
    memset(tail_weight.get(), 0, taps * 32);
    for (size_t tap = 0; tap < taps; ++tap)
      memcpy(&tail_weight[tap * 32], a.weight + tap * c.out_channels + full_words * 32,
             static_cast<size_t>(tail));
    memcpy(tail_bias, a.bias + full_words * 32, static_cast<size_t>(tail) * sizeof(int32_t));
    memcpy(tail_shift, a.shift + full_words * 32, static_cast<size_t>(tail) * sizeof(int32_t));
  }
  const bool right_only = shifts_right_only(a.shift, c.out_channels);
  const size_t lines = static_cast<size_t>(c.frames) * c.out_h;
  return for_each(parallel, lines, [&](size_t line) {
    for (int word = 0; word < c.in_words; ++word) {
      const bool full = word < full_words;
      const int8_t* weight = full ? a.weight + word * 32 : tail_weight.get();
      const uint32_t stride = full ? static_cast<uint32_t>(c.out_channels) : 32;
      const Affine affine =
          full ? Affine{a.bias, a.shift, right_only} + word * 32 : Affine{tail_bias, tail_shift, right_only};
      Pixel p{static_cast<int>(line / c.out_h), static_cast<int>(line % c.out_h), 0};
      for (; p.ox + kPixels <= c.out_w; p.ox += kPixels)
        depthwise_word<kPixels, kBinary>(a, weight, stride, affine, word, p);
      for (; p.ox < c.out_w; ++p.ox) depthwise_word<1, kBinary>(a, weight, stride, affine, word, p);
    }
    return true;
  });
}

bool spike_conv2d(const SpikeConvArgs& a, const svf_parallel* parallel) {
  if (a.lif != nullptr) return convolve_in_stages(a, spike_conv2d, lif, parallel);
  const Conv& c = a.conv;
  if (c.group_in == 1 && c.group_out == 1)
    return c.levels == 1 ? depthwise_spike_conv2d<true>(a, parallel)
                         : depthwise_spike_conv2d<false>(a, parallel);
  const Columns columns(c, a.weight, a.bias, a.shift, Simd::kLanes16);
  if (!columns.ok()) return false;
  const int lines = min_of(c.out_h, max_of(1, kPixelTile / c.out_w));  // a task
  const int tasks = (c.out_h + lines - 1) / lines;                     // a frame
  return for_each(parallel, static_cast<size_t>(c.frames) * tasks, [&](size_t i) {
    const int oy = static_cast<int>(i % tasks) * lines;
    return spike_lines(a, columns, static_cast<int>(i / tasks), oy, min_of(c.out_h, oy + lines));
  });
}

}  // namespace
}  // namespace svf
#endif
