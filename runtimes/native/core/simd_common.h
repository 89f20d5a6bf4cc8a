// Helpers shared by the vectorised kernels. Included once per instruction set, after that set's simd_*.h, so
// all of it has internal linkage: nothing compiled for one instruction set can be picked by the linker for
// another.
#ifndef SVF_SIMD_COMMON_H
#define SVF_SIMD_COMMON_H

#include <string.h>

#include "kernels.h"

// Before a loop over the registers of a tile: unrolled first of all, its arrays become registers.
#define SVF_UNROLL _Pragma("GCC unroll 16")

namespace svf {
namespace {

constexpr int kWordChannels = 32;
constexpr int kWordVectors = kWordChannels / Simd::kLanes32;
constexpr int kMaxInt16Adds = 256;  // 256 * 127 < 2^15: int8 values summed in int16 before widening
constexpr int kRowSlack = 32;       // entries append_rows may write past its end
static_assert(Simd::kLanes16 <= kMaxLanes, "the argument checks allow for vectors of kMaxLanes");

template <typename T>
T min_of(T a, T b) {
  return a < b ? a : b;
}
template <typename T>
T max_of(T a, T b) {
  return a > b ? a : b;
}

// Uninitialised memory for one task.
template <typename T>
class Scratch {
 public:
  explicit Scratch(size_t count) : bytes_(size_of(count)), data_(static_cast<T*>(allocate_scratch(bytes_))) {}
  ~Scratch() { release_scratch(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  bool ok() const { return data_ != nullptr; }
  T* get() { return data_; }
  const T* get() const { return data_; }
  T& operator[](size_t i) { return data_[i]; }

 private:
  static size_t size_of(size_t count) {
    return count > (SIZE_MAX - 64) / sizeof(T) ? SIZE_MAX : count * sizeof(T) + 64;
  }

  size_t bytes_;
  T* data_;
};

// Runs work(i) for i in [0, n) on the caller's threads; false if any of them returned false.
template <typename Work>
bool for_each(const svf_parallel* parallel, size_t n, const Work& work) {
  struct Job {
    const Work& work;
    bool ok;
  } job{work, true};
  if (n <= 1 || parallel == nullptr || parallel->for_each == nullptr) {
    for (size_t i = 0; i < n; ++i)
      if (!work(i)) return false;
    return true;
  }
  auto task = [](void* arg, size_t i) {
    Job* mine = static_cast<Job*>(arg);
    if (!mine->work(i)) __atomic_store_n(&mine->ok, false, __ATOMIC_RELAXED);
  };
  parallel->for_each(parallel->context, task, &job, n);
  return job.ok;
}

// Bias and shift of consecutive channels.
struct Affine {
  const int32_t* bias;
  const int32_t* shift;
  bool right_only;  // every shift of the operator is in 0..31, the usual case
  Affine operator+(int channels) const { return {bias + channels, shift + channels, right_only}; }
};

bool shifts_right_only(const int32_t* shift, int n) {
  bool all = true;
  for (int i = 0; i < n; ++i) all = all && shift[i] >= 0 && shift[i] <= 31;
  return all;
}

// ((acc << left) + bias) >> right, for kLanes32 channels.
Simd::I32 rescale(Simd::I32 acc, const Affine& affine) {
  const Simd::I32 n = Simd::load32(affine.shift), bias = Simd::load32(affine.bias);
  if (affine.right_only) return Simd::shift_right32(Simd::add32(acc, bias), n);
  const Simd::I32 zero = Simd::zero32();
  const Simd::I32 left = Simd::max32(Simd::sub32(zero, n), zero);
  const Simd::I32 right = Simd::min32(Simd::max32(n, zero), Simd::set32(31));
  return Simd::shift_right32(Simd::add32(Simd::shift_left32(acc, left), bias), right);
}

// Writes the first `count` of kLanes32 channels at y[index...], saturated if the output is int8.
void store_lanes(const Conv& c, void* y, size_t index, Simd::I32 value, int count) {
  if (count <= 0) return;
  if (c.saturate) {
    value = Simd::min32(Simd::max32(value, Simd::set32(-127)), Simd::set32(127));
    int8_t* out = static_cast<int8_t*>(y) + index;
    if (count >= Simd::kLanes32) return Simd::store_s8(out, value);
    int8_t lanes[Simd::kLanes32];
    Simd::store_s8(lanes, value);
    memcpy(out, lanes, static_cast<size_t>(count));
  } else {
    int32_t* out = static_cast<int32_t*>(y) + index;
    if (count >= Simd::kLanes32) return Simd::store32(out, value);
    int32_t lanes[Simd::kLanes32];
    Simd::store32(lanes, value);
    memcpy(out, lanes, static_cast<size_t>(count) * sizeof(int32_t));
  }
}

struct Pixel {
  int t, oy, ox;
};

Pixel pixel_at(const Conv& c, size_t index) {
  const int ox = static_cast<int>(index % c.out_w);
  const size_t line = index / c.out_w;
  return {static_cast<int>(line / c.out_h), static_cast<int>(line % c.out_h), ox};
}

}  // namespace
}  // namespace svf
#endif
