// Packed spikes x int8 weights: adds the weight rows of the active inputs (event-driven).
#ifndef SVF_SPIKE_CONV_H
#define SVF_SPIKE_CONV_H

#include "simd_common.h"

namespace svf {
namespace {

// Offsets of the weight rows that one output pixel adds, for one group.
uint32_t* active_rows(const SpikeConvArgs& a, const Pixel& p, int group, uint32_t stride, uint32_t* end) {
  const Conv& c = a.conv;
  const int first = group * c.group_in, last = first + c.group_in;  // channels
  for (int ky = 0; ky < c.kernel_h; ++ky) {
    const int iy = p.oy * c.stride_h - c.pad_h + ky;
    if (iy < 0 || iy >= c.height) continue;
    for (int kx = 0; kx < c.kernel_w; ++kx) {
      const int ix = p.ox * c.stride_w - c.pad_w + kx;
      if (ix < 0 || ix >= c.width) continue;
      const int32_t* words = a.x + ((static_cast<size_t>(p.t) * c.height + iy) * c.width + ix) * c.in_words;
      const uint32_t tap = static_cast<uint32_t>((ky * c.kernel_w + kx) * c.group_in);
      for (int w = first / 32; w * 32 < last; ++w) {
        uint32_t bits = static_cast<uint32_t>(words[w]);
        if (w * 32 < first) bits &= ~0u << (first - w * 32);
        if (w * 32 + 32 > last) bits &= ~0u >> (w * 32 + 32 - last);
        // Modulo 2^32: for a group that starts inside the word, bit 0 lies before the group's first row.
        const uint32_t row = tap + static_cast<uint32_t>(w * 32) - static_cast<uint32_t>(first);
        end = Simd::append_rows(end, bits, row * stride, stride);
      }
    }
  }
  return end;
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

bool spike_tile(const SpikeConvArgs& a, const Columns& columns, size_t begin, size_t end, uint32_t* rows,
                uint32_t** starts) {
  const Conv& c = a.conv;
  for (int g = 0; g < c.groups; ++g) {
    uint32_t* next = rows;
    for (size_t i = begin; i < end; ++i) {
      starts[i - begin] = next;
      next = active_rows(a, pixel_at(c, i), g, columns.stride, next);
    }
    starts[end - begin] = next;
    const int width = columns.group_width;
    for (int done = 0; done < width;) {
      int vectors = min_of((width - done) / Simd::kLanes16, Simd::kBlockVectors);
      int first = done;
      if (vectors == 0) {  // the last block overlaps the one before it
        vectors = 1;
        first = width - Simd::kLanes16;
      }
      const int column = g * width + first;
      const Affine affine = columns.affine + column;
      const int count = c.group_out - first;
      for (size_t i = begin; i < end; ++i) {
        const size_t index = i * c.out_channels + static_cast<size_t>(g) * c.group_out + first;
        const int8_t* weight = columns.weight + column;
        const uint32_t *from = starts[i - begin], *to = starts[i - begin + 1];
        static_assert(Simd::kBlockVectors == 4, "one case per number of vectors");
        if (vectors == 4) add_rows<4>(c, weight, from, to, affine, a.y, index, count);
        if (vectors == 3) add_rows<3>(c, weight, from, to, affine, a.y, index, count);
        if (vectors == 2) add_rows<2>(c, weight, from, to, affine, a.y, index, count);
        if (vectors == 1) add_rows<1>(c, weight, from, to, affine, a.y, index, count);
      }
      done = first + vectors * Simd::kLanes16;
    }
  }
  return true;
}

// Depthwise: the 32 channels of a word are lanes, each added where its bit is set; neighbours share a weight
// load.
template <int kPixels>
void depthwise_word(const SpikeConvArgs& a, const int8_t* weight, uint32_t stride, const Affine& affine,
                    int word, const Pixel& p) {
  constexpr int kVectors = 32 / Simd::kLanes16;
  const Conv& c = a.conv;
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
      if (adds++ == kMaxInt16Adds) {
        flush();
        adds = 1;
      }
      const int8_t* row = weight + static_cast<size_t>(ky * c.kernel_w + kx) * stride;
      Simd::I16 w[kVectors];
      for (int v = 0; v < kVectors; ++v) w[v] = Simd::widen_s8(row + v * Simd::kLanes16);
      for (int i = 0; i < kPixels; ++i) {
        const int ix = (p.ox + i) * c.stride_w - c.pad_w + kx;
        if (ix < 0 || ix >= c.width) continue;
        const uint32_t bits = static_cast<uint32_t>(line[static_cast<size_t>(ix) * c.in_words]);
        for (int v = 0; v < kVectors; ++v)
          sum[i][v] = Simd::add16_where(sum[i][v], bits >> (v * Simd::kLanes16), w[v]);
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
        depthwise_word<kPixels>(a, weight, stride, affine, word, p);
      for (; p.ox < c.out_w; ++p.ox) depthwise_word<1>(a, weight, stride, affine, word, p);
    }
    return true;
  });
}

bool spike_conv2d(const SpikeConvArgs& a, const svf_parallel* parallel) {
  const Conv& c = a.conv;
  if (c.group_in == 1 && c.group_out == 1) return depthwise_spike_conv2d(a, parallel);
  const Columns columns(c, a.weight, a.bias, a.shift, Simd::kLanes16);
  if (!columns.ok()) return false;
  const size_t pixels = static_cast<size_t>(c.frames) * c.out_h * c.out_w;
  const size_t rows = static_cast<size_t>(c.kernel_h) * c.kernel_w * c.group_in;
  constexpr size_t kMaxTile = 32, kTileRows = 65536;
  const size_t tile = max_of<size_t>(1, min_of(kMaxTile, kTileRows / rows));
  return for_each(parallel, (pixels + tile - 1) / tile, [&](size_t i) {
    Scratch<uint32_t> lists(tile * rows + kRowSlack);
    uint32_t* starts[kMaxTile + 1];
    return lists.ok() &&
           spike_tile(a, columns, i * tile, min_of(pixels, (i + 1) * tile), lists.get(), starts);
  });
}

}  // namespace
}  // namespace svf
#endif
