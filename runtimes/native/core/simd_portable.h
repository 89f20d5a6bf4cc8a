// 128-bit vectors through the compiler's own vector types: SSE2 on x86-64, NEON on aarch64.
#ifndef SVF_SIMD_PORTABLE_H
#define SVF_SIMD_PORTABLE_H

#include <stdint.h>
#include <string.h>

namespace svf {
namespace {

struct Simd {
  typedef int16_t I16 __attribute__((vector_size(16)));
  typedef int32_t I32 __attribute__((vector_size(16)));
  typedef int8_t I8 __attribute__((vector_size(8)));
  typedef int16_t I16Half __attribute__((vector_size(8)));
  static constexpr int kLanes16 = 8;
  static constexpr int kLanes32 = 4;

  static I16 zero16() { return I16{}; }
  static I32 zero32() { return I32{}; }
  static I32 set32(int32_t v) { return I32{v, v, v, v}; }

  template <typename T, typename P>
  static T load(const P* p) {
    T v;
    memcpy(&v, p, sizeof v);
    return v;
  }
  static I32 load32(const int32_t* p) { return load<I32>(p); }
  static void store32(int32_t* p, I32 v) { memcpy(p, &v, sizeof v); }

  static I16 widen_s8(const int8_t* p) { return __builtin_convertvector(load<I8>(p), I16); }
  static I16 widen_u8(const uint8_t* p) {
    typedef uint8_t U8 __attribute__((vector_size(8)));
    return __builtin_convertvector(load<U8>(p), I16);
  }
  static I16 set16(int16_t v) { return I16{v, v, v, v, v, v, v, v}; }
  static I16 add16(I16 a, I16 b) { return a + b; }
  static I16 sub16(I16 a, I16 b) { return a - b; }
  static I16 mul16(I16 a, I16 b) { return a * b; }
  // Adds w in the lanes whose bit is set.
  static I16 add16_where(I16 acc, uint32_t bits, I16 w) {
    const I16 lane = {1, 2, 4, 8, 16, 32, 64, 128};
    return acc + (w & ((set16(static_cast<int16_t>(bits & 0xff)) & lane) == lane));
  }
  static I32 low32(I16 v) { return __builtin_convertvector(load<I16Half>(&v), I32); }
  static I32 high32(I16 v) {
    return __builtin_convertvector(load<I16Half>(reinterpret_cast<const char*>(&v) + 8), I32);
  }

  static I32 add32(I32 a, I32 b) { return a + b; }
  static I32 sub32(I32 a, I32 b) { return a - b; }
  static I32 mul32(I32 a, I32 b) { return a * b; }
  static I32 half32(I32 a) { return a >> 1; }
  static I32 max32(I32 a, I32 b) { return (a & (a > b)) | (b & ~(a > b)); }
  static I32 min32(I32 a, I32 b) { return (a & (a < b)) | (b & ~(a < b)); }
  static I32 shift_left32(I32 a, I32 n) { return a << n; }
  static I32 shift_right32(I32 a, I32 n) { return a >> n; }
  // Lanes already within -128..127.
  static void store_s8(int8_t* p, I32 v) {
    for (int i = 0; i < kLanes32; ++i) p[i] = static_cast<int8_t>(v[i]);
  }

  typedef I32 Mask;
  static Mask ge32(I32 a, I32 b) { return a >= b; }
  static I32 zero_where(Mask m, I32 a) { return a & ~m; }
  static I32 subtract_where(Mask m, I32 a, I32 b) { return a - (b & m); }
  // The masks of 32 channels as one word.
  static uint32_t word_of(const Mask* m) {
    const I32 lane = {1, 2, 4, 8};
    I32 bits = m[0] & lane;
    for (int v = 1; v < 8; ++v) bits |= m[v] & (lane << (4 * v));
    return static_cast<uint32_t>(bits[0] | bits[1] | bits[2] | bits[3]);
  }

  // Appends first + i * stride for every set bit i. May write up to kRowSlack entries past the returned end.
  static uint32_t* append_rows(uint32_t* end, uint32_t bits, uint32_t first, uint32_t stride) {
    for (; bits != 0; bits &= bits - 1) *end++ = first + static_cast<uint32_t>(__builtin_ctz(bits)) * stride;
    return end;
  }
};

}  // namespace
}  // namespace svf
#endif
