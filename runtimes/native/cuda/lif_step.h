// One time step of integer LIF neurons (docs/contract.md, "Nodes").
#pragma once

#include "device.h"

namespace svf {

struct Neuron {
  int32_t gain, bias, theta;
};

// One time step of one neuron: its spikes, and the membrane left in u. Sums wrap, as the core's do.
__device__ inline int32_t step(const Neuron& neuron, int32_t x, bool soft_reset, int32_t levels, int32_t& u) {
  const uint32_t charged = static_cast<uint32_t>(u) + static_cast<uint32_t>(neuron.bias) +
                           static_cast<uint32_t>(neuron.gain) * static_cast<uint32_t>(x);
  const int32_t h = static_cast<int32_t>(charged) >> 1;
  int32_t spikes = 0;
  if (h >= neuron.theta) {
    spikes = 1;
    if (levels > 1) {
      spikes = h / neuron.theta;
      spikes = spikes < levels ? spikes : levels;
    }
  }
  u = soft_reset ? h - spikes * neuron.theta : spikes > 0 ? 0 : h;
  return spikes;
}

// Words of one position and time step from the spikes of a warp's 32 channels: plane l from lane l - 1.
__device__ inline void store_planes(int32_t spikes, int32_t levels, int32_t* word, size_t plane, int lane) {
  uint32_t mine = 0;
  for (int32_t level = 1; level <= levels; ++level) {
    const uint32_t bits = __ballot_sync(kAll, spikes >= level);
    if (lane == level - 1) mine = bits;
  }
  if (lane < levels) word[static_cast<size_t>(lane) * plane] = static_cast<int32_t>(mine);
}

}  // namespace svf
