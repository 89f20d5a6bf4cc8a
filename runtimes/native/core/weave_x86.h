// Four neighbours in each 32-bit lane: packed spikes to bytes, and four rows of bytes to lanes.
#ifndef SVF_WEAVE_X86_H
#define SVF_WEAVE_X86_H

#include <immintrin.h>
#include <stdint.h>

namespace svf {
namespace {

// AVX2's unpack instructions stay within 128 bits. So that lanes come out in the order of channels, the 32
// bytes of a word lie in another one: byte 4 j + i is channel 8 j + i, and byte 16 + 4 j + i channel 8 j + 4
// + i.
struct WeaveBytes {
  // How many of the planes are set, for the 32 channels of one word.
  static void spikes(const int32_t* word, int levels, size_t plane, uint8_t* out) {
    const __m256i byte = _mm256_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,  //
                                          0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m256i bit =
        _mm256_setr_epi8(1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8,  //
                         16, 32, 64, -128, 16, 32, 64, -128, 16, 32, 64, -128, 16, 32, 64, -128);
    __m256i count = _mm256_setzero_si256();
    for (int level = 0; level < levels; ++level, word += plane) {
      const __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(*word), byte), bit);
      count = _mm256_sub_epi8(count, _mm256_cmpeq_epi8(set, bit));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), count);
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

}  // namespace
}  // namespace svf
#endif
