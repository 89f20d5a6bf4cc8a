// Dot products of bytes in 512-bit vectors, by VNNI where it is compiled for.
#ifndef SVF_DOT_AVX512_H
#define SVF_DOT_AVX512_H

#include "simd_avx512.h"
#include "weave_x86.h"

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
  static constexpr int kEventPercent = 18;  // spikes per input, above which it is faster than rows
#else
  static constexpr int kEventPercent = 24;
#endif

  // How many of the planes are set, for the 32 channels of each of n words.
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
    if (i == n) return;
    __m256i count = _mm256_setzero_si256();
    for (int level = 0; level < levels; ++level)
      count = _mm256_mask_add_epi8(count, static_cast<__mmask32>(words[level * plane + i]), count,
                                   _mm512_castsi512_si256(one));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i * 32), count);
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

struct SmallDot : ByteDot, WeaveBytes, SpikeTile512 {
  static constexpr int most_adds(int) { return INT32_MAX; }
};
#else
// Products of 0..15 and int8 meet in pairs of int16, which are summed before they are widened.
struct SmallDot : VectorLanes, WeaveBytes, SpikeTile512 {
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

}  // namespace
}  // namespace svf
#endif
