// Dot products of bytes in 512-bit vectors, by VNNI where it is compiled for.
#ifndef SVF_DOT_AVX512_H
#define SVF_DOT_AVX512_H

#include "simd_avx512.h"

namespace svf {
namespace {

struct VectorLanes {
  typedef __m512i Lanes;
  typedef __m512i Sum;
  static Lanes load(const void* p) { return _mm512_loadu_si512(p); }
  static Lanes broadcast(const void* p) {
    int32_t lane;
    memcpy(&lane, p, sizeof lane);
    return _mm512_set1_epi32(lane);
  }
  static Sum zero() { return _mm512_setzero_si512(); }
  static constexpr int kTileVectors = 4;
  static constexpr int tile_pixels(int vectors) { return vectors == 1 ? 14 : vectors == 2 ? 12 : 6; }
};

// Of a spike convolution's dense form.
struct SpikeTile512 {
  static constexpr int kSpikeVectors = 2, kSpikePixels = 14;
#if defined(__AVX512VNNI__)
  static constexpr int kEventPercent = 30, kEventRows = 20;
#else
  static constexpr int kEventPercent = 45, kEventRows = 20;
#endif

  // How many of the planes are set, for the 32 channels of each of n words, `step` apart.
  static void spikes(const int32_t* words, size_t step, size_t n, int levels, size_t plane, uint8_t* out) {
    switch (levels) {
      case 1:
        return spikes_of(words, step, n, 1, plane, out);
      case 4:
        return spikes_of(words, step, n, 4, plane, out);
      default:
        return spikes_of(words, step, n, levels, plane, out);
    }
  }

  // 32 lanes, one a channel, of what stands at x, x + step, x + 2 step and x + 3 step.
  static void weave(const uint8_t* x, size_t step, void* lanes) {
    const auto row = [&](size_t i) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i * step));
    };
    const auto both = [](__m256i low, __m256i high) {
      return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    };
    const __m256i a = row(0), b = row(1), c = row(2), d = row(3);
    const __m256i ab_low = _mm256_unpacklo_epi8(a, b), ab_high = _mm256_unpackhi_epi8(a, b);
    const __m256i cd_low = _mm256_unpacklo_epi8(c, d), cd_high = _mm256_unpackhi_epi8(c, d);
    const __m512i first = both(_mm256_unpacklo_epi16(ab_low, cd_low), _mm256_unpackhi_epi16(ab_low, cd_low));
    const __m512i second =
        both(_mm256_unpacklo_epi16(ab_high, cd_high), _mm256_unpackhi_epi16(ab_high, cd_high));
    char* out = static_cast<char*>(lanes);
    _mm512_storeu_si512(out, _mm512_shuffle_i64x2(first, second, 0x88));
    _mm512_storeu_si512(out + 64, _mm512_shuffle_i64x2(first, second, 0xdd));
  }

  // The same as `spikes` of words side by side.
  static void counts(const int32_t* words, size_t n, int levels, size_t plane, uint8_t* out) {
    switch (levels) {  // a known number keeps the masks in registers
      case 1:
        return counts_of(words, n, 1, plane, out);
      case 2:
        return counts_of(words, n, 2, plane, out);
      case 3:
        return counts_of(words, n, 3, plane, out);
      case 4:
        return counts_of(words, n, 4, plane, out);
      default:
        return counts_of(words, n, levels, plane, out);
    }
  }

 private:
  __attribute__((always_inline)) static void spikes_of(const int32_t* words, size_t step, size_t n,
                                                       int levels, size_t plane, uint8_t* out) {
    const __m256i one = _mm256_set1_epi8(1);
    for (size_t i = 0; i < n; ++i, words += step, out += 32) {
      __m256i count = _mm256_setzero_si256();
      for (int level = 0; level < levels; ++level)
        count = _mm256_mask_add_epi8(count, static_cast<__mmask32>(words[level * plane]), count, one);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), count);
    }
  }

  __attribute__((always_inline)) static void counts_of(const int32_t* words, size_t n, int levels,
                                                       size_t plane, uint8_t* out) {
    const __m512i one = _mm512_set1_epi8(1);
    size_t i = 0;
    for (; i + 2 <= n; i += 2) {
      __m512i count = _mm512_setzero_si512();
      for (int level = 0; level < levels; ++level) {
        uint64_t bits;
        memcpy(&bits, words + level * plane + i, sizeof bits);
        count = _mm512_mask_add_epi8(count, bits, count, one);
      }
      _mm512_storeu_si512(out + i * 32, count);
    }
    spikes_of(words + i, 1, n - i, levels, plane, out + i * 32);
  }
};

// Pairs of int16.
struct PairDot : VectorLanes {
  typedef int16_t Input;
  typedef int16_t Weight;
  static constexpr int kDepth = 2;
#if defined(__AVX512VNNI__)
  // GCC 12 copies the sums around its intrinsic, and does not keep them in registers.
  static Sum add(Sum sum, Lanes x, Lanes w) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
  }
#else
  static Sum add(Sum sum, Lanes x, Lanes w) { return _mm512_add_epi32(sum, _mm512_madd_epi16(x, w)); }
#endif
  static Simd::I32 total(Sum sum) { return sum; }
};

#if defined(__AVX512VNNI__)
struct ByteDot : VectorLanes {
  typedef uint8_t Input;
  typedef int8_t Weight;
  static constexpr int kDepth = 4;
  static Sum add(Sum sum, Lanes x, Lanes w) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
    return sum;
  }
  static Simd::I32 total(Sum sum) { return sum; }
};

struct SmallDot : ByteDot, SpikeTile512 {
  static constexpr int most_adds(int) { return INT32_MAX; }
};
#else
// Products of 0..15 and int8 meet in pairs of int16, which are summed before they are widened.
struct SmallDot : VectorLanes, SpikeTile512 {
  typedef uint8_t Input;
  typedef int8_t Weight;
  static constexpr int kDepth = 4;
  static int most_adds(int largest) { return INT16_MAX / (2 * 127 * largest); }
  static Sum add(Sum sum, Lanes x, Lanes w) { return _mm512_add_epi16(sum, _mm512_maddubs_epi16(x, w)); }
  static Simd::I32 total(Sum sum) { return _mm512_madd_epi16(sum, _mm512_set1_epi16(1)); }
};

// Pairs of products of any two bytes leave int16, so inputs are widened.
struct ByteDot : PairDot {};
#endif

typedef SmallDot DenseDot;

}  // namespace
}  // namespace svf
#endif
