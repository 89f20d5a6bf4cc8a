// What this core can do at best: read memory, multiply bytes, multiply floats, add 16-bit rows. One thread.
// Built with -march=native when a benchmark needs it; every function returns a value so that no work is
// dropped.
#include <cstddef>
#include <cstdint>

#if defined(__AVX512VNNI__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 64;
#elif defined(__AVX2__)
constexpr int kWidth = 32;
#else
constexpr int kWidth = 16;
#endif
constexpr int kChains = 12;  // independent accumulators: more than latency times issue width

typedef int64_t Words __attribute__((vector_size(kWidth)));
typedef int16_t Shorts __attribute__((vector_size(kWidth)));
typedef float Floats __attribute__((vector_size(kWidth)));

template <typename Vector>
void keep(Vector& value) {
  asm volatile("" : "+x"(value));
}

#if defined(__aarch64__)
template <>
void keep(Words& value) {
  asm volatile("" : "+w"(value));
}
template <>
void keep(Shorts& value) {
  asm volatile("" : "+w"(value));
}
template <>
void keep(Floats& value) {
  asm volatile("" : "+w"(value));
}
#endif

}  // namespace

extern "C" {

// Reads `bytes` (a multiple of 1024) from aligned `memory`, `repeats` times.
int64_t probe_read(const void* memory, size_t bytes, int repeats) {
  Words sum[8] = {};
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const Words* words = static_cast<const Words*>(memory);
    for (size_t i = 0; i < bytes / sizeof(Words); i += 8)
      for (int j = 0; j < 8; ++j) sum[j] |= words[i + j];
    for (Words& word : sum) keep(word);
  }
  int64_t all = 0;
  for (const Words& word : sum) all |= word[0];
  return all;
}

// Multiply-adds of float32; returns how many were done.
int64_t probe_fma(int64_t rounds) {
  Floats sum[kChains] = {};
  Floats a = {}, b = {};
  a += 1.0f;
  b += 1e-9f;
  keep(a);
  keep(b);
  for (int64_t round = 0; round < rounds; ++round)
    for (Floats& value : sum) {
      value += a * b;
      keep(value);
    }
  return rounds * kChains * static_cast<int64_t>(sizeof(Floats) / sizeof(float));
}

// Multiply-adds of bytes into int32, by the widest instruction of this build; 0 if it has none.
int64_t probe_dot(int64_t rounds) {
#if defined(__AVX512VNNI__)
  __m512i sum[kChains] = {}, a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(1);
  for (int64_t round = 0; round < rounds; ++round)
    for (__m512i& value : sum) {
      value = _mm512_dpbusd_epi32(value, a, b);
      keep(value);
    }
  return rounds * kChains * 64;
#elif defined(__AVX2__)
  __m256i sum[kChains] = {}, a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(1), one = _mm256_set1_epi16(1);
  for (int64_t round = 0; round < rounds; ++round)
    for (__m256i& value : sum) {
      keep(a);
      value = _mm256_add_epi32(value, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), one));
      keep(value);
    }
  return rounds * kChains * 32;
#elif defined(__ARM_FEATURE_DOTPROD)
  int32x4_t sum[kChains] = {};
  int8x16_t a = vdupq_n_s8(1), b = vdupq_n_s8(1);
  for (int64_t round = 0; round < rounds; ++round)
    for (int32x4_t& value : sum) {
      value = vdotq_s32(value, a, b);
      asm volatile("" : "+w"(value));
    }
  return rounds * kChains * 16;
#else
  (void)rounds;
  return 0;
#endif
}

// Adds int16 rows from the first-level cache, as an event-driven kernel does; returns how many additions were
// done.
int64_t probe_add(int64_t rounds) {
  Shorts rows[64 + kChains] = {};
  Shorts* opaque = rows;
  asm volatile("" : "+r"(opaque) : : "memory");
  Shorts sum[kChains] = {};
  for (int64_t round = 0; round < rounds; ++round)
    for (int j = 0; j < kChains; ++j) {
      sum[j] += opaque[(round & 63) + j];
      keep(sum[j]);
    }
  return rounds * kChains * static_cast<int64_t>(sizeof(Shorts) / sizeof(int16_t));
}

}  // extern "C"
