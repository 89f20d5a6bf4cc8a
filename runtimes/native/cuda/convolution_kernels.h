// Convolutions of packed spikes and of bytes (docs/contract.md, "Nodes").
//
// Three kernels. `convolve_kernel`: a thread an output, any convolution. `depthwise_kernel`: one channel a
// group, a thread several outputs of a row. `product_kernel`: one group, on int8 tensor cores, with the LIF
// behind it in registers where it is wanted.
#pragma once

#include "lif_step.h"
#include "tensor_cores.h"

namespace svf {

// Whether bytes become those of zero point 0 by a change of their top bits, so that tensor cores can take
// them.
inline bool has_byte_products(const Conv& c) {
  return c.zero_point == 0 || c.zero_point == (c.input_is_signed ? -128 : 128);
}

// A checked convolution, spikes or bytes.
struct ConvWork {
  Conv conv;
  const void* x;
  const int8_t* weight;
  const int32_t* bias;
  const int32_t* shift;
  void* y;  // int32 or int8; null where the kernel computes `lif` itself
  svf_lif_stage lif;
  bool aligned_x, aligned_weight;  // bytes may be read four at a time
};

// The sum of a convolution as the contract scales it; wraps as the core does.
__device__ inline int32_t scaled(int32_t sum, int32_t bias, int32_t shift) {
  const int left = shift < 0 ? -shift : 0;
  const int right = shift > 0 ? (shift < 31 ? shift : 31) : 0;
  return static_cast<int32_t>((static_cast<uint32_t>(sum) << left) + static_cast<uint32_t>(bias)) >> right;
}

__device__ inline void store(const Conv& c, void* y, size_t at, int32_t value) {
  if (c.saturate)
    static_cast<int8_t*>(y)[at] = static_cast<int8_t>(value < -127 ? -127 : value > 127 ? 127 : value);
  else
    static_cast<int32_t*>(y)[at] = value;
}

// The input integer, less its zero point, at a position (of all frames) and a channel.
template <bool kSpikes>
__device__ inline int32_t input_at(const Conv& c, const void* x, int64_t position, int channel) {
  if (kSpikes) {
    const int32_t* word = static_cast<const int32_t*>(x) + position * c.in_words + channel / kWordBits;
    int32_t spikes = 0;
    for (int level = 0; level < c.levels; ++level, word += c.plane)
      spikes += static_cast<int32_t>(static_cast<uint32_t>(*word) >> (channel % kWordBits) & 1u);
    return spikes;
  }
  const int64_t at = position * c.in_channels + channel;
  const int32_t value =
      c.input_is_signed ? static_cast<const int8_t*>(x)[at] : static_cast<const uint8_t*>(x)[at];
  return value - c.zero_point;
}

// Where an output lies: index = ((t * Ho + oy) * Wo + ox) * Cout + channel.
struct Output {
  int frame, row, column, channel;
  __device__ Output(const Conv& c, int64_t index) {
    channel = static_cast<int>(index % c.out_channels);
    column = static_cast<int>(index / c.out_channels % c.out_w);
    row = static_cast<int>(index / c.out_channels / c.out_w % c.out_h);
    frame = static_cast<int>(index / c.out_channels / c.out_w / c.out_h);
  }
};

constexpr int kConvThreads = 128;

template <bool kSpikes>
__global__ void __launch_bounds__(kConvThreads) convolve_kernel(ConvWork work) {
  const Conv& c = work.conv;
  const int64_t count = static_cast<int64_t>(c.frames) * c.out_h * c.out_w * c.out_channels;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kConvThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kConvThreads + threadIdx.x; i < count; i += stride) {
    const Output out(c, i);
    const int first = out.channel / c.group_out * c.group_in;
    int32_t sum = 0;
    for (int ky = 0; ky < c.kernel_h; ++ky)
      for (int kx = 0; kx < c.kernel_w; ++kx) {
        const int iy = out.row * c.stride_h - c.pad_h + ky, ix = out.column * c.stride_w - c.pad_w + kx;
        if (iy < 0 || iy >= c.height || ix < 0 || ix >= c.width) continue;
        const int64_t position = (static_cast<int64_t>(out.frame) * c.height + iy) * c.width + ix;
        const int8_t* weight = work.weight +
                               static_cast<int64_t>(ky * c.kernel_w + kx) * c.group_in * c.out_channels +
                               out.channel;
        for (int ci = 0; ci < c.group_in; ++ci, weight += c.out_channels)
          sum += *weight * input_at<kSpikes>(c, work.x, position, first + ci);
      }
    store(c, work.y, i, scaled(sum, work.bias[out.channel], work.shift[out.channel]));
  }
}

