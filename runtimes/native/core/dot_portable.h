// Dot products of int16 pairs in 128-bit vectors of the compiler.
#ifndef SVF_DOT_PORTABLE_H
#define SVF_DOT_PORTABLE_H

#include "simd_portable.h"

namespace svf {
namespace {

// Pairs of int16.
struct PairDot {
  typedef int16_t Input;
  typedef int16_t Weight;
  typedef Simd::I16 Lanes;
  typedef Simd::I32 Sum;
  static constexpr int kDepth = 2;
  static constexpr int kTileVectors = 2;
  static constexpr int tile_pixels(int vectors) { return vectors == 1 ? 8 : 4; }
  static Lanes load(const void* p) { return Simd::load<Lanes>(p); }
  static Lanes broadcast(const void* p) {
    int32_t lane;
    memcpy(&lane, p, sizeof lane);
    return reinterpret_cast<Lanes>(Simd::set32(lane));
  }
  static Sum zero() { return Simd::zero32(); }
  static Sum add(Sum sum, Lanes x, Lanes w) {
#if defined(__SSE2__)
    typedef short V8 __attribute__((vector_size(16)));
    return sum + reinterpret_cast<Simd::I32>(
                     __builtin_ia32_pmaddwd128(reinterpret_cast<V8>(x), reinterpret_cast<V8>(w)));
#else
    const Simd::I32 x32 = reinterpret_cast<Simd::I32>(x), w32 = reinterpret_cast<Simd::I32>(w);
    return sum + (x32 << 16 >> 16) * (w32 << 16 >> 16) + (x32 >> 16) * (w32 >> 16);
#endif
  }
  static Simd::I32 total(Sum sum) { return sum; }
};

struct ByteDot : PairDot {};

struct SmallDot : PairDot {
  static constexpr int most_adds(int) { return INT32_MAX; }

  // Of a spike convolution's dense form.
  static constexpr int kSpikeVectors = 4, kSpikePixels = 2;
  static constexpr int kEventPercent = 35, kEventRows = 8;
  // How many of the planes are set, for the 32 channels of each of n words, `step` apart.
  static void spikes(const int32_t* words, size_t step, size_t n, int levels, size_t plane, int16_t* out) {
    for (size_t i = 0; i < n; ++i, words += step, out += 32) {
      Simd::I16 count[4] = {};
      for (int level = 0; level < levels; ++level)
        for (int j = 0; j < 4; ++j)
          count[j] = Simd::add16_where(count[j], static_cast<uint32_t>(words[level * plane]) >> (8 * j),
                                       Simd::set16(1));
      memcpy(out, count, sizeof count);
    }
  }

  // The same of words side by side.
  static void counts(const int32_t* words, size_t n, int levels, size_t plane, int16_t* out) {
    spikes(words, 1, n, levels, plane, out);
  }

  // 32 lanes, one a channel, of what stands at x and x + step.
  static void weave(const int16_t* x, size_t step, void* lanes) {
    const Simd::I16 low = {0, 8, 1, 9, 2, 10, 3, 11}, high = {4, 12, 5, 13, 6, 14, 7, 15};
    int16_t* out = static_cast<int16_t*>(lanes);
    for (int i = 0; i < 32; i += 8) {
      const Lanes a = load(x + i), b = load(x + i + step);
      const Lanes both[2] = {__builtin_shuffle(a, b, low), __builtin_shuffle(a, b, high)};
      memcpy(out + 2 * i, both, sizeof both);
    }
  }
};

typedef SmallDot DenseDot;

}  // namespace
}  // namespace svf
#endif
