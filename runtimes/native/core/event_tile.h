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

constexpr int kRowStep = 4;  // lists of rows are as long as a multiple of it, by zero rows at their ends

// Sums of kChannels channels of int8 rows in int16, at most kMaxInt16Adds rows at a time.
template <typename S>
struct WidenedRows {
  static constexpr int kChannels = S::kLanes16;
  typename S::I16 sum;
  void begin(int) { sum = S::zero16(); }
  void add(const int8_t* row) { sum = S::add16(sum, S::widen_s8(row)); }
  void total(Simd::I32* out) const {
    out[0] = S::low32(sum);
    out[1] = S::high32(sum);
  }
  static void order(int8_t*) {}
};

// How a set adds rows: what it has for a whole block, and for the last channels of a group. `order` brings
// kEventBlock channels of a row into the order that both read.
template <typename S, typename = void>
struct RowsOf {
  typedef WidenedRows<S> Whole, Last;
};
template <typename S>
struct RowsOf<S, std::void_t<typename S::Rows>> {
  typedef typename S::Rows Whole;
  typedef typename S::LastRows Last;
};
typedef RowsOf<Simd>::Whole WholeRows;
typedef RowsOf<Simd>::Last LastRows;

// Output channels of a group whose sums are computed.
int event_width(const Conv& c) {
  return (c.group_out + LastRows::kChannels - 1) / LastRows::kChannels * LastRows::kChannels;
}

size_t event_inputs(const Conv& c) { return static_cast<size_t>(c.kernel_h) * c.kernel_w * c.group_in; }

// Where the zero row of a block begins.
size_t event_zero_row(const Conv& c) { return event_inputs(c) * kEventBlock; }

// Bytes of one block: rows [kernel_h, kernel_w, group_in] of kEventBlock channels, and one of zeros.
size_t event_block_size(const Conv& c) { return event_zero_row(c) + kEventBlock; }

int event_blocks(const Conv& c) { return (c.group_out + kEventBlock - 1) / kEventBlock; }  // of a group

// [groups, event_blocks, event_block_size], zeros beyond the channels.
size_t event_weights_size(const Conv& c) {
  return static_cast<size_t>(c.groups) * event_blocks(c) * event_block_size(c);
}

