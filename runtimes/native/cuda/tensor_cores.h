// Products on tensor cores, one warp each: C [16, 8] += A B with int32 sums.
//
// A lane holds 4 words of A, 2 of B and 4 sums (PTX ISA, "Matrix Fragments" of mma.m16n8k32 and
// mma.m16n8k256). With group = lane / 4 and part = lane % 4:
//
//   a[0], a[1]   word `part` of rows group and group + 8 of A [16, 8 words]
//   a[2], a[3]   word `part + 4` of the same rows
//   b[0], b[1]   words `part` and `part + 4` of column `group` of B [8 words, 8]
//   c[0], c[1]   row group, columns 2 part and 2 part + 1
//   c[2], c[3]   row group + 8, the same columns
//
// A word is 4 bytes or 32 bits of the common axis, the first in the lowest bits.
#pragma once

#include "device.h"

namespace svf {

// Whether a compute capability (87 for 8.7) has tensor cores for single bits. Later ones emulate them.
inline bool has_binary_tensor_cores(int architecture) { return architecture >= 80 && architecture <= 90; }

struct Fragment {
  int group, part;
  __device__ explicit Fragment(int lane) : group(lane / 4), part(lane % 4) {}
};

// Bits: C counts where both are set.
__device__ inline void mma_bits(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(SVF_HOST_SHIM)
  shim::mma_and_popc(c, a, b);
#elif __CUDA_ARCH__ >= 800 && __CUDA_ARCH__ <= 900
  asm volatile(
      "mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  (void)a, (void)b;
  __trap();  // the launcher never chooses it here
#endif
}

// Bytes: those of A are unsigned or signed, those of B signed.
template <bool kSigned>
__device__ inline void mma_bytes(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(SVF_HOST_SHIM)
  kSigned ? shim::mma_bytes<int8_t>(c, a, b) : shim::mma_bytes<uint8_t>(c, a, b);
#else
  if (kSigned)
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// The lowest four bits of a word as bytes 0 or 1.
__device__ inline uint32_t bytes_of_bits(uint32_t bits) { return (bits & 0xfu) * 0x00204081u & 0x01010101u; }

}  // namespace svf
