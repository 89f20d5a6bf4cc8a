// An operator and its LIF stage one after the other: the definition of the fused operators, and what a kernel
// without a fused form does.
#ifndef SVF_STAGES_H
#define SVF_STAGES_H

#include "kernels.h"

namespace svf {
namespace {

// run(y) computes the int32 result [frames, positions, channels]; lif is a kernel set's.
template <typename Run>
bool in_stages(const svf_lif_stage& stage, int frames, int positions, int channels, const Run& run,
               bool (*lif)(const LifArgs&, const svf_parallel*), const svf_parallel* parallel) {
  const size_t size = static_cast<size_t>(frames) * positions * channels;
  const size_t bytes = size * sizeof(int32_t);
  // The result may not be written to a sum that is the residual too.
  int32_t* result = static_cast<int32_t*>(allocate_scratch(bytes));
  bool ok = result != nullptr && run(result);
  if (ok) {
    if (stage.residual != nullptr)
      for (size_t i = 0; i < size; ++i) result[i] += stage.residual[i];
    if (stage.sum != nullptr)
      for (size_t i = 0; i < size; ++i) stage.sum[i] = result[i];
    ok = lif({frames, positions, channels, (channels + 31) / 32, stage.levels, stage.soft_reset != 0, result,
              stage.gain, stage.bias, stage.theta, stage.spikes, stage.before, stage.after},
             parallel);
  }
  release_scratch(result, bytes);
  return ok;
}

template <typename Args>
bool convolve_in_stages(const Args& args, bool (*convolve)(const Args&, const svf_parallel*),
                        bool (*lif)(const LifArgs&, const svf_parallel*), const svf_parallel* parallel) {
  const Conv& c = args.conv;
  auto run = [&](int32_t* y) {
    Args plain = args;
    plain.y = y;
    plain.lif = nullptr;
    return convolve(plain, parallel);
  };
  return in_stages(*args.lif, c.frames, c.out_h * c.out_w, c.out_channels, run, lif, parallel);
}

}  // namespace
}  // namespace svf
#endif
