// 512-bit vectors with AVX-512 F, BW, VL and DQ.
#ifndef SVF_SIMD_AVX512_H
#define SVF_SIMD_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "paired_rows.h"

namespace svf {
namespace {

struct Simd {
  typedef __m512i I16;
  typedef __m512i I32;
  static constexpr int kLanes16 = 32;
  static constexpr int kLanes32 = 16;

  static I16 zero16() { return _mm512_setzero_si512(); }
  static I32 zero32() { return _mm512_setzero_si512(); }
  static I32 set32(int32_t v) { return _mm512_set1_epi32(v); }
  static I32 load32(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void store32(int32_t* p, I32 v) { _mm512_storeu_si512(p, v); }

  static I16 widen_s8(const int8_t* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static I16 widen_u8(const uint8_t* p) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static I16 set16(int16_t v) { return _mm512_set1_epi16(v); }
  static I16 add16(I16 a, I16 b) { return _mm512_add_epi16(a, b); }
  static I16 sub16(I16 a, I16 b) { return _mm512_sub_epi16(a, b); }
  static I16 mul16(I16 a, I16 b) { return _mm512_mullo_epi16(a, b); }
  static I32 low32(I16 v) { return _mm512_cvtepi16_epi32(_mm512_castsi512_si256(v)); }
  static I32 high32(I16 v) { return _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(v, 1)); }

  static I32 add32(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
  static I32 sub32(I32 a, I32 b) { return _mm512_sub_epi32(a, b); }
  static I32 mul32(I32 a, I32 b) { return _mm512_mullo_epi32(a, b); }
  static I32 half32(I32 a) { return _mm512_srai_epi32(a, 1); }
  static I32 max32(I32 a, I32 b) { return _mm512_max_epi32(a, b); }
  static I32 min32(I32 a, I32 b) { return _mm512_min_epi32(a, b); }
  static I32 shift_left32(I32 a, I32 n) { return _mm512_sllv_epi32(a, n); }
  static I32 shift_right32(I32 a, I32 n) { return _mm512_srav_epi32(a, n); }
  static void store_s8(int8_t* p, I32 v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
  }

  typedef __mmask16 Mask;
  static Mask ge32(I32 a, I32 b) { return _mm512_cmpge_epi32_mask(a, b); }
  static I32 zero_where(Mask m, I32 a) { return _mm512_mask_mov_epi32(a, m, _mm512_setzero_si512()); }
  static I32 subtract_where(Mask m, I32 a, I32 b) { return _mm512_mask_sub_epi32(a, m, a, b); }
  // The masks of 32 channels as one word.
  static uint32_t word_of(const Mask* m) { return _mm512_kunpackw(m[1], m[0]); }

  // Sums of int8 rows in PairedRows' order, of 32 and of 64 channels.
  struct LastRows : PairedSums {
    void total(I32* out) const {
      out[0] = _mm512_cvtepi16_epi32(low());
      out[1] = _mm512_cvtepi16_epi32(high);
    }
  };
  struct Rows : PairedRows {
    static constexpr int kChannels = 64;
    __m512i both, high;
    void begin(int count) {
      both = _mm512_set1_epi16(start(count));
      high = _mm512_setzero_si512();
    }
    void add(const int8_t* row) {
      const __m512i pairs = _mm512_loadu_si512(row);
      both = _mm512_add_epi16(both, pairs);
      high = _mm512_add_epi16(high, _mm512_srai_epi16(pairs, 8));
    }
    void total(I32* out) const {
      const __m512i low = _mm512_sub_epi16(both, _mm512_slli_epi16(high, 8));
      out[0] = low32(low);
      out[1] = low32(high);
      out[2] = high32(low);
      out[3] = high32(high);
    }
  };

  static uint32_t* append_rows(uint32_t* end, uint32_t bits, uint32_t first, uint32_t stride) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i step = _mm512_set1_epi32(static_cast<int32_t>(stride));
    const __m512i low =
        _mm512_add_epi32(_mm512_set1_epi32(static_cast<int32_t>(first)), _mm512_mullo_epi32(lane, step));
    const __mmask16 low_bits = static_cast<__mmask16>(bits);
    const __mmask16 high_bits = static_cast<__mmask16>(bits >> 16);
    _mm512_storeu_si512(end, _mm512_maskz_compress_epi32(low_bits, low));
    end += __builtin_popcount(low_bits);
    const __m512i high = _mm512_add_epi32(low, _mm512_slli_epi32(step, 4));
    _mm512_storeu_si512(end, _mm512_maskz_compress_epi32(high_bits, high));
    return end + __builtin_popcount(high_bits);
  }
};

}  // namespace
}  // namespace svf
#endif
