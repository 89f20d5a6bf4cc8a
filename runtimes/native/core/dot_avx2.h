// Dot products of bytes in 256-bit vectors: AVX2, and AVX-VNNI where it is compiled for.
#ifndef SVF_DOT_AVX2_H
#define SVF_DOT_AVX2_H

#include "simd_avx2.h"

namespace svf {
namespace {

struct VectorLanes {
  typedef __m256i Lanes;
  static Lanes load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  static Lanes broadcast(const void* p) {
    int32_t lane;
    memcpy(&lane, p, sizeof lane);
    return _mm256_set1_epi32(lane);
  }
};

// Packed spikes to bytes, and four rows of bytes to lanes. AVX2's unpack instructions stay within 128 bits.
// So that lanes come out in the order of channels, the 32 bytes of a word lie in another one: byte 4 j + i is
// channel 8 j + i, and byte 16 + 4 j + i channel 8 j + 4
// + i.
struct WeaveBytes {
  // How many of the planes are set, for the 32 channels of each of n words, `step` apart.
  static void spikes(const int32_t* words, size_t step, size_t n, int levels, size_t plane, uint8_t* out) {
    const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,  //
                                          0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m256i bit =
        _mm256_setr_epi8(1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8,  //
                         16, 32, 64, -128, 16, 32, 64, -128, 16, 32, 64, -128, 16, 32, 64, -128);
    for (size_t i = 0; i < n; ++i, words += step, out += 32) {
      __m256i count = _mm256_setzero_si256();
      for (int level = 0; level < levels; ++level) {
        const __m256i word = _mm256_set1_epi32(words[level * plane]);
        const __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(word, byte), bit);
        count = _mm256_sub_epi8(count, _mm256_cmpeq_epi8(set, bit));
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), count);
    }
  }

  // 32 lanes, one a channel, of what stands at x, x + step, x + 2 step and x + 3 step.
  static void weave(const uint8_t* x, size_t step, void* lanes) {
    const auto row = [&](size_t i) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i * step));
    };
    const __m256i a = row(0), b = row(1), c = row(2), d = row(3);
    const __m256i ab_low = _mm256_unpacklo_epi8(a, b), ab_high = _mm256_unpackhi_epi8(a, b);
    const __m256i cd_low = _mm256_unpacklo_epi8(c, d), cd_high = _mm256_unpackhi_epi8(c, d);
    __m256i* out = static_cast<__m256i*>(lanes);
    _mm256_storeu_si256(out, _mm256_unpacklo_epi16(ab_low, cd_low));
    _mm256_storeu_si256(out + 1, _mm256_unpackhi_epi16(ab_low, cd_low));
    _mm256_storeu_si256(out + 2, _mm256_unpacklo_epi16(ab_high, cd_high));
    _mm256_storeu_si256(out + 3, _mm256_unpackhi_epi16(ab_high, cd_high));
  }
};

// Products of 0..15 and int8 meet in pairs of int16, which are summed before they are widened.
struct SmallDot : VectorLanes, WeaveBytes {
  typedef uint8_t Input;
  typedef int8_t Weight;
  typedef __m256i Sum;
  static constexpr int kDepth = 4;
  static int most_adds(int largest) { return INT16_MAX / (2 * 127 * largest); }
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum add(Sum sum, Lanes x, Lanes w) { return _mm256_add_epi16(sum, _mm256_maddubs_epi16(x, w)); }
  static Simd::I32 total(Sum sum) { return _mm256_madd_epi16(sum, _mm256_set1_epi16(1)); }

  // Of a spike convolution's dense form.
  static constexpr int kSpikeVectors = 4, kSpikePixels = 3;
  static constexpr int kEventPercent = 42, kEventRows = 20;

  // How many of the planes are set, for the 32 channels of each of n words.
  static void counts(const int32_t* words, size_t n, int levels, size_t plane, uint8_t* out) {
    const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                          2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
    for (size_t i = 0; i < n; ++i) {
      __m256i count = _mm256_setzero_si256();
      for (int level = 0; level < levels; ++level) {
        const __m256i word = _mm256_set1_epi32(words[level * plane + i]);
        const __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(word, byte), bit);
        count = _mm256_sub_epi8(count, _mm256_cmpeq_epi8(set, bit));
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i * 32), count);
    }
  }
};

// Pairs of int16.
struct PairDot : VectorLanes {
  typedef int16_t Input;
  typedef int16_t Weight;
  typedef __m256i Sum;
  static constexpr int kDepth = 2;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Sum add(Sum sum, Lanes x, Lanes w) { return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)); }
  static Simd::I32 total(Sum sum) { return sum; }
  static constexpr int tile_pixels(int vectors) { return vectors == 1 ? 8 : 4; }
  static constexpr int kTileVectors = 2;
};

// Pairs of products of any two bytes leave int16, so inputs are widened.
struct ByteDot : PairDot {};

typedef SmallDot DenseDot;

}  // namespace
}  // namespace svf
#endif
