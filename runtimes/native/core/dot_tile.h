// Dot products of several rows of inputs with a few vectors of columns, all sums in registers.
#ifndef SVF_DOT_TILE_H
#define SVF_DOT_TILE_H

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

template <typename Dot>
using Multiply = void (*)(const typename Dot::Input* const*, const Columns<Dot>&, const int32_t*, int32_t*);

template <typename Dot, int kVectors, size_t... kRows>
Multiply<Dot> multiply_of(size_t rows, std::index_sequence<kRows...>) {
  static constexpr Multiply<Dot> kOf[] = {multiply<Dot, kRows + 1, kVectors>...};
  return kOf[rows - 1];
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
