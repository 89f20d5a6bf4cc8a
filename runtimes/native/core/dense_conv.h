// int8 or uint8 inputs x int8 weights: dot products of a window with the weights of a few vectors of output
// channels, for a tile of pixels of all time steps at once.
#ifndef SVF_DENSE_CONV_H
#define SVF_DENSE_CONV_H

#include "depthwise.h"
#include "dot_tile.h"
#include "epilogue.h"
#include "stages.h"

namespace svf {
namespace {

// How the window of one pixel and one group is cut into lanes of ByteDot::kDepth inputs that stand side by
// side.
struct Window {
  explicit Window(const Conv& c)
      : runs(c.groups == 1 ? c.kernel_h : c.kernel_h * c.kernel_w),
        run(c.groups == 1 ? c.kernel_w * c.group_in : c.group_in),
        run_lanes((run + ByteDot::kDepth - 1) / ByteDot::kDepth),
        lanes(static_cast<size_t>(runs) * run_lanes) {}

  int runs, run, run_lanes;  // a run: inputs side by side
  size_t lanes;
};

// Output channels of a group, cut into blocks of 1, 2, 4, ... vectors.
struct Blocks {
  explicit Blocks(const Conv& c)
      : vectors((c.group_out + Simd::kLanes32 - 1) / Simd::kLanes32), columns(vectors * Simd::kLanes32) {}
  int width(int vector) const {
    int width = ByteDot::kTileVectors;
    while (width > vectors - vector) width /= 2;
    return width;
  }

  int vectors, columns;  // a group, with zero channels behind
};

constexpr size_t kLaneBytes = ByteDot::kDepth * sizeof(ByteDot::Weight);  // weights

// [group, block, lane of the window, column of the block, kDepth] weights, zero beyond runs and channels;
// then the sum of the weights of each column.
size_t byte_weights_size(const Conv& c) {
  const size_t columns = static_cast<size_t>(c.groups) * Blocks(c).columns;
  return columns * (Window(c).lanes * kLaneBytes + sizeof(int32_t));
}

// Where the sums lie.
size_t weight_sums_at(const Conv& c) {
  return static_cast<size_t>(c.groups) * Blocks(c).columns * Window(c).lanes * kLaneBytes;
}

constexpr int kMostColumns = ByteDot::kTileVectors * Simd::kLanes32;  // of a block

void prepare_bytes(const Conv& c, const int8_t* weight, void* prepared) {
  const Window window(c);
  const Blocks blocks(c);
  ByteDot::Weight* out = static_cast<ByteDot::Weight*>(prepared);
  int32_t* sums = reinterpret_cast<int32_t*>(static_cast<char*>(prepared) + weight_sums_at(c));
  for (int g = 0; g < c.groups; ++g)
    for (int vector = 0; vector < blocks.vectors; vector += blocks.width(vector)) {
      const int width = blocks.width(vector) * Simd::kLanes32, first = vector * Simd::kLanes32;
      const int count = min_of(width, c.group_out - first);
      int32_t* sum = sums + static_cast<size_t>(g) * blocks.columns + first;
      memset(sum, 0, static_cast<size_t>(width) * sizeof(int32_t));
      for (int run = 0; run < window.runs; ++run)
        for (int lane = 0; lane < window.run_lanes; ++lane, out += width * ByteDot::kDepth) {
          const int8_t* rows[ByteDot::kDepth];
          int8_t copies[ByteDot::kDepth][kMostColumns];
          for (int i = 0; i < ByteDot::kDepth; ++i) {
            const int in = lane * ByteDot::kDepth + i, there = in < window.run ? count : 0;
            const size_t row = static_cast<size_t>(run) * window.run + in;
            rows[i] = weight + row * c.out_channels + static_cast<size_t>(g) * c.group_out + first;
            if (there == width) continue;
            memset(copies[i], 0, kMostColumns);
            if (there > 0) memcpy(copies[i], rows[i], static_cast<size_t>(there));
            rows[i] = copies[i];
          }
          for (int column = 0; column < width; ++column)
            for (int i = 0; i < ByteDot::kDepth; ++i) out[column * ByteDot::kDepth + i] = rows[i][column];
          for (int i = 0; i < ByteDot::kDepth; ++i)
            for (int column = 0; column < width; ++column) sum[column] += rows[i][column];
        }
    }
}

// The input as ByteDot takes it, inside a frame of zeros: a window never needs a bounds check. Where it takes
// bytes, a zero is the byte that stands for it, and the sums are corrected by the sums of the weights.
class PaddedFrames {
 public:
  typedef ByteDot::Input Input;
  explicit PaddedFrames(const Conv& c)
      : conv_(c),
        width_(static_cast<size_t>(c.width) + 2 * c.pad_w),
        height_(static_cast<size_t>(c.height) + 2 * c.pad_h),
        data_(c.frames * height_ * width_ * c.in_channels + ByteDot::kDepth) {}
  bool ok() const { return data_.ok(); }

