// Dot products of several rows of inputs with a few vectors of columns, all sums in registers.
#ifndef SVF_DOT_TILE_H
#define SVF_DOT_TILE_H

#include <type_traits>
#include <utility>

#include "simd_common.h"

namespace svf {
namespace {

// What the rows of a tile have in common. A lane holds Dot::kDepth inputs that stand side by side.
template <typename Dot>
struct Columns {
  const uint32_t* offsets;  // of the lanes, from where a row's inputs start
  size_t lanes;
  const typename Dot::Weight* weight;  // of the first lane
  size_t weight_step;                  // from one lane to the next
  const int32_t* start;                // what the sums of the first row start with
  size_t start_step, out_step;         // from one row to the next
};

template <typename Dot, int kRows, int kVectors>
void multiply(const typename Dot::Input* const* rows, const Columns<Dot>& c, const int32_t* start,
              int32_t* out) {
  constexpr int kVector = Simd::kLanes32 * Dot::kDepth;
  const typename Dot::Input* x[kRows];
  typename Dot::Sum sum[kRows][kVectors];
  SVF_UNROLL
  for (int p = 0; p < kRows; ++p) {
    x[p] = rows[p];
    SVF_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[p][v] = Dot::zero();
  }
  const typename Dot::Weight* weight = c.weight;
  const uint32_t* offsets = c.offsets;
  const size_t lanes = c.lanes, weight_step = c.weight_step;
  for (size_t lane = 0; lane < lanes; ++lane, weight += weight_step) {
    typename Dot::Lanes w[kVectors];
    SVF_UNROLL
    for (int v = 0; v < kVectors; ++v) w[v] = Dot::load(weight + v * kVector);
    SVF_UNROLL
    for (int p = 0; p < kRows; ++p) {
      const typename Dot::Lanes inputs = Dot::broadcast(x[p] + offsets[lane]);
      SVF_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[p][v] = Dot::add(sum[p][v], inputs, w[v]);
    }
  }
  SVF_UNROLL
  for (int p = 0; p < kRows; ++p) SVF_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int lane = v * Simd::kLanes32;
    Simd::store32(out + p * c.out_step + lane,
                  Simd::add32(Dot::total(sum[p][v]), Simd::load32(start + p * c.start_step + lane)));
  }
}

// The same where an instruction takes two rows and two columns: a vector of sums is [2 rows, 2 columns], and
// so half as wide as one of Simd.
template <typename Dot, int kRows, int kVectors>
void multiply_pairs(const typename Dot::Input* const* rows, const Columns<Dot>& c, const int32_t* start,
                    int32_t* out) {
  constexpr int kPairs = (kRows + 1) / 2, kHalves = 2 * kVectors;
  constexpr int kHalf = Simd::kLanes32 / 2 * Dot::kDepth;
  const typename Dot::Input* x[2 * kPairs];
  typename Dot::Sum sum[kPairs][kHalves];
  SVF_UNROLL
  for (int p = 0; p < kPairs; ++p) {
    x[2 * p] = rows[2 * p];
    x[2 * p + 1] = rows[min_of(2 * p + 1, kRows - 1)];
    SVF_UNROLL
    for (int v = 0; v < kHalves; ++v) sum[p][v] = Dot::zero();
  }
  const typename Dot::Weight* weight = c.weight;
  for (size_t lane = 0; lane < c.lanes; ++lane, weight += c.weight_step) {
    typename Dot::Lanes inputs[kPairs];
    SVF_UNROLL
    for (int p = 0; p < kPairs; ++p)
      inputs[p] = Dot::pair(x[2 * p] + c.offsets[lane], x[2 * p + 1] + c.offsets[lane]);
    SVF_UNROLL
    for (int v = 0; v < kHalves; ++v) {
      const typename Dot::Lanes w = Dot::load(weight + v * kHalf);
      SVF_UNROLL
      for (int p = 0; p < kPairs; ++p) sum[p][v] = Dot::add(sum[p][v], inputs[p], w);
    }
  }
  SVF_UNROLL
  for (int p = 0; p < kRows; ++p) SVF_UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int lane = v * Simd::kLanes32;
    const Simd::I32 total = Dot::row(sum[p / 2][2 * v], sum[p / 2][2 * v + 1], p % 2);
    Simd::store32(out + p * c.out_step + lane,
                  Simd::add32(total, Simd::load32(start + p * c.start_step + lane)));
  }
}

// Whether a set's dot products are such ones.
template <typename Dot, typename = void>
struct TakesPairs : std::false_type {};
template <typename Dot>
struct TakesPairs<Dot, std::void_t<decltype(&Dot::pair)>> : std::true_type {};

template <typename Dot>
using Multiply = void (*)(const typename Dot::Input* const*, const Columns<Dot>&, const int32_t*, int32_t*);

template <typename Dot, int kVectors, size_t... kRows>
Multiply<Dot> multiply_of(size_t rows, std::index_sequence<kRows...>) {
  if constexpr (TakesPairs<Dot>::value) {
    static constexpr Multiply<Dot> kOf[] = {multiply_pairs<Dot, kRows + 1, kVectors>...};
    return kOf[rows - 1];
  } else {
    static constexpr Multiply<Dot> kOf[] = {multiply<Dot, kRows + 1, kVectors>...};
    return kOf[rows - 1];
  }
}

// Any number of rows, in parts of nearly the same number. `out` may be where the sums start.
template <typename Dot, int kVectors, size_t kMost = Dot::tile_pixels(kVectors)>
void multiply_tile(const typename Dot::Input* const* x, size_t rows, const Columns<Dot>& c, int32_t* out) {
  const int32_t* start = c.start;
  for (size_t parts = (rows + kMost - 1) / kMost; parts > 0; --parts) {
    const size_t part = (rows + parts - 1) / parts;
    multiply_of<Dot, kVectors>(part, std::make_index_sequence<kMost>())(x, c, start, out);
    x += part;
    start += part * c.start_step;
    out += part * c.out_step;
    rows -= part;
  }
}

}  // namespace
}  // namespace svf
#endif
