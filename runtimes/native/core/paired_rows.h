// Weight rows of the event-driven form on x86-64: an int16 holds two channels, one in its high byte and one,
// plus 128, in its low byte. Such pairs are added whole, and their high bytes apart: three operations where
// widening both takes four. What the high bytes' sum does not account for is the low bytes'.
#ifndef SVF_PAIRED_ROWS_H
#define SVF_PAIRED_ROWS_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace svf {
namespace {

struct PairedRows {
  // What the sum of `count` pairs starts with, to be rid of the 128 of each.
  static int16_t start(int count) { return static_cast<int16_t>(-128 * count); }

  // 64 channels: of 32, the first 16 become low bytes.
  static void order(int8_t* row) {
    for (int8_t* half = row; half < row + 64; half += 32) {
      int8_t from[32];
      memcpy(from, half, sizeof from);
      for (int i = 0; i < 16; ++i) {
        half[2 * i] = static_cast<int8_t>(from[i] + 128);
        half[2 * i + 1] = from[16 + i];
      }
    }
  }
};

// The sums of 32 channels.
struct PairedSums : PairedRows {
  static constexpr int kChannels = 32;
  __m256i both, high;
  void begin(int count) {
    both = _mm256_set1_epi16(start(count));
    high = _mm256_setzero_si256();
  }
  void add(const int8_t* row) {
    const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
    both = _mm256_add_epi16(both, pairs);
    high = _mm256_add_epi16(high, _mm256_srai_epi16(pairs, 8));
  }
  __m256i low() const { return _mm256_sub_epi16(both, _mm256_slli_epi16(high, 8)); }
};

}  // namespace
}  // namespace svf
#endif
