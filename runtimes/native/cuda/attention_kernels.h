// Packed attention as kernels: columns of keys and values, summaries, output.
#pragma once

#include "attention_elements.h"

namespace svf {

constexpr int kAttentionThreads = 256;

__device__ inline int64_t first_index() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ inline int64_t index_stride() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// Keys and values in one launch: the first half of the index range is K, the second half V.
__global__ void __launch_bounds__(kAttentionThreads)
    columns_kernel(AttentionShape shape, const uint32_t* k, const uint32_t* v, uint32_t* columns) {
  const int64_t half = shape.column_count();
  for (int64_t i = first_index(); i < 2 * half; i += index_stride())
    columns[i] = i < half ? column_word(shape, k, i) : column_word(shape, v, i - half);
}

template <bool kHamming>
__global__ void __launch_bounds__(kAttentionThreads)
    summary_kernel(AttentionShape shape, const uint32_t* columns, int32_t* summary) {
  for (int64_t i = first_index(); i < shape.summary_count(); i += index_stride())
    summary[i] = summary_entry<kHamming>(shape, columns, columns + shape.column_count(), i);
}

// Causal attention: from the summaries M of all groups, which are frames, to the sums S of the last `window`
// ones, in place; of a stream's one frame M goes to `own`, and `before` is added. A thread keeps to one entry
// of all frames, the latest first, so that what it still has to read is as it was.
__global__ void __launch_bounds__(kAttentionThreads)
    window_kernel(AttentionShape shape, int32_t window, const int32_t* before, int32_t* own,
                  int32_t* summary) {
  const int64_t count = shape.summary_count() / shape.groups;
  for (int64_t i = first_index(); i < count; i += index_stride())
    for (int64_t group = shape.groups - 1; group >= 0; --group) {
      int32_t sum = summary[group * count + i];
      if (own != nullptr) own[i] = sum;
      if (before != nullptr) sum += before[i];
      for (int64_t seen = group - 1; seen >= 0 && group - seen < window; --seen)
        sum += summary[seen * count + i];
      summary[group * count + i] = sum;
    }
}

template <bool kHamming>
__global__ void __launch_bounds__(kAttentionThreads)
    output_kernel(AttentionShape shape, const uint32_t* q, const int32_t* summary, int32_t* o) {
  for (int64_t i = first_index(); i < shape.output_count(); i += index_stride())
    o[i] = output_entry<kHamming>(shape, q, summary, i);
}

}  // namespace svf
