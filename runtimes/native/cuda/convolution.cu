#include "choice.h"
#include "convolution_kernels.h"
#include "launch.h"
#include "lif.h"
#include "svf_cuda.h"

namespace svf {
namespace {

// How a convolution is computed. `fused`: the product kernel computes the LIF as well.
struct Plan {
  enum { kConvolve, kDepthwise, kProduct } kernel;
  bool fused;
  int tiles;  // of 16 rows, of a warp of the product kernel
};

constexpr int kMostTiles = 2;

int64_t product_blocks(const Conv& c, int64_t rows, int tiles) {
  const int64_t each = int64_t{16} * tiles * kProductWarps;
  return (rows + each - 1) / each * ((c.out_channels + kWordBits - 1) / kWordBits);
}

Plan plan(const Conv& c, bool spikes, bool staged) {
  const KernelChoice choice = kernel_choice();
  if (choice == KernelChoice::kSimple) return {Plan::kConvolve, false, 0};
  if (c.group_in == 1 && c.group_out == 1) return {Plan::kDepthwise, false, 0};
  if (c.groups != 1 || (!spikes && !has_byte_products(c))) return {Plan::kConvolve, false, 0};
  // Membranes in registers mean one block for all frames: only where that leaves enough blocks.
  const int64_t positions = static_cast<int64_t>(c.out_h) * c.out_w;
  const bool fused = staged && (c.frames == 1 || product_blocks(c, positions, 1) >= multiprocessors());
  const bool enough = product_blocks(c, positions * c.frames, kMostTiles) >= 2 * multiprocessors();
  return {Plan::kProduct, fused, !fused && enough ? kMostTiles : 1};
}

size_t scratch_bytes(const Conv& c, bool spikes, bool staged) {
  if (!staged || plan(c, spikes, true).fused) return 0;
  return sizeof(int32_t) * static_cast<size_t>(c.frames) * c.out_h * c.out_w * c.out_channels;
}

template <typename Chunks>
void launch_product(const ConvWork& work, const Plan& plan, void* stream) {
  const Conv& c = work.conv;
  const int64_t positions = static_cast<int64_t>(c.out_h) * c.out_w;
  const int64_t rows = plan.fused ? positions : positions * c.frames;
  const unsigned words = static_cast<unsigned>((c.out_channels + kWordBits - 1) / kWordBits);
  const dim3 grid(static_cast<unsigned>(product_blocks(c, rows, plan.tiles) / words), words);
  launch(plan.fused        ? product_kernel<Chunks, 1, true>
         : plan.tiles == 1 ? product_kernel<Chunks, 1, false>
                           : product_kernel<Chunks, kMostTiles, false>,
         grid, kProductThreads, stream, work);
}

template <bool kSpikes>
void launch_convolution(const ConvWork& work, const Plan& plan, void* stream) {
  const Conv& c = work.conv;
  const int64_t rows = static_cast<int64_t>(c.frames) * c.out_h, channels = c.out_channels;
  switch (plan.kernel) {
    case Plan::kConvolve:
      launch(convolve_kernel<kSpikes>, blocks_for(rows * c.out_w * channels, kConvThreads), kConvThreads,
             stream, work);
      break;
    case Plan::kDepthwise: {
      const int64_t spans = (c.out_w + kDepthwiseOutputs - 1) / kDepthwiseOutputs;
      launch(depthwise_kernel<kSpikes>, blocks_for(rows * spans * channels, kConvThreads), kConvThreads,
             stream, work);
      break;
    }
    case Plan::kProduct:
      kSpikes ? launch_product<SpikeChunks>(work, plan, stream)
              : launch_product<ByteChunks>(work, plan, stream);
  }
}

bool aligned(const void* tensor, int64_t step) {
  return step % 4 == 0 && reinterpret_cast<uintptr_t>(tensor) % 4 == 0;
}

template <bool kSpikes, typename Args>
svf_status run(const Args& a, void* workspace, void* stream) {
  const Conv& c = a.conv;
  const bool staged = a.lif != nullptr;
  const Plan chosen = plan(c, kSpikes, staged);
  const bool apart = staged && !chosen.fused;  // the LIF is a kernel of its own
  if (apart)
    if (svf_status status = check_tensors("convolution's scratch memory", {workspace})) return status;
  void* y = apart ? workspace : a.y;
  const ConvWork work{c,
                      a.x,
                      a.weight,
                      a.bias,
                      a.shift,
                      y,
                      staged ? *a.lif : svf_lif_stage{},
                      aligned(a.x, c.in_channels),
                      aligned(a.weight, c.out_channels)};
  launch_convolution<kSpikes>(work, chosen, stream);
  if (apart)
    return launch_stage(*a.lif, c.frames, c.out_h * c.out_w, c.out_channels, static_cast<const int32_t*>(y),
                        stream);
  return launched();
}

}  // namespace
}  // namespace svf

size_t svf_cuda_conv2d_workspace(const svf_conv2d_params* params, int32_t packed_input, int32_t staged) {
  svf::Conv conv{};
  if (svf::check_conv(params, &conv) != SVF_OK) return 0;  // the operator says what is wrong
  conv.input_is_signed = params->input_type == SVF_INT8;
  conv.zero_point = params->zero_point;
  return svf::scratch_bytes(conv, packed_input != 0, staged != 0);
}

svf_status svf_cuda_spike_conv2d(const svf_conv2d_params* params, const int32_t* x, const int8_t* weight,
                                 const int32_t* bias, const int32_t* shift, void* y, void* workspace,
                                 void* stream) {
  svf::SpikeConvArgs args{{}, x, weight, nullptr, bias, shift, y, nullptr};
  if (svf_status status = svf::check_spike_conv(params, false, &args)) return status;
  return svf::run<true>(args, workspace, stream);
}

svf_status svf_cuda_spike_conv2d_lif(const svf_conv2d_params* params, const int32_t* x, const int8_t* weight,
                                     const int32_t* bias, const int32_t* shift, const svf_lif_stage* lif,
                                     void* workspace, void* stream) {
  svf::SpikeConvArgs args{{}, x, weight, nullptr, bias, shift, nullptr, lif};
  if (svf_status status = svf::check_spike_conv(params, true, &args)) return status;
  return svf::run<true>(args, workspace, stream);
}

svf_status svf_cuda_conv2d(const svf_conv2d_params* params, const void* x, const int8_t* weight,
                           const int32_t* bias, const int32_t* shift, void* y, void* workspace,
                           void* stream) {
  svf::DenseConvArgs args{{}, x, weight, nullptr, bias, shift, y, nullptr};
  if (svf_status status = svf::check_dense_conv(params, false, &args)) return status;
  return svf::run<false>(args, workspace, stream);
}

svf_status svf_cuda_conv2d_lif(const svf_conv2d_params* params, const void* x, const int8_t* weight,
                               const int32_t* bias, const int32_t* shift, const svf_lif_stage* lif,
                               void* workspace, void* stream) {
  svf::DenseConvArgs args{{}, x, weight, nullptr, bias, shift, nullptr, lif};
  if (svf_status status = svf::check_dense_conv(params, true, &args)) return status;
  return svf::run<false>(args, workspace, stream);
}
