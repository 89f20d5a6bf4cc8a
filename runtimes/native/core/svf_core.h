/* Bit-packed spike operators in plain C. docs/contract.md ("Packing", "Operators") defines every result.
 *
 * Tensors are dense and channels-last. Spikes are int32 words, channel c in bit c % 32 of word c / 32; spikes
 * of `levels` levels are that many such tensors one after the other, the first holding S >= 1, the next S >=
 * 2, ... Planes that are no such thermometer code give unspecified integers. Weights are int8 [kernel h,
 * kernel w, in_channels / groups, out_channels]. A tensor has fewer than 2^30 elements, and so have a
 * convolution's padded input and an attention head's [width, width] matrix. Every function returns SVF_OK or
 * an error code; svf_last_error() then says what was wrong.
 */
#ifndef SVF_CORE_H
#define SVF_CORE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SVF_API __attribute__((visibility("default")))
#else
#define SVF_API
#endif

#define SVF_MAX_LEVELS 15

#ifdef __cplusplus
extern "C" {
#endif

typedef enum svf_status {
  SVF_OK = 0,
  SVF_INVALID_ARGUMENT = 1,
  SVF_OUT_OF_MEMORY = 2,
  SVF_UNKNOWN_ISA = 3
} svf_status;

typedef enum svf_type { SVF_UINT8 = 0, SVF_INT8 = 1, SVF_INT32 = 2 } svf_type;

/* How a spike convolution is computed. It never changes a result: event adds the weight rows of active
 * inputs, dense multiplies all inputs, auto counts the spikes of each tile and takes what is faster at that
 * rate. */
typedef enum svf_density { SVF_AUTO = 0, SVF_EVENT = 1, SVF_DENSE = 2 } svf_density;

typedef enum svf_attention_kind { SVF_HAMMING = 0, SVF_DOT = 1 } svf_attention_kind;

/* Runs task(arg, i) for every i in [0, n), in any order and on any threads, and returns when all are done.
 * A null svf_parallel, or a null for_each, means: on the calling thread. */
typedef struct svf_parallel {
  void (*for_each)(void* context, void (*task)(void* arg, size_t i), void* arg, size_t n);
  void* context;
} svf_parallel;

typedef struct svf_conv2d_params {
  int32_t frames, height, width; /* T, H, W of the input */
  int32_t in_channels, out_channels;
  int32_t kernel[2], stride[2], padding[2]; /* (height, width) */
  int32_t groups;
  int32_t output_type; /* SVF_INT32, or SVF_INT8 saturated to -127..127 */
  int32_t input_type;  /* svf_conv2d and svf_conv2d_lif only: SVF_UINT8 or SVF_INT8 */
  int32_t zero_point;  /* svf_conv2d and svf_conv2d_lif only: the input integer that stands for zero */
  int32_t levels;      /* spike convolutions only: of the input, 1..SVF_MAX_LEVELS */
  int32_t density;     /* spike convolutions only: svf_density */
} svf_conv2d_params;

typedef struct svf_lif_params {
  int32_t frames, positions, channels; /* T, H * W, C */
  int32_t soft_reset;                  /* 0: U = 0 after a spike; else U = H - S * theta */
  int32_t levels;                      /* the most that S can be, 1..SVF_MAX_LEVELS */
} svf_lif_params;

/* What is done with the int32 result of a convolution or an attention in the same pass: a sum and a LIF over
 * time. `shape` is the result's, [T, positions, C]. `residual` and `sum` may be the same tensor. */
typedef struct svf_lif_stage {
  const int32_t* gain;     /* int32 [C] */
  const int32_t* bias;     /* int32 [C] */
  const int32_t* theta;    /* int32 [C], at least 1 */
  const int32_t* residual; /* int32 `shape`, added to the result before the LIF; null: nothing is added */
  int32_t* sum;            /* int32 `shape`, what the LIF reads is stored here; null: it is not kept */
  int32_t* spikes;         /* words [levels, T, positions, ceil(C / 32)] */
  int32_t soft_reset;      /* as in svf_lif_params */
  int32_t levels;          /* as in svf_lif_params */
  const int32_t* before;   /* int32 [positions, C], membranes before the first time step; null: 0 */
  int32_t* after;          /* takes those after the last, may be `before`; null: they are not wanted */
} svf_lif_stage;

/* Weights of one convolution in the order that its kernels read. */
typedef struct svf_weights svf_weights;

typedef struct svf_attention_params {
  int32_t groups, tokens; /* independent groups of tokens each */
  int32_t channels, heads;
  int32_t kind;   /* svf_attention_kind */
  int32_t levels; /* of q, k and v, 1..SVF_MAX_LEVELS */
} svf_attention_params;

/* Output height and width of a convolution, or an error if the parameters are inconsistent. */
SVF_API svf_status svf_conv2d_output_size(const svf_conv2d_params* params, int32_t size[2]);

/* Orders the weights of a convolution once, for many calls; the caller keeps `weight` for as long. Only
 * kernel, channels, groups and density of `params` matter. `packed_input`: for the spike convolutions (1) or
 * for the others (0). A convolution takes the result beside `weight`, or null and then orders them in each
 * call. If the kernel set has been changed since, or the density is another one, it also does so in each
 * call. */
SVF_API svf_status svf_prepare_weights(const svf_conv2d_params* params, int32_t packed_input,
                                       const int8_t* weight, svf_weights** prepared);
SVF_API void svf_release_weights(svf_weights* prepared);

/* x: words [levels, T, H, W, ceil(Cin / 32)]; bias, shift: int32 [Cout]; prepared: null or of the same
 * weight; y: int32 or int8 [T, Ho, Wo, Cout] */
SVF_API svf_status svf_spike_conv2d(const svf_conv2d_params* params, const int32_t* x, const int8_t* weight,
                                    const svf_weights* prepared, const int32_t* bias, const int32_t* shift,
                                    void* y, const svf_parallel* parallel);

/* x: uint8 or int8 [T, H, W, Cin]; the rest as svf_spike_conv2d */
SVF_API svf_status svf_conv2d(const svf_conv2d_params* params, const void* x, const int8_t* weight,
                              const svf_weights* prepared, const int32_t* bias, const int32_t* shift, void* y,
                              const svf_parallel* parallel);

/* The same convolutions with output type SVF_INT32 and then `lif`: the spikes and the sum are those of
 * svf_spike_conv2d or svf_conv2d, an addition and svf_lif. */
SVF_API svf_status svf_spike_conv2d_lif(const svf_conv2d_params* params, const int32_t* x,
                                        const int8_t* weight, const svf_weights* prepared,
                                        const int32_t* bias, const int32_t* shift, const svf_lif_stage* lif,
                                        const svf_parallel* parallel);
SVF_API svf_status svf_conv2d_lif(const svf_conv2d_params* params, const void* x, const int8_t* weight,
                                  const svf_weights* prepared, const int32_t* bias, const int32_t* shift,
                                  const svf_lif_stage* lif, const svf_parallel* parallel);

/* x: int32 [T, H * W, C]; gain, bias, theta (at least 1): int32 [C]; y: words [levels, T, H * W, ceil(C /
 * 32)] */
SVF_API svf_status svf_lif(const svf_lif_params* params, const int32_t* x, const int32_t* gain,
                           const int32_t* bias, const int32_t* theta, int32_t* y,
                           const svf_parallel* parallel);

/* svf_lif from membranes `before` to membranes `after`, as in svf_lif_stage: a piece of a stream. */
SVF_API svf_status svf_lif_from(const svf_lif_params* params, const int32_t* x, const int32_t* gain,
                                const int32_t* bias, const int32_t* theta, const int32_t* before,
                                int32_t* after, int32_t* y, const svf_parallel* parallel);

/* q, k, v: words [levels, G, N, ceil(C / 32)]; y: int32 [G, N, C] */
SVF_API svf_status svf_attention(const svf_attention_params* params, const int32_t* q, const int32_t* k,
                                 const int32_t* v, int32_t* y, const svf_parallel* parallel);

/* The attention and then `lif`. The rows of y, [G * N, C], must lie in the order (time, position), with G * N
 * / frames positions: joint attention is one group, spatial attention one group per frame. */
SVF_API svf_status svf_attention_lif(const svf_attention_params* params, int32_t frames, const int32_t* q,
                                     const int32_t* k, const int32_t* v, const svf_lif_stage* lif,
                                     const svf_parallel* parallel);

/* Causal attention: the groups are frames in order, and each sees the keys and values of the last `window`
 * (at least 1) of them, its own included. One frame of a stream takes in `before` the sum of the summaries of
 * the window - 1 frames before it and gives its own in `summary`: int32 [heads, width, width], row = key
 * channel, column = value channel; for a clip both are null. Either y or the tensors of `lif` take the
 * result, as in svf_attention and in svf_attention_lif with a frame per group; the other is null. */
SVF_API svf_status svf_causal_attention(const svf_attention_params* params, int32_t window, const int32_t* q,
                                        const int32_t* k, const int32_t* v, const int32_t* before,
                                        int32_t* summary, int32_t* y, const svf_lif_stage* lif,
                                        const svf_parallel* parallel);

/* x: uint8 [T, C, positions]; y: uint8 [T, positions, C] */
SVF_API svf_status svf_channels_last(int64_t frames, int64_t channels, int64_t positions, const uint8_t* x,
                                     uint8_t* y, const svf_parallel* parallel);

/* packed: bytes [ceil(size * bits / 8)] of two's complement fields, bits 4 or 2, the first in the lowest
 * bits; weight: int8 [size] */
SVF_API svf_status svf_unpack_weights(const uint8_t* packed, int32_t bits, int64_t size, int8_t* weight);

/* The most bytes of scratch memory that the operators of this process held at one time since the start or the
 * last reset. */
SVF_API size_t svf_scratch_peak(void);
SVF_API void svf_reset_scratch_peak(void);

/* The sentence for the last error on this thread ("" if there was none). */
SVF_API const char* svf_last_error(void);

/* Kernel sets this machine can run, slowest first, separated by spaces; "reference" is always the first. */
SVF_API const char* svf_available_isas(void);

/* The kernel set in use: the fastest available, unless SVF_ISA in the environment or svf_set_isa chose one.
 */
SVF_API const char* svf_isa(void);

/* Chooses a kernel set for the whole process; NULL or "" returns to the fastest. Not while operators run. */
SVF_API svf_status svf_set_isa(const char* name);

#ifdef __cplusplus
}
#endif
#endif
