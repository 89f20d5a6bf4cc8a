// Dot products of bytes in NEON's vectors: SMLAL, or SDOT where it is compiled for.
#ifndef SVF_DOT_NEON_H
#define SVF_DOT_NEON_H

#include <stddef.h>

#include "simd_neon.h"

namespace svf {
namespace {

// Of spikes, as bytes.
struct SpikeBytes {
  // How many of the planes are set, for the 32 channels of each of n words, `step` apart.
  static void spikes(const int32_t* words, size_t step, size_t n, int levels, size_t plane, uint8_t* out) {
    for (size_t i = 0; i < n; ++i) spikes_of(words + i * step, levels, plane, out + i * 32);
  }

  // The same of words side by side.
  static void counts(const int32_t* words, size_t n, int levels, size_t plane, uint8_t* out) {
    spikes(words, 1, n, levels, plane, out);
  }

  // 32 lanes, one a channel, of what stands at x, x + step, x + 2 step and x + 3 step.
  static void weave(const uint8_t* x, size_t step, void* lanes) {
    for (int i = 0; i < 32; i += 16) {
      const uint8x16x4_t rows = {
          {vld1q_u8(x + i), vld1q_u8(x + step + i), vld1q_u8(x + 2 * step + i), vld1q_u8(x + 3 * step + i)}};
      vst4q_u8(static_cast<uint8_t*>(lanes) + 4 * i, rows);
    }
  }

 private:
  static void spikes_of(const int32_t* word, int levels, size_t plane, uint8_t* out) {
    const uint8x16_t bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t low_bytes = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    const uint8x16_t high_bytes = vaddq_u8(low_bytes, vdupq_n_u8(2));
    uint8x16_t low = vdupq_n_u8(0), high = low;
    for (int level = 0; level < levels; ++level, word += plane) {
      const uint8x16_t bytes = vreinterpretq_u8_s32(vld1q_dup_s32(word));
      low = vsubq_u8(low, vtstq_u8(vqtbl1q_u8(bytes, low_bytes), bit));
      high = vsubq_u8(high, vtstq_u8(vqtbl1q_u8(bytes, high_bytes), bit));
    }
    vst1q_u8(out, low);
    vst1q_u8(out + 16, high);
  }
};

// Pairs of int16.
struct PairDot {
  typedef int16_t Input;
  typedef int16_t Weight;
  typedef int16x8_t Lanes;
  struct Sum {
    int32x4_t low, high;
  };
  static constexpr int kDepth = 2;
  static constexpr int kTileVectors = 2;
  static constexpr int tile_pixels(int vectors) { return vectors == 1 ? 8 : 5; }
  static Lanes load(const void* p) { return vld1q_s16(static_cast<const int16_t*>(p)); }
  static Lanes broadcast(const void* p) {
    int32_t lane;
    __builtin_memcpy(&lane, p, sizeof lane);
    return vreinterpretq_s16_s32(vdupq_n_s32(lane));
  }
  static Sum zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
  static Sum add(Sum sum, Lanes x, Lanes w) {
    return {vmlal_s16(sum.low, vget_low_s16(x), vget_low_s16(w)), vmlal_high_s16(sum.high, x, w)};
  }
  static Simd::I32 total(Sum sum) { return vpaddq_s32(sum.low, sum.high); }
};

#if defined(__ARM_FEATURE_DOTPROD)
// Four bytes of a row by four of each column.
struct QuadDot {
  typedef int8_t Input;
  typedef int8_t Weight;
  typedef int8x16_t Lanes;
  typedef int32x4_t Sum;
  static constexpr int kDepth = 4;
  static constexpr int kTileVectors = 4;
  static constexpr int tile_pixels(int vectors) { return vectors == 1 ? 12 : vectors == 2 ? 8 : 5; }
  static Lanes load(const void* p) { return vld1q_s8(static_cast<const int8_t*>(p)); }
  static Lanes broadcast(const void* p) {
    int32_t lane;
    __builtin_memcpy(&lane, p, sizeof lane);
    return vreinterpretq_s8_s32(vdupq_n_s32(lane));
  }
  static Sum zero() { return vdupq_n_s32(0); }
  static Sum add(Sum sum, Lanes x, Lanes w) { return vdotq_s32(sum, x, w); }
  static Simd::I32 total(Sum sum) { return sum; }
};

struct SmallDot : QuadDot, SpikeBytes {
  typedef uint8_t Input;
  static constexpr int most_adds(int) { return INT32_MAX; }