void prepare_event(const Conv& c, const int8_t* weight, void* prepared) {
  const size_t rows = event_inputs(c);
  int8_t* out = static_cast<int8_t*>(prepared);
  for (int g = 0; g < c.groups; ++g)
    for (int first = 0; first < c.group_out; first += kEventBlock) {
      const int8_t* from = weight + static_cast<size_t>(g) * c.group_out + first;
      const size_t width = static_cast<size_t>(min_of(kEventBlock, c.group_out - first));
      for (size_t row = 0; row <= rows; ++row, from += c.out_channels, out += kEventBlock) {
        memset(out, 0, kEventBlock);
        if (row < rows) memcpy(out, from, width);
        WholeRows::order(out);
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

// Appends the offsets of the weight rows that one input position adds under the first tap, for one group, and
// `row` rows more.
uint32_t* active_rows(const Conv& c, const int32_t* words, int group, uint32_t row, uint32_t* end) {
  const int first = group * c.group_in, last = first + c.group_in;  // channels
  for (int w = first / 32; w * 32 < last; ++w) {
    uint32_t bits = static_cast<uint32_t>(words[w]);
    if (w * 32 < first) bits &= ~0u << (first - w * 32);
    if (w * 32 + 32 > last) bits &= ~0u >> (w * 32 + 32 - last);
    // Modulo 2^32: for a group that starts inside the word, bit 0 lies before the group's first row.
    const uint32_t at = row + static_cast<uint32_t>(w * 32) - static_cast<uint32_t>(first);
    end = Simd::append_rows(end, bits, at * kEventBlock, kEventBlock);
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

// Makes the list [begin, end) as long as a multiple of kRowStep. Writes kRowStep entries from its end on.
uint32_t* fill_up(const uint32_t* begin, uint32_t* end, uint32_t zero_row) {
  for (int i = 0; i < kRowStep; ++i) end[i] = zero_row;
  return end + ((begin - end) & (kRowStep - 1));
}

// One position, kBlocks * Rows::kChannels output channels.
template <typename Rows, int kBlocks>
void add_rows(const int8_t* weight, const uint32_t* row, const uint32_t* end, int32_t* acc) {
  constexpr int kVectors = Rows::kChannels / Simd::kLanes32;
  Simd::I32 wide[kBlocks][kVectors];
  for (int b = 0; b < kBlocks; ++b)
    for (int v = 0; v < kVectors; ++v) wide[b][v] = Simd::zero32();
  do {
    const uint32_t* stop = end - row > kMaxInt16Adds ? row + kMaxInt16Adds : end;
    const int count = static_cast<int>(stop - row);
    Rows sum[kBlocks];
    for (int b = 0; b < kBlocks; ++b) sum[b].begin(count);
    for (; row != stop; row += kRowStep) SVF_UNROLL
    for (int i = 0; i < kRowStep; ++i)
      for (int b = 0; b < kBlocks; ++b) sum[b].add(weight + row[i] + b * Rows::kChannels);
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

  // Lists the active rows; `spikes` is at least their number. Those of neighbours in a line lie one after the
  // other, and a position's rows come behind its left neighbour's: under a line of taps they are one list.
  bool fill(const int32_t* x, int t, int oy, int ox, int group, size_t spikes) {
    const Conv& c = conv_;
    const size_t positions_in = static_cast<size_t>(in_rows_) * in_columns_;
    if (!rows_.reserve(spikes + (joins() ? 0 : positions_in * (kRowStep - 1)) + kRowSlack)) return false;
    const uint32_t across = c.kernel_w > 1 ? static_cast<uint32_t>(c.group_in) : 0;
    const uint32_t zero_row = static_cast<uint32_t>(event_zero_row(c));
    uint32_t* end = rows_.get();
    size_t position = 0;
    longest_ = 0;
    over_lines(x, t, oy, ox, [&](int row, int first, int positions, const int32_t* words) {
      const size_t at = static_cast<size_t>(row) * in_columns_ + first;
      for (; position <= at; ++position) starts_[position] = static_cast<size_t>(end - rows_.get());
      for (int i = 0; i < positions; ++i, words += c.in_words) {
        const uint32_t* begin = end;
        for (int level = 0; level < c.levels; ++level)
          end =
              active_rows(c, words + level * c.plane, group, static_cast<uint32_t>(first + i) * across, end);
        if (!joins()) end = fill_up(begin, end, zero_row);
        longest_ = max_of(longest_, static_cast<size_t>(end - begin));
        starts_[position++] = static_cast<size_t>(end - rows_.get());
      }
    });
    for (; position <= positions_in; ++position) starts_[position] = static_cast<size_t>(end - rows_.get());
    return true;
  }

  // Sums of the channels [first, end) of the group that `weight` belongs to, end - first in whole vectors of
  // LastRows: acc [lines * columns, step].
  bool add(const int8_t* weight, int first, int end, int32_t* acc, size_t step) {
    const Conv& c = conv_;
    const size_t taps = static_cast<size_t>(c.kernel_h) * c.kernel_w;
    if (joins() && !joined_.reserve(kPixels * (taps * longest_ + kRowStep) + kRowSlack)) return false;
    const uint32_t zero_row = static_cast<uint32_t>(event_zero_row(c));
    const int total = lines_ * columns_;
    for (int begin = 0; begin < total; begin += kPixels) {
      const int pixels = min_of(kPixels, total - begin);
      const uint32_t *from[kPixels], *to[kPixels];
      uint32_t* next = joined_.get();
      for (int i = 0; i < pixels; ++i) {
        const int column = (begin + i) % columns_ * c.stride_w;
        const size_t corner = static_cast<size_t>((begin + i) / columns_) * c.stride_h * in_columns_ + column;
        if (!joins()) {  // read in place
          from[i] = rows_.get() + starts_[corner];
          to[i] = rows_.get() + starts_[corner + 1];
          continue;
        }
        from[i] = next;
        for (int ky = 0; ky < c.kernel_h; ++ky) {
          const size_t position = corner + static_cast<size_t>(ky) * in_columns_;
          const int taps_before = ky * c.kernel_w - (c.kernel_w > 1 ? column : 0);
          next = append_shifted(next, rows_.get() + starts_[position],
                                rows_.get() + starts_[position + c.kernel_w],
                                static_cast<uint32_t>(taps_before * c.group_in) * kEventBlock);
        }
        next = fill_up(from[i], next, zero_row);
        to[i] = next;
      }
      for (int channel = first; channel < end;) {
        const int8_t* block = weight + channel / kEventBlock * event_block_size(c) + channel % kEventBlock;
        const int left = min_of(kEventBlock - channel % kEventBlock, end - channel);
        const bool whole = left == kEventBlock;
        const auto run =
            whole ? add_rows<WholeRows, kEventBlock / WholeRows::kChannels> : add_rows<LastRows, 1>;
        for (int i = 0; i < pixels; ++i)
          run(block, from[i], to[i], acc + static_cast<size_t>(begin + i) * step + (channel - first));
        channel += whole ? kEventBlock : LastRows::kChannels;
      }
    }
    return true;
  }

 private:
  static constexpr int kPixels = 32;  // output positions whose joined lists are kept while weights are read

  bool joins() const { return conv_.kernel_h * conv_.kernel_w > 1; }

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
