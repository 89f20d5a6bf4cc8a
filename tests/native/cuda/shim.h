// CUDA's device language on the host, for the kernels of runtimes/native/cuda compiled as C++: a block's
// threads are fibers, which ThreadSanitizer is told of as threads. Warps' collectives and tensor cores are
// emulated, fragments laid out as the PTX ISA document says. Only what the kernels use is here.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define __global__ inline
#define __device__
#define __host__
#define __launch_bounds__(threads)

namespace shim {

// Where a thread stands in its grid.
struct Place {
  dim3 thread, block, threads, blocks;
};
const Place& place();

// Runs the blocks one after the other.
void run(dim3 grid, unsigned threads, const std::function<void()>& kernel);

// What the emulated device is.
struct Device {
  int architecture = 87;
  int multiprocessors = 16;
};
extern Device device;

// Fibers of a block start from the last one instead of the first.
extern bool backwards;

// Barriers by the place they stand at in the source, "lif_kernels.h:150"; the one called `dropped` does
// nothing.
int site(const char* file, int line);
std::vector<std::string> sites();
extern std::string dropped;
void barrier(int site);

// A block's shared memory; filled with a pattern before each block. A kernel has one object in it.
void* shared(size_t bytes);

// The lanes of a warp meet: the last to come runs `together` on what all of them sent.
void meet(void* sent, void (*together)(void* const sent[32]));

inline int lane() { return static_cast<int>(place().thread.x % 32); }

}  // namespace shim

#define threadIdx (shim::place().thread)
#define blockIdx (shim::place().block)
#define blockDim (shim::place().threads)
#define gridDim (shim::place().blocks)
#define SVF_SHARED(Type, name) Type& name = *static_cast<Type*>(shim::shared(sizeof(Type)))
#define __syncthreads()                                          \
  do {                                                           \
    static const int shim_site = shim::site(__FILE__, __LINE__); \
    shim::barrier(shim_site);                                    \
  } while (false)

inline int __popc(uint32_t word) { return __builtin_popcount(word); }
inline int32_t __float2int_rd(float x) { return static_cast<int32_t>(std::floor(x)); }

inline uint32_t __byte_perm(uint32_t low, uint32_t high, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(high) << 32 | low;
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i)
    out |= (static_cast<uint32_t>(bytes >> (8 * (selector >> 4 * i & 7))) & 0xff) << 8 * i;
  return out;
}

inline uint32_t __ballot_sync(unsigned, bool predicate) {
  struct Sent {
    bool predicate;
    uint32_t all;
  } mine{predicate, 0};
  shim::meet(&mine, [](void* const sent[32]) {
    uint32_t all = 0;
    for (int i = 0; i < 32; ++i) all |= static_cast<uint32_t>(static_cast<Sent*>(sent[i])->predicate) << i;
    for (int i = 0; i < 32; ++i) static_cast<Sent*>(sent[i])->all = all;
  });
  return mine.all;
}

inline uint32_t __shfl_xor_sync(unsigned, uint32_t value, int mask) {
  struct Sent {
    uint32_t value, found;
    int from;
  } mine{value, 0, shim::lane() ^ mask};
  shim::meet(&mine, [](void* const sent[32]) {
    for (int i = 0; i < 32; ++i) {
      Sent* at = static_cast<Sent*>(sent[i]);
      at->found = static_cast<Sent*>(sent[at->from])->value;
    }
  });
  return mine.found;
}

namespace shim {

// Registers of one lane in mma.m16n8k32 and mma.m16n8k256: A 4, B 2, C 4.
struct Fragments {
  const uint32_t* a;
  const uint32_t* b;
  int32_t* c;
};

// Words of A [16, 8], B [8, 8] (a column of B is a row here) and the sums C [16, 8] of a warp's fragments.
// Lane 4 g
// + i holds words i and i + 4 of rows g and g + 8 of A, of column g of B, and columns 2 i, 2 i + 1 of C.
template <typename Dot>
void multiply(void* const sent[32], const Dot& dot) {
  uint32_t a[16][8], b[8][8];
  const auto at = [&](int lane) { return *static_cast<const Fragments*>(sent[lane]); };
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4, in_group = lane % 4;
    for (int half = 0; half < 2; ++half) {
      a[group][in_group + 4 * half] = at(lane).a[2 * half];
      a[group + 8][in_group + 4 * half] = at(lane).a[2 * half + 1];
      b[group][in_group + 4 * half] = at(lane).b[half];
    }
  }
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
      for (int word = 0; word < 8; ++word) at(lane).c[i] += dot(a[row][word], b[column][word]);
    }
}

template <typename A>
int32_t dot_bytes(uint32_t a, uint32_t b) {
  int32_t sum = 0;
  for (int i = 0; i < 32; i += 8) sum += static_cast<A>(a >> i) * static_cast<int8_t>(b >> i);
  return sum;
}

inline void mma_and_popc(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Fragments mine{a, b, c};
  meet(&mine,
       [](void* const sent[32]) { multiply(sent, [](uint32_t x, uint32_t y) { return __popc(x & y); }); });
}

template <typename A>
void mma_bytes(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Fragments mine{a, b, c};
  meet(&mine, [](void* const sent[32]) { multiply(sent, dot_bytes<A>); });
}

}  // namespace shim
