// Adds the weight rows of the active inputs, once for each thermometer plane that has them set: the
// event-driven form of a spike convolution, for the positions of a tile.
#ifndef SVF_EVENT_TILE_H
#define SVF_EVENT_TILE_H

#include <type_traits>

#include "simd_common.h"

namespace svf {
namespace {

constexpr int kEventBlock =
    64;  // output channels whose rows lie together, so that rows of a block share caches

// Output channels of a group whose sums are computed: whole vectors.
int event_width(const Conv& c) {
  return (c.group_out + Simd::kLanes16 - 1) / Simd::kLanes16 * Simd::kLanes16;
}

// Bytes of one block: rows [kernel_h, kernel_w, group_in] of kEventBlock channels.
size_t event_block_size(const Conv& c) {
  return static_cast<size_t>(c.kernel_h) * c.kernel_w * c.group_in * kEventBlock;
}

int event_blocks(const Conv& c) { return (c.group_out + kEventBlock - 1) / kEventBlock; }  // of a group

// [groups, event_blocks, event_block_size], zeros beyond the channels.
size_t event_weights_size(const Conv& c) {
  return static_cast<size_t>(c.groups) * event_blocks(c) * event_block_size(c);
}

void prepare_event(const Conv& c, const int8_t* weight, void* prepared) {
  const size_t rows = event_block_size(c) / kEventBlock;
  int8_t* out = static_cast<int8_t*>(prepared);
  for (int g = 0; g < c.groups; ++g)
    for (int first = 0; first < c.group_out; first += kEventBlock) {
      const int8_t* from = weight + static_cast<size_t>(g) * c.group_out + first;
      const size_t width = static_cast<size_t>(min_of(kEventBlock, c.group_out - first));
      for (size_t row = 0; row < rows; ++row, from += c.out_channels, out += kEventBlock) {
        memcpy(out, from, width);
        memset(out + width, 0, kEventBlock - width);
      }
    }
}

size_t set_bits(const int32_t* words, size_t n) {
  size_t count = 0, i = 0;
  for (; i + 2 <= n; i += 2) {
    uint64_t bits;
    memcpy(&bits, words + i, sizeof bits);
    count += static_cast<size_t>(__builtin_popcountll(bits));
  }
  if (i < n) count += static_cast<size_t>(__builtin_popcount(static_cast<uint32_t>(words[i])));
  return count;
}

// Memory that grows; what was in it is lost then.
template <typename T>
class Growing {
 public:
  ~Growing() { release_scratch(data_, count_ * sizeof(T)); }
  Growing() = default;
  Growing(const Growing&) = delete;
  Growing& operator=(const Growing&) = delete;
  bool reserve(size_t count) {
    if (count <= count_) return true;
    release_scratch(data_, count_ * sizeof(T));
    data_ = static_cast<T*>(allocate_scratch(count * sizeof(T)));
    count_ = data_ == nullptr ? 0 : count;
    return data_ != nullptr;
  }
  T* get() { return data_; }

