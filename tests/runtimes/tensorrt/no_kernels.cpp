// Stands in for the CUDA kernels in builds of the plug-ins that never run one: engines are only built.
#include "svf_cuda.h"

svf_status svf_cuda_lif_carriers(const svf_lif_params*, const void*, int32_t, const int32_t*, const int32_t*,
                                 const int32_t*, const int32_t*, int32_t*, void*, int32_t, int32_t*, void*) {
  return SVF_INVALID_ARGUMENT;
}

size_t svf_cuda_attention_workspace(const svf_attention_params*, int32_t) { return 256; }

svf_status svf_cuda_attention(const svf_attention_params*, const int32_t*, const int32_t*, const int32_t*,
                              int32_t*, void*, void*) {
  return SVF_INVALID_ARGUMENT;
}

svf_status svf_cuda_causal_attention(const svf_attention_params*, int32_t, const int32_t*, const int32_t*,
                                     const int32_t*, const int32_t*, int32_t*, int32_t*, const svf_lif_stage*,
                                     void*, void*) {
  return SVF_INVALID_ARGUMENT;
}

const char* svf_cuda_last_error(void) { return "there are no kernels in this build"; }