  static constexpr bool kBytes = sizeof(ByteDot::Input) == 1;
  static int zero(const Conv& c) { return kBytes ? static_cast<Input>(c.zero_point + offset(c)) : 0; }

  bool fill(const DenseConvArgs& a, const svf_parallel* parallel) {
    constexpr size_t kLines = 16;  // a task
    const size_t lines = conv_.frames * height_;
    return for_each(parallel, (lines + kLines - 1) / kLines, [&](size_t task) {
      for (size_t line = task * kLines; line < min_of(lines, (task + 1) * kLines); ++line) fill_line(a, line);
      return true;
    });
  }

  // What the window of group 0 sees first.
  const Input* corner(const Pixel& p) const {
    const Conv& c = conv_;
    return data_.get() + ((p.t * height_ + static_cast<size_t>(p.oy) * c.stride_h) * width_ +
                          static_cast<size_t>(p.ox) * c.stride_w) *
                             c.in_channels;
  }

  // Where the lanes of a window lie, from its corner on.
  void offsets(const Window& window, uint32_t* out) const {
    for (int run = 0; run < window.runs; ++run) {
      const size_t position =
          conv_.groups == 1 ? run * width_ : run / conv_.kernel_w * width_ + run % conv_.kernel_w;
      for (int lane = 0; lane < window.run_lanes; ++lane)
        *out++ =
            static_cast<uint32_t>(position * conv_.in_channels + static_cast<size_t>(lane) * ByteDot::kDepth);
    }
  }

 private:
  // From the input type to ByteDot's, where that is a byte too.
  static int offset(const Conv& c) {
    constexpr bool kSigned = Input(-1) < Input(0);
    return (kSigned ? 0 : 128) - (c.input_is_signed ? 0 : 128);
  }

  template <typename T>
  static void convert(const T* from, size_t n, int offset, Input* out) {
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<Input>(from[i] + offset);
  }

  void fill_line(const DenseConvArgs& a, size_t line) {
    const Conv& c = conv_;
    Input* out = data_.get() + line * width_ * c.in_channels;
    const Input border = static_cast<Input>(zero(c));
    const int row = static_cast<int>(line % height_) - c.pad_h;
    const bool inside = row >= 0 && row < c.height;
    const size_t n = static_cast<size_t>(c.width) * c.in_channels,
                 side = static_cast<size_t>(c.pad_w) * c.in_channels;
    for (size_t i = 0; i < (inside ? side : n + side); ++i) out[i] = border;
    for (size_t i = side + n; i < n + 2 * side; ++i) out[i] = border;
    if (!inside) return;
    const size_t from = (line / height_ * c.height + row) * n;
    const int add = kBytes ? offset(c) : -c.zero_point;
    c.input_is_signed ? convert(static_cast<const int8_t*>(a.x) + from, n, add, out + side)
                      : convert(static_cast<const uint8_t*>(a.x) + from, n, add, out + side);
  }