 private:
  T* data_ = nullptr;
  size_t count_ = 0;
};

// Appends the offsets of the weight rows that one input position adds under the first tap, for one group.
uint32_t* active_rows(const Conv& c, const int32_t* words, int group, uint32_t* end) {
  const int first = group * c.group_in, last = first + c.group_in;  // channels
  for (int w = first / 32; w * 32 < last; ++w) {
    uint32_t bits = static_cast<uint32_t>(words[w]);
    if (w * 32 < first) bits &= ~0u << (first - w * 32);
    if (w * 32 + 32 > last) bits &= ~0u >> (w * 32 + 32 - last);
    // Modulo 2^32: for a group that starts inside the word, bit 0 lies before the group's first row.
    const uint32_t row = static_cast<uint32_t>(w * 32) - static_cast<uint32_t>(first);
    end = Simd::append_rows(end, bits, row * kEventBlock, kEventBlock);
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

// Sums of kChannels channels of int8 rows in int16, at most kMaxInt16Adds rows at a time.
template <typename S>
struct WidenedRows {
  static constexpr int kChannels = S::kLanes16;
  typename S::I16 sum = S::zero16();
  void add(const int8_t* row) { sum = S::add16(sum, S::widen_s8(row)); }
  void total(Simd::I32* out) const {
    out[0] = S::low32(sum);
    out[1] = S::high32(sum);
  }
};

// What an instruction set provides for several vectors' worth of channels, if it does.
template <typename S, typename = void>
struct RowsOf {
  typedef WidenedRows<S> Type;
};
template <typename S>
struct RowsOf<S, std::void_t<typename S::Rows>> {
  typedef typename S::Rows Type;
};

// One position, kBlocks * Rows::kChannels output channels.
template <typename Rows, int kBlocks>
void add_rows(const int8_t* weight, const uint32_t* row, const uint32_t* end, int32_t* acc) {
  constexpr int kVectors = Rows::kChannels / Simd::kLanes32;
  Simd::I32 wide[kBlocks][kVectors];
  for (int b = 0; b < kBlocks; ++b)
    for (int v = 0; v < kVectors; ++v) wide[b][v] = Simd::zero32();
  do {
    Rows sum[kBlocks];
    const uint32_t* stop = end - row > kMaxInt16Adds ? row + kMaxInt16Adds : end;
    for (; row != stop; ++row)
      for (int b = 0; b < kBlocks; ++b) sum[b].add(weight + *row + b * Rows::kChannels);
    for (int b = 0; b < kBlocks; ++b) {
      Simd::I32 total[kVectors];
      sum[b].total(total);
      for (int v = 0; v < kVectors; ++v) wide[b][v] = Simd::add32(wide[b][v], total[v]);
    }
  } while (row != end);
  for (int b = 0; b < kBlocks; ++b)
    for (int v = 0; v < kVectors; ++v)
      Simd::store32(acc + b * Rows::kChannels + v * Simd::kLanes32, wide[b][v]);
}

// The rows that are active under an output tile, for one group.
class ActiveTile {
 public:
  ActiveTile(const Conv& c, int lines, int columns)
      : conv_(c),
        lines_(lines),
        columns_(columns),
        in_rows_((lines - 1) * c.stride_h + c.kernel_h),
        in_columns_((columns - 1) * c.stride_w + c.kernel_w),
        starts_(static_cast<size_t>(in_rows_) * in_columns_ + 1) {}
  bool ok() const { return starts_.ok(); }

  // How many bits of all planes are set in the window of frame t under the output position (oy, ox).
  size_t spikes(const int32_t* x, int t, int oy, int ox) const {
    size_t count = 0;
    over_lines(x, t, oy, ox, [&](int, int, int positions, const int32_t* words) {
      for (int level = 0; level < conv_.levels; ++level, words += conv_.plane)
        count += set_bits(words, static_cast<size_t>(positions) * conv_.in_words);
    });
    return count;
  }
  // Inputs in that window, as far as it lies in the frame.
  size_t inputs(const int32_t* x, int oy, int ox) const {
    size_t count = 0;
    over_lines(x, 0, oy, ox,
               [&](int, int, int positions, const int32_t*) { count += static_cast<size_t>(positions); });
    return count * conv_.in_channels;
  }

  // Lists the active rows; `spikes` is at least their number.
  bool fill(const int32_t* x, int t, int oy, int ox, int group, size_t spikes) {
    if (!rows_.reserve(spikes + kRowSlack)) return false;
    uint32_t* end = rows_.get();
    size_t position = 0;
    longest_ = 0;
    over_lines(x, t, oy, ox, [&](int row, int first, int positions, const int32_t* words) {
      const size_t at = static_cast<size_t>(row) * in_columns_ + first;
      for (; position <= at; ++position) starts_[position] = static_cast<size_t>(end - rows_.get());
      for (int i = 0; i < positions; ++i, words += conv_.in_words) {
        const uint32_t* begin = end;
        for (int level = 0; level < conv_.levels; ++level)
          end = active_rows(conv_, words + level * conv_.plane, group, end);
        longest_ = max_of(longest_, static_cast<size_t>(end - begin));
        starts_[position++] = static_cast<size_t>(end - rows_.get());
      }
    });
    for (; position <= static_cast<size_t>(in_rows_) * in_columns_; ++position)
      starts_[position] = static_cast<size_t>(end - rows_.get());
    return true;
  }

  // Sums of the channels [first, end) of the group that `weight` belongs to, end - first in whole vectors of
  // kLanes16: acc [lines * columns, step].
  bool add(const int8_t* weight, int first, int end, int32_t* acc, size_t step) {
    const Conv& c = conv_;
    const bool join = c.kernel_h * c.kernel_w > 1;
    if (join &&
        !joined_.reserve(kPixels * static_cast<size_t>(c.kernel_h) * c.kernel_w * longest_ + kRowSlack))
      return false;
    const int total = lines_ * columns_;
    for (int begin = 0; begin < total; begin += kPixels) {
      const int pixels = min_of(kPixels, total - begin);
      const uint32_t *from[kPixels], *to[kPixels];
      uint32_t* next = joined_.get();
      for (int i = 0; i < pixels; ++i) {
        const size_t corner = static_cast<size_t>((begin + i) / columns_) * c.stride_h * in_columns_ +
                              static_cast<size_t>((begin + i) % columns_) * c.stride_w;
        if (!join) {  // read in place
          from[i] = rows_.get() + starts_[corner];
          to[i] = rows_.get() + starts_[corner + 1];
          continue;
        }
        from[i] = next;
        for (int ky = 0; ky < c.kernel_h; ++ky)
          for (int kx = 0; kx < c.kernel_w; ++kx) {
            const size_t position = corner + static_cast<size_t>(ky) * in_columns_ + kx;
            const uint32_t tap = static_cast<uint32_t>((ky * c.kernel_w + kx) * c.group_in);
            next = append_shifted(next, rows_.get() + starts_[position], rows_.get() + starts_[position + 1],
                                  tap * kEventBlock);
          }
        to[i] = next;
      }
      for (int channel = first; channel < end;) {
        const int8_t* block = weight + channel / kEventBlock * event_block_size(c) + channel % kEventBlock;
        const int left = min_of(kEventBlock - channel % kEventBlock, end - channel);
        const bool whole = left == kEventBlock;
        const auto run =
            whole ? add_rows<Rows, kEventBlock / Rows::kChannels> : add_rows<WidenedRows<Simd>, 1>;
        for (int i = 0; i < pixels; ++i)
          run(block, from[i], to[i], acc + static_cast<size_t>(begin + i) * step + (channel - first));
        channel += whole ? kEventBlock : Simd::kLanes16;
      }
    }
    return true;
  }

 private:
  typedef RowsOf<Simd>::Type Rows;
  static constexpr int kPixels = 32;  // output positions whose joined lists are kept while weights are read

  // Calls with (row, first column, positions, words) for each line of the window that lies in the frame.
  template <typename Line>
  void over_lines(const int32_t* x, int t, int oy, int ox, const Line& line) const {
    const Conv& c = conv_;
    const int y0 = oy * c.stride_h - c.pad_h, x0 = ox * c.stride_w - c.pad_w;
    const int first = max_of(0, -x0), last = min_of(in_columns_, c.width - x0);
    for (int row = max_of(0, -y0); row < min_of(in_rows_, c.height - y0); ++row)
      if (first < last)
        line(row, first, last - first,
             x + ((static_cast<size_t>(t) * c.height + y0 + row) * c.width + x0 + first) * c.in_words);
  }

  const Conv& conv_;
  int lines_, columns_, in_rows_, in_columns_;
  size_t longest_ = 0;
  Scratch<size_t> starts_;  // of the positions of the window in rows_
  Growing<uint32_t> rows_, joined_;
};

}  // namespace
}  // namespace svf
#endif
