// int8 or uint8 inputs x int8 weights: int16 pairs multiplied and added into int32.
#ifndef SVF_DENSE_CONV_H
#define SVF_DENSE_CONV_H

#include "simd_common.h"

namespace svf {
namespace {

// Input integers less the zero point that one output pixel sees, for one group; zero outside the frame.
template <typename T>
void gather(const DenseConvArgs& a, const Pixel& p, int group, int16_t* out) {
  const Conv& c = a.conv;
  const T* x = static_cast<const T*>(a.x) + group * c.group_in;
  for (int ky = 0; ky < c.kernel_h; ++ky) {
    const int iy = p.oy * c.stride_h - c.pad_h + ky;
    for (int kx = 0; kx < c.kernel_w; ++kx, out += c.group_in) {
      const int ix = p.ox * c.stride_w - c.pad_w + kx;
      if (iy < 0 || iy >= c.height || ix < 0 || ix >= c.width) {
        memset(out, 0, static_cast<size_t>(c.group_in) * sizeof(int16_t));
        continue;
      }
      const T* from = x + ((static_cast<size_t>(p.t) * c.height + iy) * c.width + ix) * c.in_channels;
      for (int i = 0; i < c.group_in; ++i) out[i] = static_cast<int16_t>(from[i] - c.zero_point);
    }
  }
}

// kPixels pixels x kVectors * kLanes32 output channels over `rows` inputs (x is padded to an even number).
template <int kPixels, int kVectors>
void multiply(const Conv& c, const int16_t* x, size_t x_stride, int rows, const int8_t* weight,
              uint32_t stride, const int32_t* bias, const int32_t* shift, void* y, size_t index, int count) {
  Simd::I32 sum[kPixels][kVectors];
  for (int i = 0; i < kPixels; ++i)
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Simd::zero32();
  for (int row = 0; row < rows; row += 2, weight += 2 * static_cast<size_t>(stride)) {
    const int8_t* second = row + 1 < rows ? weight + stride : weight;  // x is zero there
    for (int v = 0; v < kVectors; ++v) {
      const Simd::I16 w = Simd::pair_rows(weight + v * Simd::kLanes32, second + v * Simd::kLanes32);
      for (int i = 0; i < kPixels; ++i) sum[i][v] = Simd::add_products(sum[i][v], w, x + i * x_stride + row);
    }
  }
  for (int i = 0; i < kPixels; ++i)
    for (int v = 0; v < kVectors; ++v) {
      const int lane = v * Simd::kLanes32;
      store_lanes(c, y, index + static_cast<size_t>(i) * c.out_channels + lane,
                  rescale(sum[i][v], bias + lane, shift + lane), count - lane);
    }
}

// x: `pixels` gathered inputs of consecutive output pixels, the first being `begin`.
void multiply_tile(const Conv& c, const Columns& columns, int group, const int16_t* x, size_t x_stride,
                   size_t begin, size_t pixels, void* y) {
  const int width = columns.group_width, rows = c.kernel_h * c.kernel_w * c.group_in;
  for (int done = 0; done < width;) {
    const int vectors = width - done >= 2 * Simd::kLanes32 ? 2 : 1;
    const int first = min_of(done, width - vectors * Simd::kLanes32);  // the last block may overlap
    const size_t column = static_cast<size_t>(group) * width + first;
    const int8_t* weight = columns.weight + column;
    const int32_t *bias = columns.bias + column, *shift = columns.shift + column;
    const int count = c.group_out - first;
    size_t index = begin * c.out_channels + static_cast<size_t>(group) * c.group_out + first;
    const int16_t* from = x;
    for (size_t left = pixels; left > 0;) {
      const size_t step = left >= Simd::kTilePixels ? Simd::kTilePixels : 1;
      const auto run = step == 1
                           ? (vectors == 2 ? multiply<1, 2> : multiply<1, 1>)
                           : (vectors == 2 ? multiply<Simd::kTilePixels, 2> : multiply<Simd::kTilePixels, 1>);
      run(c, from, x_stride, rows, weight, columns.stride, bias, shift, y, index, count);
      left -= step;
      from += step * x_stride;
      index += step * c.out_channels;
    }
    done = first + vectors * Simd::kLanes32;
  }
}

size_t padded_rows(const Conv& c) {
  return (static_cast<size_t>(c.kernel_h) * c.kernel_w * c.group_in + 1) / 2 * 2;
}

Simd::I16 widen(const int8_t* x) { return Simd::widen_s8(x); }
Simd::I16 widen(const uint8_t* x) { return Simd::widen_u8(x); }

// Depthwise: channels are lanes. Needs at least kLanes16 channels.
template <typename T>
void depthwise_pixel(const DenseConvArgs& a, const Pixel& p, size_t pixel) {
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
    store_lanes(c, a.y, index, rescale(low, a.bias + first, a.shift + first), half);
    store_lanes(c, a.y, index + half, rescale(high, a.bias + first + half, a.shift + first + half), half);
  }
}

bool conv2d(const DenseConvArgs& a, const svf_parallel* parallel) {
  const Conv& c = a.conv;
  const size_t pixels = static_cast<size_t>(c.frames) * c.out_h * c.out_w;
  constexpr size_t kTile = 32;
  const size_t tiles = (pixels + kTile - 1) / kTile;
  if (c.group_in == 1 && c.group_out == 1 && c.out_channels >= Simd::kLanes16)
    return for_each(parallel, tiles, [&](size_t i) {
      for (size_t pixel = i * kTile; pixel < min_of(pixels, (i + 1) * kTile); ++pixel) {
        const Pixel p = pixel_at(c, pixel);
        c.input_is_signed ? depthwise_pixel<int8_t>(a, p, pixel) : depthwise_pixel<uint8_t>(a, p, pixel);
      }
      return true;
    });
  const Columns columns(c, a.weight, a.bias, a.shift, Simd::kLanes32);
  if (!columns.ok()) return false;
  const size_t rows = padded_rows(c);
  return for_each(parallel, tiles, [&](size_t i) {
    const size_t begin = i * kTile, end = min_of(pixels, begin + kTile);
    Scratch<int16_t> x((end - begin) * rows);
    if (!x.ok()) return false;
    for (int g = 0; g < c.groups; ++g) {
      for (size_t pixel = begin; pixel < end; ++pixel) {
        int16_t* to = x.get() + (pixel - begin) * rows;
        to[rows - 1] = 0;
        const Pixel p = pixel_at(c, pixel);
        c.input_is_signed ? gather<int8_t>(a, p, g, to) : gather<uint8_t>(a, p, g, to);
      }
      multiply_tile(c, columns, g, x.get(), rows, begin, end - begin, a.y);
    }
    return true;
  });
}

}  // namespace
}  // namespace svf
#endif