constexpr int kDepthwiseOutputs = 4;  // of one row, whose taps a thread weighs together

// Channels lie in the lanes: a warp reads a word of spikes once, and weights side by side.
template <bool kSpikes>
__global__ void __launch_bounds__(kConvThreads) depthwise_kernel(ConvWork work) {
  const Conv& c = work.conv;
  const int spans = (c.out_w + kDepthwiseOutputs - 1) / kDepthwiseOutputs;
  const int64_t count = static_cast<int64_t>(c.frames) * c.out_h * spans * c.out_channels;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kConvThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kConvThreads + threadIdx.x; i < count; i += stride) {
    const int channel = static_cast<int>(i % c.out_channels);
    const int64_t span = i / c.out_channels;
    const int first = static_cast<int>(span % spans) * kDepthwiseOutputs;
    const int64_t out_row = span / spans;  // of all frames
    const int row = static_cast<int>(out_row % c.out_h);
    const int64_t frame_row = out_row / c.out_h * c.height;
    int32_t sums[kDepthwiseOutputs] = {};
    for (int ky = 0; ky < c.kernel_h; ++ky) {
      const int iy = row * c.stride_h - c.pad_h + ky;
      if (iy < 0 || iy >= c.height) continue;
      const int64_t line = (frame_row + iy) * c.width;
      for (int kx = 0; kx < c.kernel_w; ++kx) {
        const int32_t weight =
            work.weight[static_cast<int64_t>(ky * c.kernel_w + kx) * c.out_channels + channel];
#pragma unroll
        for (int o = 0; o < kDepthwiseOutputs; ++o) {
          const int ix = (first + o) * c.stride_w - c.pad_w + kx;
          if (ix >= 0 && ix < c.width) sums[o] += weight * input_at<kSpikes>(c, work.x, line + ix, channel);
        }
      }
    }
    for (int o = 0; o < kDepthwiseOutputs && first + o < c.out_w; ++o)
      store(c, work.y, (out_row * c.out_w + first + o) * c.out_channels + channel,
            scaled(sums[o], work.bias[channel], work.shift[channel]));
  }
}

// --- Products on int8 tensor cores
// ---------------------------------------------------------------------------------
//
// The convolution as a matrix product: rows are output positions, columns output channels, and the common
// axis runs over taps and input channels in chunks of 32, the word of one tap for spikes, and 32 of the taps'
// bytes in their order for bytes. A block takes 32 channels, one word of the result; its warps take kTiles *
// 16 rows each. Weights of kDepth chunks at a time lie in shared memory, transposed so that four of the
// common axis make one register.

constexpr int kProductWarps = 4;
constexpr int kProductThreads = kProductWarps * kWarp;
constexpr int kDepth = 4;         // chunks in shared memory
constexpr int kColumnWords = 12;  // of a column's 8 words, so that lanes read from all banks
constexpr int kChunk = 32;        // of the common axis
constexpr int kColumnTiles = kWordBits / 8;

struct ProductWeights {
  uint32_t words[2][kDepth][kWordBits][kColumnWords];
};

// Four rows of four weights from row `first` (of `rows`) and column `column`; 0 outside.
__device__ inline void load_weights(const ConvWork& work, int64_t first, int64_t rows, int column,
                                    uint32_t (&out)[4]) {
  const int columns = work.conv.out_channels;
  uint32_t r[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    r[i] = 0;
    if (first + i >= rows) continue;
    const int8_t* at = work.weight + (first + i) * columns + column;
    if (work.aligned_weight && column + 4 <= columns) {
      r[i] = *reinterpret_cast<const uint32_t*>(at);
    } else {
      for (int j = 0; j < 4 && column + j < columns; ++j)
        r[i] |= static_cast<uint32_t>(static_cast<uint8_t>(at[j])) << 8 * j;
    }
  }
  // Transpose: out[j] holds column j of the four rows.
  const uint32_t low01 = __byte_perm(r[0], r[1], 0x5140), low23 = __byte_perm(r[2], r[3], 0x5140);
  const uint32_t high01 = __byte_perm(r[0], r[1], 0x7362), high23 = __byte_perm(r[2], r[3], 0x7362);
  out[0] = __byte_perm(low01, low23, 0x5410);
  out[1] = __byte_perm(low01, low23, 0x7632);
  out[2] = __byte_perm(high01, high23, 0x5410);
  out[3] = __byte_perm(high01, high23, 0x7632);
}

