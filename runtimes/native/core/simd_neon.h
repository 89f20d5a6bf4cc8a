// 128-bit vectors of NEON.
#ifndef SVF_SIMD_NEON_H
#define SVF_SIMD_NEON_H

#include <arm_neon.h>
#include <stdint.h>

namespace svf {
namespace {

struct Simd {
  typedef int16x8_t I16;
  typedef int32x4_t I32;
  static constexpr int kLanes16 = 8;
  static constexpr int kLanes32 = 4;

  static I16 zero16() { return vdupq_n_s16(0); }
  static I32 zero32() { return vdupq_n_s32(0); }
  static I32 set32(int32_t v) { return vdupq_n_s32(v); }
  static I32 load32(const int32_t* p) { return vld1q_s32(p); }
  static void store32(int32_t* p, I32 v) { vst1q_s32(p, v); }

  static I16 widen_s8(const int8_t* p) { return vmovl_s8(vld1_s8(p)); }
  static I16 widen_u8(const uint8_t* p) { return vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p))); }
  static I16 set16(int16_t v) { return vdupq_n_s16(v); }
  static I16 add16(I16 a, I16 b) { return vaddq_s16(a, b); }
  static I16 sub16(I16 a, I16 b) { return vsubq_s16(a, b); }
  static I16 mul16(I16 a, I16 b) { return vmulq_s16(a, b); }
  static I32 low32(I16 v) { return vmovl_s16(vget_low_s16(v)); }
  static I32 high32(I16 v) { return vmovl_high_s16(v); }

  static I32 add32(I32 a, I32 b) { return vaddq_s32(a, b); }
  static I32 sub32(I32 a, I32 b) { return vsubq_s32(a, b); }
  static I32 mul32(I32 a, I32 b) { return vmulq_s32(a, b); }
  static I32 half32(I32 a) { return vshrq_n_s32(a, 1); }
  static I32 max32(I32 a, I32 b) { return vmaxq_s32(a, b); }
  static I32 min32(I32 a, I32 b) { return vminq_s32(a, b); }
  static I32 shift_left32(I32 a, I32 n) { return vshlq_s32(a, n); }
  static I32 shift_right32(I32 a, I32 n) { return vshlq_s32(a, vnegq_s32(n)); }
  // Lanes already within -128..127.
  static void store_s8(int8_t* p, I32 v) {
    const int16x4_t words = vmovn_s32(v);
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    const uint32_t four = vget_lane_u32(vreinterpret_u32_s8(bytes), 0);
    __builtin_memcpy(p, &four, sizeof four);
  }

  typedef uint32x4_t Mask;
  static Mask ge32(I32 a, I32 b) { return vcgeq_s32(a, b); }
  static I32 zero_where(Mask m, I32 a) { return vbicq_s32(a, vreinterpretq_s32_u32(m)); }
  static I32 subtract_where(Mask m, I32 a, I32 b) {
    return vsubq_s32(a, vandq_s32(b, vreinterpretq_s32_u32(m)));
  }
  // The masks of 32 channels as one word.
  static uint32_t word_of(const Mask* m) {
    const auto bytes = [](const Mask* four) {
      const uint16x8_t low = vcombine_u16(vmovn_u32(four[0]), vmovn_u32(four[1]));
      const uint16x8_t high = vcombine_u16(vmovn_u32(four[2]), vmovn_u32(four[3]));
      return vcombine_u8(vmovn_u16(low), vmovn_u16(high));
    };
    const uint8x16_t bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t sums = vpaddq_u8(vandq_u8(bytes(m), bit), vandq_u8(bytes(m + 4), bit));
    sums = vpaddq_u8(sums, sums);
    return vgetq_lane_u32(vreinterpretq_u32_u8(vpaddq_u8(sums, sums)), 0);
  }

  static uint32_t* append_rows(uint32_t* end, uint32_t bits, uint32_t first, uint32_t stride) {
    for (; bits != 0; bits &= bits - 1) *end++ = first + static_cast<uint32_t>(__builtin_ctz(bits)) * stride;
    return end;
  }
};

}  // namespace
}  // namespace svf
#endif
