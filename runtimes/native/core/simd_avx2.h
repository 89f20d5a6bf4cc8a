// 256-bit vectors with AVX2.
#ifndef SVF_SIMD_AVX2_H
#define SVF_SIMD_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "paired_rows.h"

namespace svf {
namespace {

struct Simd {
  typedef __m256i I16;
  typedef __m256i I32;
  static constexpr int kLanes16 = 16;
  static constexpr int kLanes32 = 8;

  static I16 zero16() { return _mm256_setzero_si256(); }
  static I32 zero32() { return _mm256_setzero_si256(); }
  static I32 set32(int32_t v) { return _mm256_set1_epi32(v); }
  static I32 load32(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store32(int32_t* p, I32 v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }

  static I16 widen_s8(const int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static I16 widen_u8(const uint8_t* p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static I16 set16(int16_t v) { return _mm256_set1_epi16(v); }
  static I16 add16(I16 a, I16 b) { return _mm256_add_epi16(a, b); }
  static I16 sub16(I16 a, I16 b) { return _mm256_sub_epi16(a, b); }
  static I16 mul16(I16 a, I16 b) { return _mm256_mullo_epi16(a, b); }
  static I32 low32(I16 v) { return _mm256_cvtepi16_epi32(_mm256_castsi256_si128(v)); }
  static I32 high32(I16 v) { return _mm256_cvtepi16_epi32(_mm256_extracti128_si256(v, 1)); }

  static I32 add32(I32 a, I32 b) { return _mm256_add_epi32(a, b); }
  static I32 sub32(I32 a, I32 b) { return _mm256_sub_epi32(a, b); }
  static I32 mul32(I32 a, I32 b) { return _mm256_mullo_epi32(a, b); }
  static I32 half32(I32 a) { return _mm256_srai_epi32(a, 1); }
  static I32 max32(I32 a, I32 b) { return _mm256_max_epi32(a, b); }
  static I32 min32(I32 a, I32 b) { return _mm256_min_epi32(a, b); }
  static I32 shift_left32(I32 a, I32 n) { return _mm256_sllv_epi32(a, n); }
  static I32 shift_right32(I32 a, I32 n) { return _mm256_srav_epi32(a, n); }
  static void store_s8(int8_t* p, I32 v) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(words, words));
  }

  typedef __m256i Mask;
  static Mask ge32(I32 a, I32 b) { return _mm256_xor_si256(_mm256_cmpgt_epi32(b, a), _mm256_set1_epi32(-1)); }
  static I32 zero_where(Mask m, I32 a) { return _mm256_andnot_si256(m, a); }
  static I32 subtract_where(Mask m, I32 a, I32 b) { return _mm256_sub_epi32(a, _mm256_and_si256(m, b)); }
  // The masks of 32 channels as one word.
  static uint32_t word_of(const Mask* m) {
    const __m256i low = _mm256_packs_epi32(m[0], m[1]), high = _mm256_packs_epi32(m[2], m[3]);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
    return static_cast<uint32_t>(_mm256_movemask_epi8(bytes));
  }

  // Sums of 32 channels of int8 rows in PairedRows' order.
  struct Rows : PairedSums {
    void total(I32* out) const {
      out[0] = low32(low());
      out[1] = high32(low());
      out[2] = low32(high);
      out[3] = high32(high);
    }
  };
  typedef Rows LastRows;

  static uint32_t* append_rows(uint32_t* end, uint32_t bits, uint32_t first, uint32_t stride) {
    for (; bits != 0; bits &= bits - 1) *end++ = first + static_cast<uint32_t>(__builtin_ctz(bits)) * stride;
    return end;
  }
};

}  // namespace
}  // namespace svf
#endif
