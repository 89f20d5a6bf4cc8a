// Packed spikes x int8 weights: adds the weight rows of the active inputs (event-driven), once in each
// thermometer plane that has them set.
#ifndef SVF_SPIKE_CONV_H
#define SVF_SPIKE_CONV_H

#include "depthwise.h"
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

bool spike_conv2d(const SpikeConvArgs& a, const svf_parallel* parallel) {
  if (a.lif != nullptr) return convolve_in_stages(a, spike_conv2d, lif, parallel);
  const Conv& c = a.conv;
  if (c.group_in == 1 && c.group_out == 1) return depthwise_spikes(a, parallel);
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