  const Conv& conv_;
  size_t width_, height_;
  Scratch<Input> data_;
};

// What a tile needs of one convolution.
struct ByteConv {
  const Conv& conv;
  const PaddedFrames& frames;
  const Window window;
  const Blocks blocks;
  const uint32_t* offsets;
  const ByteDot::Weight* weight;
  const int32_t* starts;  // [groups, columns]
  const Epilogue& epilogue;
};

// Positions [begin, end) of every frame, output channels of the groups [group, group_end).
bool byte_tile(const ByteConv& b, int begin, int end, int group, int group_end) {
  const Conv& c = b.conv;
  const size_t count = static_cast<size_t>(end - begin), pixels = count * c.frames;
  const int channel = group * c.group_out, channels = (group_end - group) * c.group_out;
  const size_t words = static_cast<size_t>(channels + kWordChannels - 1) / kWordChannels;
  const size_t step =
      words * kWordChannels + Simd::kLanes32;  // the last group's last vector may end beyond its word
  Scratch<const ByteDot::Input*> x(pixels);
  Scratch<int32_t> sums(pixels * step), u(b.epilogue.has_lif() ? count * words * kWordChannels : 0);
  if (!x.ok() || !sums.ok() || !u.ok()) return false;
  memset(sums.get(), 0, pixels * step * sizeof(int32_t));
  for (int g = group; g < group_end; ++g) {
    for (size_t i = 0; i < pixels;) {
      Pixel p{static_cast<int>(i / count), begin / c.out_w, begin % c.out_w};
      for (const size_t frame_end = i + count; i < frame_end; ++i) {
        x[i] = b.frames.corner(p) + static_cast<size_t>(g) * c.group_in;
        if (++p.ox == c.out_w) {
          p.ox = 0;
          ++p.oy;
        }
      }
    }
    const size_t column = static_cast<size_t>(g) * b.blocks.columns;
    const ByteDot::Weight* weight = b.weight + column * b.window.lanes * ByteDot::kDepth;
    for (int vector = 0; vector < b.blocks.vectors;) {
      const int width = b.blocks.width(vector), first = vector * Simd::kLanes32;
      const auto run = width == 4   ? multiply_tile<ByteDot, 4>
                       : width == 2 ? multiply_tile<ByteDot, 2>
                                    : multiply_tile<ByteDot, 1>;
      run(x.get(), pixels,
          {b.offsets, b.window.lanes, weight, static_cast<size_t>(width) * Simd::kLanes32 * ByteDot::kDepth,
           b.starts + column + first, 0, step},
          sums.get() + static_cast<size_t>(g - group) * c.group_out + first);
      weight += b.window.lanes * width * Simd::kLanes32 * ByteDot::kDepth;
      vector += width;
    }
  }
  for (size_t word = 0; word < words; ++word)
    for (int t = 0; t < c.frames; ++t)
      b.epilogue.finish({sums.get() + t * count * step + word * kWordChannels, step,
                         b.epilogue.has_lif() ? u.get() + word * count * kWordChannels : nullptr,
                         channel / kWordChannels + static_cast<int>(word),
                         static_cast<size_t>(t) * c.out_h * c.out_w + begin, static_cast<int>(count)});
  return true;
}

bool conv2d(const DenseConvArgs& a, const svf_parallel* parallel) {
  const Conv& c = a.conv;
  if (c.group_in == 1 && c.group_out == 1 && c.out_channels >= Simd::kLanes16)
    return a.lif == nullptr ? depthwise_bytes(a, parallel)
                            : convolve_in_stages(a, depthwise_bytes, lif, parallel);
  const Window window(c);
  const Blocks blocks(c);
  const size_t columns = static_cast<size_t>(c.groups) * blocks.columns;
  Scratch<char> made(a.prepared == nullptr ? byte_weights_size(c) : 0);
  Scratch<uint32_t> offsets(window.lanes);
  Scratch<int32_t> starts(columns);
  PaddedFrames frames(c);
  const int positions = c.out_h * c.out_w;
  const Epilogue epilogue(c.out_channels, c.frames, positions, a.bias, a.shift, a.y, c.saturate, a.lif);
  if (!made.ok() || !offsets.ok() || !starts.ok() || !frames.ok() || !epilogue.ok()) return false;
  if (a.prepared == nullptr) prepare_bytes(c, a.weight, made.get());
  const void* weights = a.prepared == nullptr ? made.get() : a.prepared;
  const int32_t* weight_sums =
      reinterpret_cast<const int32_t*>(static_cast<const char*>(weights) + weight_sums_at(c));
  for (size_t i = 0; i < columns; ++i) starts[i] = -PaddedFrames::zero(c) * weight_sums[i];
  frames.offsets(window, offsets.get());
  if (!frames.fill(a, parallel)) return false;
  const ByteConv b{c,
                   frames,
                   window,
                   blocks,
                   offsets.get(),
                   static_cast<const ByteDot::Weight*>(weights),
                   starts.get(),
                   epilogue};
  // Sums of a tile stay in the first cache; groups are shared out where there are few tiles.
  constexpr size_t kTileSums = 8192, kTasks = 8;
  const int most = static_cast<int>(kTileSums / (static_cast<size_t>(c.frames) * c.out_channels));
  const int tile = min_of(positions, max_of(1, min_of(64, most)));
  const size_t tiles = static_cast<size_t>((positions + tile - 1) / tile);
  const bool whole_words = c.group_out % kWordChannels == 0;
  const int parts =
      whole_words ? static_cast<int>(min_of<size_t>(c.groups, (kTasks + tiles - 1) / tiles)) : 1;
  return for_each(parallel, tiles * parts, [&](size_t task) {
    const int begin = static_cast<int>(task / parts) * tile, part = static_cast<int>(task % parts);
    return byte_tile(b, begin, min_of(positions, begin + tile),
                     static_cast<int>(static_cast<int64_t>(c.groups) * part / parts),
                     static_cast<int>(static_cast<int64_t>(c.groups) * (part + 1) / parts));
  });
}

}  // namespace
}  // namespace svf
#endif
