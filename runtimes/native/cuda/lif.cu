#include "lif.h"
#include "lif_kernels.h"
#include "svf_cuda.h"

namespace svf {
namespace {

svf_status launch_lif(const LifWork& work, void* stream) {
  const int64_t warps = static_cast<int64_t>(work.lif.positions) * work.lif.words;
  launch(lif_kernel, blocks_for(warps, kLifThreads / kWarp), kLifThreads, stream, work);
  return launched();
}

template <typename X, typename Spikes>
svf_status launch_carriers(const LifArgs& args, const void* x, void* spikes, int32_t* words, void* stream) {
  const CarrierWork<X, Spikes> work{args, static_cast<const X*>(x), static_cast<Spikes*>(spikes), words};
  const int64_t tiles = static_cast<int64_t>((args.positions + kWarp - 1) / kWarp) * args.words;
  launch(carrier_lif_kernel<X, Spikes>, blocks_for(tiles, 1), kWarp * kCarrierRows, stream, work);
  return launched();
}

}  // namespace

svf_status launch_stage(const svf_lif_stage& lif, int frames, int positions, int channels, const int32_t* x,
                        void* stream) {
  const LifArgs args{
      frames,   positions, channels,   (channels + 31) / 32, lif.levels, lif.soft_reset != 0, x, lif.gain,
      lif.bias, lif.theta, lif.spikes, lif.before,           lif.after};
  return launch_lif({args, lif.residual, lif.sum}, stream);
}

}  // namespace svf

svf_status svf_cuda_lif(const svf_lif_params* params, const int32_t* x, const int32_t* gain,
                        const int32_t* bias, const int32_t* theta, int32_t* y, void* stream) {
  return svf_cuda_lif_from(params, x, gain, bias, theta, nullptr, nullptr, y, stream);
}

svf_status svf_cuda_lif_from(const svf_lif_params* params, const int32_t* x, const int32_t* gain,
                             const int32_t* bias, const int32_t* theta, const int32_t* before, int32_t* after,
                             int32_t* y, void* stream) {
  svf::LifArgs args{0, 0, 0, 0, 0, false, x, gain, bias, theta, y, before, after};
  if (svf_status status = svf::check_lif(params, &args)) return status;
  return svf::launch_lif({args, nullptr, nullptr}, stream);
}

svf_status svf_cuda_lif_carriers(const svf_lif_params* params, const void* x, int32_t x_type,
                                 const int32_t* gain, const int32_t* bias, const int32_t* theta,
                                 const int32_t* before, int32_t* after, void* spikes, int32_t spikes_type,
                                 int32_t* words, void* stream) {
  // The checks ask for one input and one output, whatever their types.
  svf::LifArgs args{0,
                    0,
                    0,
                    0,
                    0,
                    false,
                    static_cast<const int32_t*>(x),
                    gain,
                    bias,
                    theta,
                    words != nullptr ? words : static_cast<int32_t*>(spikes),
                    before,
                    after};
  // Planes bound the levels, so where there are none int8 does.
  svf_lif_params checked = params == nullptr ? svf_lif_params{} : *params;
  if (words == nullptr && checked.levels > SVF_MAX_LEVELS && checked.levels <= INT8_MAX)
    checked.levels = SVF_MAX_LEVELS;
  if (svf_status status = svf::check_lif(params == nullptr ? nullptr : &checked, &args)) return status;
  args.levels = params->levels;
  if (x_type != SVF_CARRIER_INT32 && x_type != SVF_CARRIER_FLOAT32)
    return svf::fail(SVF_INVALID_ARGUMENT, "a LIF reads int32 or float32 carriers, not type %d", x_type);
  if (spikes_type != SVF_CARRIER_INT8 && spikes_type != SVF_CARRIER_FLOAT32)
    return svf::fail(SVF_INVALID_ARGUMENT, "a LIF gives int8 or float32 carriers, not type %d", spikes_type);
  const bool integers = x_type == SVF_CARRIER_INT32, bytes = spikes_type == SVF_CARRIER_INT8;
  const auto run = integers
                       ? bytes ? svf::launch_carriers<int32_t, int8_t> : svf::launch_carriers<int32_t, float>
                   : bytes ? svf::launch_carriers<float, int8_t>
                           : svf::launch_carriers<float, float>;
  return run(args, x, spikes, words, stream);
}
