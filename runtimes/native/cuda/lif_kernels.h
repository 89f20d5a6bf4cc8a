// The integer LIF over time (docs/contract.md, "Nodes"): membranes in registers, one pass over x.
#pragma once

#include "lif_step.h"

namespace svf {

// A LIF behind a tensor x, int32 [T, positions, C], as in svf_lif_stage.
struct LifWork {
  LifArgs lif;
  const int32_t* residual;  // added to x, or null
  int32_t* sum;             // takes what the LIF reads, or null
};

constexpr int kLifThreads = 256;
constexpr int kLifAhead = 4;  // time steps whose x is on its way at one time

// A warp takes one word of one position: a lane a channel, so that reads are coalesced and a ballot packs.
__global__ void __launch_bounds__(kLifThreads) lif_kernel(LifWork work) {
  const LifArgs& a = work.lif;
  const int lane = threadIdx.x % kWarp;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (kLifThreads / kWarp);
  const int64_t count = static_cast<int64_t>(a.positions) * a.words;
  const size_t plane = static_cast<size_t>(a.frames) * count;
  const size_t frame = static_cast<size_t>(a.positions) * a.channels;
  int64_t index = static_cast<int64_t>(blockIdx.x) * (kLifThreads / kWarp) + threadIdx.x / kWarp;
  for (; index < count; index += warps) {
    const int64_t position = index / a.words;
    const int channel = static_cast<int>(index % a.words) * kWordBits + lane;
    const bool real = channel < a.channels;
    const size_t neuron_index = static_cast<size_t>(position) * a.channels + channel;
    // Padding channels never reach their threshold.
    Neuron neuron{0, 0, 1};
    int32_t u = 0;
    if (real) {
      neuron = {a.gain[channel], a.bias[channel], a.theta[channel]};
      if (a.before != nullptr) u = a.before[neuron_index];
    }
    for (int t0 = 0; t0 < a.frames; t0 += kLifAhead) {
      int32_t x[kLifAhead] = {};
#pragma unroll
      for (int i = 0; i < kLifAhead; ++i) {
        const size_t at = neuron_index + static_cast<size_t>(t0 + i) * frame;
        if (!real || t0 + i >= a.frames) continue;
        x[i] = a.x[at];
        if (work.residual != nullptr)
          x[i] = static_cast<int32_t>(static_cast<uint32_t>(x[i]) + static_cast<uint32_t>(work.residual[at]));
        if (work.sum != nullptr) work.sum[at] = x[i];
      }
#pragma unroll
      for (int i = 0; i < kLifAhead; ++i) {
        if (t0 + i >= a.frames) break;
        const int32_t spikes = step(neuron, x[i], a.soft_reset, a.levels, u);
        store_planes(spikes, a.levels, a.y + static_cast<size_t>(t0 + i) * count + index, plane, lane);
      }
    }
    if (real && a.after != nullptr) a.after[neuron_index] = u;
  }
}

// A LIF in a graph of carriers (svf_cuda_lif_carriers).
template <typename X, typename Spikes>
struct CarrierWork {
  LifArgs lif;  // x and y unused
  const X* x;
  Spikes* spikes;
  int32_t* words;
};

__device__ inline int32_t to_integer(int32_t x) { return x; }
__device__ inline int32_t to_integer(float x) { return __float2int_rd(x); }

constexpr int kCarrierRows = 8;                          // warps of a block
constexpr int kCarrierTurns = kWordBits / kCarrierRows;  // channels of a warp

struct CarrierWords {
  uint32_t part[kCarrierRows][kWarp];
};

// A block takes 32 positions, which lie side by side, of 32 channels: a warp four channels, a lane a
// position. Words go over channels, so that the warps' shares of them meet in shared memory.
template <typename X, typename Spikes>
__global__ void __launch_bounds__(kWarp* kCarrierRows) carrier_lif_kernel(CarrierWork<X, Spikes> work) {
  SVF_SHARED(CarrierWords, shared);
  const LifArgs& a = work.lif;
  const int lane = threadIdx.x % kWarp, row = threadIdx.x / kWarp;
  const int tiles = (a.positions + kWarp - 1) / kWarp;
  const size_t plane = static_cast<size_t>(a.frames) * a.positions * a.words;
  for (int64_t tile = blockIdx.x; tile < static_cast<int64_t>(tiles) * a.words; tile += gridDim.x) {
    const int word = static_cast<int>(tile / tiles);
    const int position = static_cast<int>(tile % tiles) * kWarp + lane;
    Neuron neurons[kCarrierTurns];
    int32_t u[kCarrierTurns];
    bool real[kCarrierTurns];
    size_t place[kCarrierTurns];
#pragma unroll
    for (int i = 0; i < kCarrierTurns; ++i) {
      const int channel = word * kWordBits + row * kCarrierTurns + i;
      real[i] = channel < a.channels && position < a.positions;
      place[i] = static_cast<size_t>(channel) * a.positions + position;
      neurons[i] = {0, 0, 1};
      u[i] = 0;
      if (!real[i]) continue;
      neurons[i] = {a.gain[channel], a.bias[channel], a.theta[channel]};
      if (a.before != nullptr) u[i] = a.before[place[i]];
    }
    for (int t = 0; t < a.frames; ++t) {
      const size_t frame = static_cast<size_t>(t) * a.channels * a.positions;
      int32_t spikes[kCarrierTurns];
#pragma unroll
      for (int i = 0; i < kCarrierTurns; ++i) {
        spikes[i] = 0;
        if (!real[i]) continue;
        spikes[i] = step(neurons[i], to_integer(work.x[frame + place[i]]), a.soft_reset, a.levels, u[i]);
        if (work.spikes != nullptr) work.spikes[frame + place[i]] = static_cast<Spikes>(spikes[i]);
      }
      if (work.words == nullptr) continue;
      for (int32_t level = 1; level <= a.levels; ++level) {
        uint32_t bits = 0;
#pragma unroll
        for (int i = 0; i < kCarrierTurns; ++i)
          bits |= static_cast<uint32_t>(spikes[i] >= level) << (row * kCarrierTurns + i);
        shared.part[row][lane] = bits;
        __syncthreads();
        if (row == 0 && position < a.positions) {
          for (int other = 1; other < kCarrierRows; ++other) bits |= shared.part[other][lane];
          const size_t at = (static_cast<size_t>(t) * a.positions + position) * a.words + word;
          work.words[static_cast<size_t>(level - 1) * plane + at] = static_cast<int32_t>(bits);
        }
        __syncthreads();  // before the next level's bits
      }
    }
#pragma unroll
    for (int i = 0; i < kCarrierTurns; ++i)
      if (real[i] && a.after != nullptr) a.after[place[i]] = u[i];
  }
}

}  // namespace svf