// Chunks of spikes: tap by tap, word by word.
struct SpikeChunks {
  __device__ static bool is_signed(const Conv&) { return false; }  // 0..15

  __device__ static int count(const Conv& c) { return c.kernel_h * c.kernel_w * c.in_words; }
  __device__ static void rows(const Conv& c, int chunk, int64_t& first, int64_t& end) {
    const int64_t tap = chunk / c.in_words;
    first = tap * c.in_channels + chunk % c.in_words * kChunk;
    end = (tap + 1) * c.in_channels;
  }
  // Words `part` and `part + 4` of the chunk in the window whose corner is at (iy, ix) of a frame.
  __device__ static void load(const ConvWork& work, int chunk, int64_t frame, int iy, int ix, int part,
                              uint32_t& low, uint32_t& high) {
    const Conv& c = work.conv;
    const int tap = chunk / c.in_words;
    iy += tap / c.kernel_w;
    ix += tap % c.kernel_w;
    low = high = 0;
    if (iy < 0 || iy >= c.height || ix < 0 || ix >= c.width) return;
    const int64_t at = ((frame * c.height + iy) * c.width + ix) * c.in_words + chunk % c.in_words;
    const uint32_t* word = static_cast<const uint32_t*>(work.x) + at;
    for (int level = 0; level < c.levels; ++level, word += c.plane) {
      low += bytes_of_bits(*word >> 4 * part);
      high += bytes_of_bits(*word >> (16 + 4 * part));
    }
  }
};

// Chunks of bytes whose zero point a change of their top bits takes away (has_byte_products).
struct ByteChunks {
  // What a zero point of 0 makes of the bytes: signed ones of signed ones, and of unsigned ones less 128.
  __device__ static bool is_signed(const Conv& c) { return c.input_is_signed == (c.zero_point == 0); }

  __device__ static int count(const Conv& c) {
    return (c.kernel_h * c.kernel_w * c.in_channels + kChunk - 1) / kChunk;
  }
  __device__ static void rows(const Conv& c, int chunk, int64_t& first, int64_t& end) {
    first = static_cast<int64_t>(chunk) * kChunk;
    end = static_cast<int64_t>(c.kernel_h) * c.kernel_w * c.in_channels;
  }
  __device__ static void load(const ConvWork& work, int chunk, int64_t frame, int iy, int ix, int part,
                              uint32_t& low, uint32_t& high) {
    low = four(work, chunk * kChunk + 4 * part, frame, iy, ix);
    high = four(work, chunk * kChunk + 16 + 4 * part, frame, iy, ix);
  }

 private:
  // Bytes `first` to `first + 3` of the window, 0 outside the frame.
  __device__ static uint32_t four(const ConvWork& work, int first, int64_t frame, int iy, int ix) {
    const Conv& c = work.conv;
    const uint32_t flip = c.zero_point == 0 ? 0 : 0x80808080u;
    int tap = first / c.in_channels, channel = first % c.in_channels;
    if (work.aligned_x) {
      const uint8_t* at = place(work, tap, channel, frame, iy, ix);
      return at == nullptr ? 0 : *reinterpret_cast<const uint32_t*>(at) ^ flip;
    }
    uint32_t bytes = 0;
    for (int i = 0; i < 4; ++i) {
      const uint8_t* at = place(work, tap, channel, frame, iy, ix);
      if (at != nullptr) bytes |= (*at ^ (flip & 0xffu)) << 8 * i;
      if (++channel == c.in_channels) channel = 0, ++tap;
    }
    return bytes;
  }
  __device__ static const uint8_t* place(const ConvWork& work, int tap, int channel, int64_t frame, int iy,
                                         int ix) {
    const Conv& c = work.conv;
    if (tap >= c.kernel_h * c.kernel_w) return nullptr;
    iy += tap / c.kernel_w;
    ix += tap % c.kernel_w;
    if (iy < 0 || iy >= c.height || ix < 0 || ix >= c.width) return nullptr;
    const int64_t at = ((frame * c.height + iy) * c.width + ix) * c.in_channels + channel;
    return static_cast<const uint8_t*>(work.x) + at;
  }
};

// A block's walk over the weights: two halves of shared memory, one read while the other is on its way.
template <typename Chunks>
class WeightTiles {
 public:
  __device__ WeightTiles(const ConvWork& work, ProductWeights& shared, int column)
      : work_(work), shared_(shared), column_(column) {}

