// The arithmetic of the CUDA kernels on the host: one call of the device functions for every element, as in
// kernels.cu.
#include <cstdint>
#include <vector>

#include "attention.h"

namespace {

template <bool kHamming>
void attend(svf::AttentionShape shape, const uint32_t* q, const uint32_t* k, const uint32_t* v, int32_t* o) {
  std::vector<uint32_t> keys(shape.column_count());
  std::vector<uint32_t> values(shape.column_count());
  std::vector<int32_t> summary(shape.summary_count());
  for (int64_t i = 0; i < shape.column_count(); ++i) {
    keys[i] = svf::column_word(shape, k, i);
    values[i] = svf::column_word(shape, v, i);
  }
  for (int64_t i = 0; i < shape.summary_count(); ++i) {
    summary[i] = svf::summary_entry<kHamming>(shape, keys.data(), values.data(), i);
  }
  for (int64_t i = 0; i < shape.output_count(); ++i) {
    o[i] = svf::output_entry<kHamming>(shape, q, summary.data(), i);
  }
}

}  // namespace

extern "C" void attention_host(int64_t groups, int64_t tokens, int32_t channels, int32_t heads,
                               int32_t levels, int hamming, const uint32_t* q, const uint32_t* k,
                               const uint32_t* v, int32_t* o) {
  const svf::AttentionShape shape{groups, tokens, channels, heads, levels};
  hamming != 0 ? attend<true>(shape, q, k, v, o) : attend<false>(shape, q, k, v, o);
}