  // Of a spike convolution's dense form.
  static constexpr int kSpikeVectors = 4, kSpikePixels = 5;
  static constexpr int kEventPercent = 35, kEventRows = 8;
};

#if defined(__ARM_FEATURE_MATMUL_INT8)
// Eight bytes of two rows by eight of two columns.
struct ByteDot {
  typedef int8_t Input;
  typedef int8_t Weight;
  typedef int8x16_t Lanes;
  typedef int32x4_t Sum;  // [2 rows, 2 columns]
  static constexpr int kDepth = 8;
  static constexpr int kTileVectors = 4;
  static constexpr int tile_pixels(int vectors) { return vectors == 4 ? 6 : 12; }
  static Lanes load(const void* p) { return vld1q_s8(static_cast<const int8_t*>(p)); }
  static Lanes pair(const void* a, const void* b) {
    return vcombine_s8(vld1_s8(static_cast<const int8_t*>(a)), vld1_s8(static_cast<const int8_t*>(b)));
  }
  static Sum zero() { return vdupq_n_s32(0); }
  static Sum add(Sum sum, Lanes x, Lanes w) { return vmmlaq_s32(sum, x, w); }
  // A row's sums of the columns of two vectors.
  static Simd::I32 row(Sum a, Sum b, int row) {
    return row == 0 ? vcombine_s32(vget_low_s32(a), vget_low_s32(b))
                    : vcombine_s32(vget_high_s32(a), vget_high_s32(b));
  }
};

struct DenseDot : ByteDot, SpikeBytes {
  typedef uint8_t Input;
  static constexpr int most_adds(int) { return INT32_MAX; }
  static constexpr int kSpikeVectors = 4, kSpikePixels = 6;
  // Half of SDOT's, for an instruction multiplies twice as much: no machine has been measured.
  static constexpr int kEventPercent = 18, kEventRows = 8;
};
#else
struct ByteDot : QuadDot {};
#endif
#else
// Each product of 0..15 and an int8 has an int16 of its own, which take several before they are added up.
struct SmallDot : SpikeBytes {
  typedef uint8_t Input;
  typedef int8_t Weight;
  typedef int8x16_t Lanes;
  struct Sum {
    int16x8_t low, high;
  };
  static constexpr int kDepth = 4;
  static int most_adds(int largest) { return INT16_MAX / (127 * largest); }
  static Lanes load(const void* p) { return vld1q_s8(static_cast<const int8_t*>(p)); }
  static Lanes broadcast(const void* p) {
    int32_t lane;
    __builtin_memcpy(&lane, p, sizeof lane);
    return vreinterpretq_s8_s32(vdupq_n_s32(lane));
  }
  static Sum zero() { return {vdupq_n_s16(0), vdupq_n_s16(0)}; }
  static Sum add(Sum sum, Lanes x, Lanes w) {
    return {vmlal_s8(sum.low, vget_low_s8(x), vget_low_s8(w)), vmlal_high_s8(sum.high, x, w)};
  }
  static Simd::I32 total(Sum sum) { return vpaddq_s32(vpaddlq_s16(sum.low), vpaddlq_s16(sum.high)); }

  // Of a spike convolution's dense form.
  static constexpr int kSpikeVectors = 2, kSpikePixels = 5;
  static constexpr int kEventPercent = 60, kEventRows = 8;
};

// Products of any two bytes are int16 already.
struct ByteDot : PairDot {};
#endif

#if !defined(__ARM_FEATURE_MATMUL_INT8)
typedef SmallDot DenseDot;
#endif

}  // namespace
}  // namespace svf
#endif
