// Internal: what a kernel set (one instruction set) provides, after the arguments have been checked.
#ifndef SVF_KERNELS_H
#define SVF_KERNELS_H

#include "svf_core.h"

namespace svf {

constexpr int kMaxLanes = 32;  // int16 values in the widest vector of any kernel set

// Scratch memory, aligned to 64 bytes and counted for svf_scratch_peak; null if there is none.
void* allocate_scratch(size_t bytes);
void release_scratch(void* memory, size_t bytes);

// Checked convolution: sizes derived once.
struct Conv {
  int frames, height, width, in_channels, out_channels;
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  int groups, group_in, group_out;  // channels per group
  int out_h, out_w;
  int in_words;    // words per position of packed input
  int zero_point;  // dense input only
  bool input_is_signed;
  bool saturate;  // int8 output
  // Packed input only: thermometer planes, and words from one to the next.
  int levels;
  size_t plane;
  svf_density density;
};

struct SpikeConvArgs {
  Conv conv;
  const int32_t* x;
  const int8_t* weight;
  const void* prepared;  // what the set's prepare_weights wrote, or null
  const int32_t* bias;
  const int32_t* shift;
  void* y;                   // null where lif takes the result
  const svf_lif_stage* lif;  // null: y takes it
};

struct DenseConvArgs {
  Conv conv;
  const void* x;
  const int8_t* weight;
  const void* prepared;  // what the set's prepare_weights wrote, or null
  const int32_t* bias;
  const int32_t* shift;
  void* y;                   // null where lif takes the result
  const svf_lif_stage* lif;  // null: y takes it
};

struct LifArgs {
  int frames, positions, channels, words, levels;
  bool soft_reset;
  const int32_t* x;
  const int32_t* gain;
  const int32_t* bias;
  const int32_t* theta;
  int32_t* y;
  const int32_t* before;  // membranes [positions, channels], or null
  int32_t* after;         // the same, or null
};

struct AttentionArgs {
  int groups, tokens, channels, heads, width, words, levels;  // width: channels per head
  bool hamming;
  const int32_t* q;
  const int32_t* k;
  const int32_t* v;
  int32_t* y;                // null where lif takes the result
  const svf_lif_stage* lif;  // null: y takes it
  int frames;                // of the rows, for lif
  int window;                // 0: groups are apart; else frames in their order
  const int32_t* before;     // summaries [heads, width, width] to add to the one group's, or null
  int32_t* summary;          // takes the one group's, or null
};

struct LayoutArgs {
  size_t frames, channels, positions;
  const uint8_t* x;  // [frames, channels, positions]
  uint8_t* y;        // [frames, positions, channels]
};

// Each entry returns false if scratch memory ran out, true otherwise.
struct KernelSet {
  const char* name;
  bool (*spike_conv2d)(const SpikeConvArgs&, const svf_parallel*);
  bool (*conv2d)(const DenseConvArgs&, const svf_parallel*);
  bool (*lif)(const LifArgs&, const svf_parallel*);
  bool (*attention)(const AttentionArgs&, const svf_parallel*);
  bool (*channels_last)(const LayoutArgs&, const svf_parallel*);
  // Bytes of a convolution's prepared weights (0: it reads them as they are), and what fills them.
  size_t (*weights_size)(const Conv&, bool packed_input);
  void (*prepare_weights)(const Conv&, bool packed_input, const int8_t* weight, void* prepared);
};

extern const KernelSet kReferenceKernels;
extern const KernelSet kPortableKernels;
#if defined(SVF_X86)
extern const KernelSet kAvx2Kernels;
extern const KernelSet kAvx512Kernels;
extern const KernelSet kAvx512VnniKernels;
#elif defined(SVF_ARM)
extern const KernelSet kNeonKernels;
extern const KernelSet kNeonDotprodKernels;
extern const KernelSet kNeonI8mmKernels;
#endif

}  // namespace svf
#endif