  __device__ void fetch(int first_chunk) {
#pragma unroll
    for (int i = 0; i < kShare; ++i) {
      const Task task(threadIdx.x + i * kProductThreads);
      int64_t first = 0, end = 0;
      if (first_chunk + task.chunk < Chunks::count(work_.conv))
        Chunks::rows(work_.conv, first_chunk + task.chunk, first, end);
      load_weights(work_, first + 4 * task.word, end, column_ + 4 * task.columns, held_[i]);
    }
  }
  __device__ void put(int half) {
#pragma unroll
    for (int i = 0; i < kShare; ++i) {
      const Task task(threadIdx.x + i * kProductThreads);
#pragma unroll
      for (int j = 0; j < 4; ++j)
        shared_.words[half][task.chunk][4 * task.columns + j][task.word] = held_[i][j];
    }
  }

 private:
  static constexpr int kShare = kDepth * 64 / kProductThreads;

  // Four columns of one word of a chunk.
  struct Task {
    int chunk, word, columns;
    __device__ explicit Task(int index) : chunk(index / 64), word(index / 8 % 8), columns(index % 8) {}
  };

  const ConvWork& work_;
  ProductWeights& shared_;
  int column_;
  uint32_t held_[kShare][4];
};

// What a lane holds of a product: outputs of 2 * kTiles rows, 8 apart, and of two channels in each tile of
// columns.
template <int kTiles>
using Held = int32_t[2 * kTiles][kColumnTiles][2];

// Sums to the output tensor; `first` is the lane's first channel.
template <int kTiles>
__device__ inline void put_sums(const ConvWork& work, int64_t rows, const int64_t (&row)[2 * kTiles],
                                int first, const int32_t (&sums)[kTiles][kColumnTiles][4]) {
  const int channels = work.conv.out_channels;
#pragma unroll
  for (int r = 0; r < 2 * kTiles; ++r)
#pragma unroll
    for (int j = 0; j < kColumnTiles; ++j)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int channel = first + 8 * j + i;
        if (row[r] >= rows || channel >= channels) continue;
        const int32_t sum = sums[r / 2][j][r % 2 * 2 + i];
        store(work.conv, work.y, row[r] * channels + channel,
              scaled(sum, work.bias[channel], work.shift[channel]));
      }
}

// Membranes before the first time step, or (kLoad false) after the last.
template <int kTiles, bool kLoad>
__device__ inline void move_membranes(const ConvWork& work, int64_t positions,
                                      const int64_t (&row)[2 * kTiles], int first, Held<kTiles>& u) {
  const int channels = work.conv.out_channels;
#pragma unroll
  for (int r = 0; r < 2 * kTiles; ++r)
#pragma unroll
    for (int j = 0; j < kColumnTiles; ++j)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int channel = first + 8 * j + i;
        const bool real = row[r] < positions && channel < channels;
        if (kLoad) {
          u[r][j][i] = real && work.lif.before != nullptr ? work.lif.before[row[r] * channels + channel] : 0;
        } else if (real && work.lif.after != nullptr) {
          work.lif.after[row[r] * channels + channel] = u[r][j][i];
        }
      }
}

// Time step t of the LIF on the sums: the four lanes of a row join their bits to the word of its channels.
template <int kTiles>
__device__ inline void fire(const ConvWork& work, int t, int64_t positions, const int64_t (&row)[2 * kTiles],
                            int word, const Fragment& fragment,
                            const int32_t (&sums)[kTiles][kColumnTiles][4], Held<kTiles>& u) {
  const svf_lif_stage& lif = work.lif;
  const int channels = work.conv.out_channels, words = (channels + kWordBits - 1) / kWordBits;
  const int64_t plane = work.conv.frames * positions * words;
#pragma unroll
  for (int r = 0; r < 2 * kTiles; ++r) {
    const int64_t position = t * positions + row[r];
    int32_t spikes[kColumnTiles][2];
#pragma unroll
    for (int j = 0; j < kColumnTiles; ++j)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int channel = word * kWordBits + 8 * j + 2 * fragment.part + i;
        spikes[j][i] = 0;
        if (row[r] >= positions || channel >= channels) continue;
        int32_t value = scaled(sums[r / 2][j][r % 2 * 2 + i], work.bias[channel], work.shift[channel]);
        const int64_t at = position * channels + channel;
        if (lif.residual != nullptr)
          value =
              static_cast<int32_t>(static_cast<uint32_t>(value) + static_cast<uint32_t>(lif.residual[at]));
        if (lif.sum != nullptr) lif.sum[at] = value;
        const Neuron neuron{lif.gain[channel], lif.bias[channel], lif.theta[channel]};
        spikes[j][i] = step(neuron, value, lif.soft_reset != 0, lif.levels, u[r][j][i]);
      }
    for (int32_t level = 1; level <= lif.levels; ++level) {
      uint32_t bits = 0;
#pragma unroll
      for (int j = 0; j < kColumnTiles; ++j)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          bits |= static_cast<uint32_t>(spikes[j][i] >= level) << (8 * j + 2 * fragment.part + i);
      bits |= __shfl_xor_sync(kAll, bits, 1);
      bits |= __shfl_xor_sync(kAll, bits, 2);
      if (row[r] < positions && fragment.part == (level - 1) % 4)
        lif.spikes[(level - 1) * plane + position * words + word] = static_cast<int32_t>(bits);
    }
  }
}

