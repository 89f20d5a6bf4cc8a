#include "kernels.h"

namespace svf {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 65535;

__device__ int64_t first_index() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

__device__ int64_t index_stride() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

unsigned grid(int64_t count) {
  const int64_t blocks = (count + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

// Keys and values in one launch: the first half of the index range is K, the second half V.
__global__ void __launch_bounds__(kThreads)
    columns_kernel(AttentionShape shape, const uint32_t* k, const uint32_t* v, uint32_t* columns) {
  const int64_t half = shape.column_count();
  for (int64_t i = first_index(); i < 2 * half; i += index_stride()) {
    columns[i] = i < half ? column_word(shape, k, i) : column_word(shape, v, i - half);
  }
}

template <bool kHamming>
__global__ void __launch_bounds__(kThreads)
    summary_kernel(AttentionShape shape, const uint32_t* columns, int32_t* summary) {
  for (int64_t i = first_index(); i < shape.summary_count(); i += index_stride()) {
    summary[i] = summary_entry<kHamming>(shape, columns, columns + shape.column_count(), i);
  }
}

template <bool kHamming>
__global__ void __launch_bounds__(kThreads)
    output_kernel(AttentionShape shape, const uint32_t* q, const int32_t* summary, int32_t* o) {
  for (int64_t i = first_index(); i < shape.output_count(); i += index_stride()) {
    o[i] = output_entry<kHamming>(shape, q, summary, i);
  }
}

template <bool kHamming>
cudaError_t launch(AttentionShape shape, const uint32_t* q, const uint32_t* k, const uint32_t* v, int32_t* o,
                   uint32_t* columns, cudaStream_t stream) {
  int32_t* summary = reinterpret_cast<int32_t*>(columns + 2 * shape.column_count());
  columns_kernel<<<grid(2 * shape.column_count()), kThreads, 0, stream>>>(shape, k, v, columns);
  summary_kernel<kHamming><<<grid(shape.summary_count()), kThreads, 0, stream>>>(shape, columns, summary);
  output_kernel<kHamming><<<grid(shape.output_count()), kThreads, 0, stream>>>(shape, q, summary, o);
  return cudaGetLastError();
}

}  // namespace

size_t attention_workspace(AttentionShape shape) {
  return sizeof(uint32_t) * static_cast<size_t>(2 * shape.column_count()) +
         sizeof(int32_t) * static_cast<size_t>(shape.summary_count());
}

cudaError_t launch_attention(AttentionShape shape, bool hamming, const void* q, const void* k, const void* v,
                             void* o, void* workspace, cudaStream_t stream) {
  const auto* query = static_cast<const uint32_t*>(q);
  const auto* key = static_cast<const uint32_t*>(k);
  const auto* value = static_cast<const uint32_t*>(v);
  auto* output = static_cast<int32_t*>(o);
  auto* columns = static_cast<uint32_t*>(workspace);
  return hamming ? launch<true>(shape, query, key, value, output, columns, stream)
                 : launch<false>(shape, query, key, value, output, columns, stream);
}

}  // namespace svf
