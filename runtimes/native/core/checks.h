// Internal: what every operator of the C APIs, on CPUs and on GPUs, refuses, and the sentence that says so.
#ifndef SVF_CHECKS_H
#define SVF_CHECKS_H

#include <initializer_list>

#include "kernels.h"

namespace svf {

// Keeps the sentence for last_error of this thread, and returns `status`.
__attribute__((format(printf, 2, 3))) svf_status fail(svf_status status, const char* format, ...);
const char* last_error();

// Each fills the sizes of its arguments from the parameters; pointers are the caller's and are looked at. A
// `staged` operator has a LIF stage, the others have y.
svf_status check_conv(const svf_conv2d_params* p, Conv* out);
svf_status check_spike_conv(const svf_conv2d_params* p, bool staged, SpikeConvArgs* args);
svf_status check_dense_conv(const svf_conv2d_params* p, bool staged, DenseConvArgs* args);
svf_status check_lif(const svf_lif_params* p, LifArgs* args);
// With a stage `frames` must have been set.
svf_status check_attention(const svf_attention_params* p, bool staged, AttentionArgs* args);
// `window`, `before` and `summary` must have been set.
svf_status check_causal_attention(const svf_attention_params* p, AttentionArgs* args);

svf_status check_density(int32_t density);
// Whether none of an operator's tensors is missing.
svf_status check_tensors(const char* what, std::initializer_list<const void*> tensors);

}  // namespace svf
#endif
