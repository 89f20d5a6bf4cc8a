// int8 or uint8 inputs x int8 weights: int16 pairs multiplied and added into int32.
#ifndef SVF_DENSE_CONV_H
#define SVF_DENSE_CONV_H

#include "depthwise.h"
#include "lif.h"
#include "simd_common.h"
#include "stages.h"

namespace svf {
namespace {

constexpr size_t kCopyStep = 16;  // int16 values; copies may write that many past their end

template <typename T>
void widen_run(const T* from, size_t n, int zero_point, int16_t* out) {
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<int16_t>(from[i] - zero_point);
}

// The input less its zero point, as int16, inside a frame of zeros: a window never needs a bounds check.
class PaddedFrames {
 public:
  explicit PaddedFrames(const Conv& c)
      : conv_(c),
        width_(static_cast<size_t>(c.width) + 2 * c.pad_w),
        height_(static_cast<size_t>(c.height) + 2 * c.pad_h),
        data_(c.frames * height_ * width_ * c.in_channels + kCopyStep) {}
  bool ok() const { return data_.ok(); }

  bool fill(const DenseConvArgs& a, const svf_parallel* parallel) {
    return for_each(parallel, conv_.frames * height_, [&](size_t line) {
      const Conv& c = conv_;
      int16_t* out = data_.get() + line * width_ * c.in_channels;
      const int row = static_cast<int>(line % height_) - c.pad_h;
      memset(out, 0, width_ * c.in_channels * sizeof(int16_t));
      if (row < 0 || row >= c.height) return true;
      const size_t n = static_cast<size_t>(c.width) * c.in_channels;
      const size_t from = (line / height_ * c.height + row) * n;
      out += static_cast<size_t>(c.pad_w) * c.in_channels;
      c.input_is_signed ? widen_run(static_cast<const int8_t*>(a.x) + from, n, c.zero_point, out)
                        : widen_run(static_cast<const uint8_t*>(a.x) + from, n, c.zero_point, out);
      return true;
    });
  }

  // What one output pixel sees of one group, [kernel_h, kernel_w, group_in].
  void window(const Pixel& p, int group, int16_t* out) const {
    const Conv& c = conv_;
    const int16_t* corner = data_.get() + ((p.t * height_ + static_cast<size_t>(p.oy) * c.stride_h) * width_ +
                                           static_cast<size_t>(p.ox) * c.stride_w) *
                                              c.in_channels;
    // Neighbours in a line are neighbours in memory, unless groups lie between them.
    const int runs = c.groups == 1 ? 1 : c.kernel_w;
    const size_t run = static_cast<size_t>(c.kernel_w / runs) * c.group_in;
    for (int ky = 0; ky < c.kernel_h; ++ky)
      for (int r = 0; r < runs; ++r, out += run)
        copy(corner + (ky * width_ + r) * c.in_channels + static_cast<size_t>(group) * c.group_in, run, out);
  }

 private:
  static void copy(const int16_t* from, size_t n, int16_t* out) {
    for (size_t i = 0; i < n; i += kCopyStep) memcpy(out + i, from + i, kCopyStep * sizeof(int16_t));
  }