// Blocks: x for rows, y for words of output channels. With `kLif` rows are the positions of a frame, and the
// block goes through the frames with the membranes in registers; otherwise rows are the positions of all
// frames.
template <typename Chunks, int kTiles, bool kLif>
__global__ void __launch_bounds__(kProductThreads) product_kernel(ConvWork work) {
  SVF_SHARED(ProductWeights, shared);
  const Conv& c = work.conv;
  const int lane = threadIdx.x % kWarp;
  const Fragment fragment(lane);
  const int64_t positions = static_cast<int64_t>(c.out_h) * c.out_w;
  const int64_t rows = kLif ? positions : positions * c.frames;
  const int64_t first_row =
      (static_cast<int64_t>(blockIdx.x) * kProductWarps + threadIdx.x / kWarp) * (kTiles * 16);
  const int first_channel = blockIdx.y * kWordBits;
  const int chunks = Chunks::count(c);
  const bool is_signed = Chunks::is_signed(c);

  // This lane's rows: two a tile, 8 apart.
  int64_t row[2 * kTiles], frame[2 * kTiles];
  int iy[2 * kTiles], ix[2 * kTiles];
#pragma unroll
  for (int r = 0; r < 2 * kTiles; ++r) {
    row[r] = first_row + r * 8 + fragment.group;
    const int64_t position = row[r] % positions;
    frame[r] = row[r] / positions;
    iy[r] = static_cast<int>(position / c.out_w) * c.stride_h - c.pad_h;
    ix[r] = static_cast<int>(position % c.out_w) * c.stride_w - c.pad_w;
    if (row[r] >= rows) iy[r] = c.height;  // outside the frame at every tap
  }
  Held<kTiles> u;
  if (kLif) move_membranes<kTiles, true>(work, positions, row, first_channel + 2 * fragment.part, u);

  WeightTiles<Chunks> weights(work, shared, first_channel);
  for (int t = 0; t < (kLif ? c.frames : 1); ++t) {
    int32_t sums[kTiles][kColumnTiles][4] = {};
    weights.fetch(0);
    weights.put(0);
    __syncthreads();  // the weights are there
    for (int first = 0, half = 0; first < chunks; first += kDepth, half ^= 1) {
      const bool more = first + kDepth < chunks;
      if (more) weights.fetch(first + kDepth);
      const int end = chunks - first < kDepth ? chunks - first : kDepth;
      for (int i = 0; i < end; ++i) {
        uint32_t a[kTiles][4];
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            const int at = 2 * tile + r;
            Chunks::load(work, first + i, kLif ? t : frame[at], iy[at], ix[at], fragment.part, a[tile][r],
                         a[tile][2 + r]);
          }
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j) {
          const uint32_t* column = shared.words[half][i][8 * j + fragment.group];
          const uint32_t b[2] = {column[fragment.part], column[fragment.part + 4]};
#pragma unroll
          for (int tile = 0; tile < kTiles; ++tile)
            is_signed ? mma_bytes<true>(sums[tile][j], a[tile], b)
                      : mma_bytes<false>(sums[tile][j], a[tile], b);
        }
      }
      if (more) weights.put(half ^ 1);
      __syncthreads();  // the next weights are there, and nobody reads these any more
    }
    if (kLif)
      fire<kTiles>(work, t, positions, row, blockIdx.y, fragment, sums, u);
    else
      put_sums<kTiles>(work, rows, row, first_channel + 2 * fragment.part, sums);
  }
  if (kLif) move_membranes<kTiles, false>(work, positions, row, first_channel + 2 * fragment.part, u);
}

}  // namespace svf
