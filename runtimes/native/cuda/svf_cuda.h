/* The packed operators on a CUDA GPU, in plain C: svf_core.h's parameters and results, with device pointers.
 *
 * Every tensor, vectors and the pointers of a svf_lif_stage included, lies in the memory of the current
 * device; the structs themselves are the host's and are read before a function returns. Work is put on
 * `stream` (a cudaStream_t; null is the default one) and not waited for. `workspace` is device memory of as
 * many bytes as the function named beside it says, aligned to 16, and in use until the stream has come that
 * far; it may be null where that is 0. A function returns SVF_OK or an error code; svf_cuda_last_error() then
 * says what was wrong, CUDA's own words included.
 */
#ifndef SVF_CUDA_H
#define SVF_CUDA_H

#include "svf_core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Types of the tensors of svf_cuda_lif_carriers, which all hold integers. */
typedef enum svf_carrier { SVF_CARRIER_INT32 = 0, SVF_CARRIER_FLOAT32 = 1, SVF_CARRIER_INT8 = 2 } svf_carrier;

/* As in svf_core.h. */
SVF_API svf_status svf_cuda_lif(const svf_lif_params* params, const int32_t* x, const int32_t* gain,
                                const int32_t* bias, const int32_t* theta, int32_t* y, void* stream);
SVF_API svf_status svf_cuda_lif_from(const svf_lif_params* params, const int32_t* x, const int32_t* gain,
                                     const int32_t* bias, const int32_t* theta, const int32_t* before,
                                     int32_t* after, int32_t* y, void* stream);

/* A LIF in a graph of carriers, channels first: x [T, C, positions] of x_type, int32 or float32. A float32 x
 * need not be an integer: its floor is read. spikes: [T, C, positions] of spikes_type, float32 or int8, or
 * null where they are not wanted; words: [levels, T, positions, ceil(C / 32)], or null, and then levels may
 * be up to 127. before and after: int32 [C, positions], or null. */
SVF_API svf_status svf_cuda_lif_carriers(const svf_lif_params* params, const void* x, int32_t x_type,
                                         const int32_t* gain, const int32_t* bias, const int32_t* theta,
                                         const int32_t* before, int32_t* after, void* spikes,
                                         int32_t spikes_type, int32_t* words, void* stream);

/* As in svf_core.h. The workspace is that of the same parameters; `staged`: with a LIF stage. */
SVF_API size_t svf_cuda_attention_workspace(const svf_attention_params* params, int32_t staged);
SVF_API svf_status svf_cuda_attention(const svf_attention_params* params, const int32_t* q, const int32_t* k,
                                      const int32_t* v, int32_t* y, void* workspace, void* stream);
SVF_API svf_status svf_cuda_attention_lif(const svf_attention_params* params, int32_t frames,
                                          const int32_t* q, const int32_t* k, const int32_t* v,
                                          const svf_lif_stage* lif, void* workspace, void* stream);
SVF_API svf_status svf_cuda_causal_attention(const svf_attention_params* params, int32_t window,
                                             const int32_t* q, const int32_t* k, const int32_t* v,
                                             const int32_t* before, int32_t* summary, int32_t* y,
                                             const svf_lif_stage* lif, void* workspace, void* stream);

/* As in svf_core.h, but there are no prepared weights, and `density` means nothing. */
SVF_API size_t svf_cuda_conv2d_workspace(const svf_conv2d_params* params, int32_t packed_input,
                                         int32_t staged);
SVF_API svf_status svf_cuda_spike_conv2d(const svf_conv2d_params* params, const int32_t* x,
                                         const int8_t* weight, const int32_t* bias, const int32_t* shift,
                                         void* y, void* workspace, void* stream);
SVF_API svf_status svf_cuda_spike_conv2d_lif(const svf_conv2d_params* params, const int32_t* x,
                                             const int8_t* weight, const int32_t* bias, const int32_t* shift,
                                             const svf_lif_stage* lif, void* workspace, void* stream);
SVF_API svf_status svf_cuda_conv2d(const svf_conv2d_params* params, const void* x, const int8_t* weight,
                                   const int32_t* bias, const int32_t* shift, void* y, void* workspace,
                                   void* stream);
SVF_API svf_status svf_cuda_conv2d_lif(const svf_conv2d_params* params, const void* x, const int8_t* weight,
                                       const int32_t* bias, const int32_t* shift, const svf_lif_stage* lif,
                                       void* workspace, void* stream);

/* As in svf_core.h. */
SVF_API svf_status svf_cuda_channels_last(int64_t frames, int64_t channels, int64_t positions,
                                          const uint8_t* x, uint8_t* y, void* stream);
SVF_API svf_status svf_cuda_unpack_weights(const uint8_t* packed, int32_t bits, int64_t size, int8_t* weight,
                                           void* stream);

/* The kernel set in use on the current device, and one for the whole process: "simple" (a thread an output),
 * "int8" (products on int8 tensor cores) or "binary" (counts on binary ones too; 8.0 to 9.0 only). The last
 * of them that the device has is used, and again after null or "". A workspace is that of the set in use. */
SVF_API const char* svf_cuda_kernels(void);
SVF_API svf_status svf_cuda_set_kernels(const char* name);

/* Choose kernels by size as on a device with so many multiprocessors, which changes no result: for tests. 0
 * returns to those of the device. Not between a workspace and its operator. */
SVF_API void svf_cuda_assume_multiprocessors(int32_t count);

/* The sentence for the last error on this thread ("" if there was none). */
SVF_API const char* svf_cuda_last_error(void);

#ifdef __cplusplus
}
#endif
#endif