  const Conv& conv_;
  size_t width_, height_;
  Scratch<int16_t> data_;
};

// One block of output channels: where its weights, its bias and its outputs start.
struct Block {
  const int8_t* weight;
  uint32_t stride;
  Affine affine;
  int count;     // channels to write
  size_t index;  // of the first channel of the first pixel
};

// kPixels pixels x kVectors * kLanes32 output channels over `rows` inputs (x is padded to an even number).
template <int kPixels, int kVectors>
void multiply(const Conv& c, const int16_t* x, size_t x_stride, int rows, const Block& block, void* y,
              size_t index) {
  Simd::I32 sum[kPixels][kVectors];
  for (int i = 0; i < kPixels; ++i)
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Simd::zero32();
  const int8_t* weight = block.weight;
  for (int row = 0; row < rows; row += 2, weight += 2 * static_cast<size_t>(block.stride)) {
    const int8_t* second = row + 1 < rows ? weight + block.stride : weight;  // x is zero there
    for (int v = 0; v < kVectors; ++v) {
      const Simd::I16 w = Simd::pair_rows(weight + v * Simd::kLanes32, second + v * Simd::kLanes32);
      for (int i = 0; i < kPixels; ++i) sum[i][v] = Simd::add_products(sum[i][v], w, x + i * x_stride + row);
    }
  }
  for (int i = 0; i < kPixels; ++i)
    for (int v = 0; v < kVectors; ++v) {
      const int lane = v * Simd::kLanes32;
      store_lanes(c, y, index + static_cast<size_t>(i) * c.out_channels + lane,
                  rescale(sum[i][v], block.affine + lane), block.count - lane);
    }
}

// All pixels of a tile, kPixels at a time and the rest in halves of that.
template <int kPixels, int kVectors>
void multiply_pixels(const Conv& c, const int16_t* x, size_t x_stride, size_t pixels, int rows,
                     const Block& block, void* y, size_t index) {
  for (; pixels >= kPixels; pixels -= kPixels) {
    multiply<kPixels, kVectors>(c, x, x_stride, rows, block, y, index);
    x += kPixels * x_stride;
    index += static_cast<size_t>(kPixels) * c.out_channels;
  }
  if constexpr (kPixels > 1)
    multiply_pixels<kPixels / 2, kVectors>(c, x, x_stride, pixels, rows, block, y, index);
}

// x: windows of `pixels` consecutive output pixels, the first being `begin`.
void multiply_tile(const Conv& c, const Columns& columns, int group, const int16_t* x, size_t x_stride,
                   size_t begin, size_t pixels, void* y) {
  const int width = columns.group_width, rows = c.kernel_h * c.kernel_w * c.group_in;
  for (int done = 0; done < width;) {
    const int vectors = width - done >= 2 * Simd::kLanes32 ? 2 : 1;
    const int first = min_of(done, width - vectors * Simd::kLanes32);  // the last block may overlap
    const int column = group * width + first;
    const Block block{columns.weight + column, columns.stride, columns.affine + column, c.group_out - first,
                      begin * c.out_channels + static_cast<size_t>(group) * c.group_out + first};
    const auto run =
        vectors == 2 ? multiply_pixels<Simd::kTilePixels, 2> : multiply_pixels<Simd::kTilePixels, 1>;
    run(c, x, x_stride, pixels, rows, block, y, block.index);
    done = first + vectors * Simd::kLanes32;
  }
}

bool conv2d(const DenseConvArgs& a, const svf_parallel* parallel) {
  if (a.lif != nullptr) return convolve_in_stages(a, conv2d, lif, parallel);
  const Conv& c = a.conv;
  const size_t pixels = static_cast<size_t>(c.frames) * c.out_h * c.out_w;
  constexpr size_t kTile = 32;
  const size_t tiles = (pixels + kTile - 1) / kTile;
  if (c.group_in == 1 && c.group_out == 1 && c.out_channels >= Simd::kLanes16)
    return depthwise_bytes(a, parallel);
  const Columns columns(c, a.weight, a.bias, a.shift, Simd::kLanes32);
  PaddedFrames frames(c);
  if (!columns.ok() || !frames.ok() || !frames.fill(a, parallel)) return false;
  const size_t rows = static_cast<size_t>(c.kernel_h) * c.kernel_w * c.group_in;
  const size_t x_stride = (rows + 1) / 2 * 2;
  return for_each(parallel, tiles, [&](size_t i) {
    const size_t begin = i * kTile, end = min_of(pixels, begin + kTile);
    Scratch<int16_t> x((end - begin) * x_stride + kCopyStep);
    if (!x.ok()) return false;
    for (int g = 0; g < c.groups; ++g) {
      for (size_t pixel = begin; pixel < end; ++pixel) {
        int16_t* to = x.get() + (pixel - begin) * x_stride;
        frames.window(pixel_at(c, pixel), g, to);
        if (rows % 2 != 0) to[rows] = 0;
      }
      multiply_tile(c, columns, g, x.get(), x_stride, begin, end - begin, a.y);
    }
    return true;
  });
}

}  // namespace
}  // namespace svf
#endif
