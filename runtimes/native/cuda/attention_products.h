// Packed attention on tensor cores: what attention_kernels.h computes one element at a time.
#pragma once

#include "attention_elements.h"
#include "tensor_cores.h"

namespace svf {

constexpr int kAttentionWarps = 4;

__device__ inline int64_t first_warp() {
  return static_cast<int64_t>(blockIdx.x) * kAttentionWarps + threadIdx.x / kWarp;
}

__device__ inline int64_t warp_stride() { return static_cast<int64_t>(gridDim.x) * kAttentionWarps; }

// Columns of keys, then of values. A warp takes the words of 32 tokens, a lane a token; one ballot a channel
// turns them.
__global__ void __launch_bounds__(kAttentionWarps* kWarp)
    turn_kernel(AttentionShape shape, const uint32_t* k, const uint32_t* v, uint32_t* columns) {
  const int lane = threadIdx.x % kWarp;
  const int64_t each = shape.groups * shape.blocks() * shape.words();  // of one digit
  const int64_t count = 2 * shape.digits() * each;
  for (int64_t i = first_warp(); i < count; i += warp_stride()) {
    const int word = static_cast<int>(i % shape.words());
    const int64_t place = i / shape.words() % (shape.groups * shape.blocks());
    const int digit = static_cast<int>(i / each % shape.digits());
    const bool values = i >= count / 2;
    const int64_t token = place % shape.blocks() * kWordBits + lane;
    uint32_t bits = 0;
    if (token < shape.tokens) {
      const uint32_t* at =
          (values ? v : k) + (place / shape.blocks() * shape.tokens + token) * shape.words() + word;
      for (int level = 1 << digit; level <= shape.levels; level += 1 << digit)
        bits ^= at[(level - 1) * shape.plane()];
    }
    uint32_t column = 0;
    for (int bit = 0; bit < kWordBits; ++bit) {
      const uint32_t tokens = __ballot_sync(kAll, bits >> bit & 1u);
      if (lane == bit) column = tokens;
    }
    const int channel = word * kWordBits + lane;
    if (channel >= shape.channels) continue;
    columns[(values ? shape.column_count() : 0) + digit * shape.digit_count() + place * shape.channels +
            channel] = column;
  }
}

// Summaries by counting bits on tensor cores: a warp takes 16 key channels and 8 value channels of a head.
// The common axis is tokens, 256 at a time.
template <bool kHamming>
__global__ void __launch_bounds__(kAttentionWarps* kWarp)
    count_kernel(AttentionShape shape, const uint32_t* columns, int32_t* summary) {
  const Fragment fragment(threadIdx.x % kWarp);
  const int width = shape.width();
  const int key_tiles = (width + 15) / 16, value_tiles = (width + 7) / 8;
  const int64_t count = shape.groups * shape.heads * key_tiles * value_tiles;
  const int digits = shape.digits();
  const uint32_t* values = columns + shape.column_count();
  for (int64_t i = first_warp(); i < count; i += warp_stride()) {
    const int first_value = static_cast<int>(i % value_tiles) * 8;
    const int first_key = static_cast<int>(i / value_tiles % key_tiles) * 16;
    const int64_t head = i / value_tiles / key_tiles;  // of all groups
    const int64_t group = head / shape.heads;
    const int first = static_cast<int>(head % shape.heads) * width;
    // A word of tokens of one channel of the head; none beyond the last.
    const auto word = [&](const uint32_t* side, int digit, int64_t block, int channel) {
      if (block >= shape.blocks() || channel >= width) return 0u;
      return side[digit * shape.digit_count() + (group * shape.blocks() + block) * shape.channels + first +
                  channel];
    };
    int32_t both[4] = {}, fired[4] = {};
    for (int64_t block = fragment.part; block < shape.blocks() + fragment.part; block += 8)
      for (int b = 0; b < digits; ++b) {
        const int value = first_value + fragment.group;
        const uint32_t bits[2] = {word(values, b, block, value), word(values, b, block + 4, value)};
        if (kHamming) {
          constexpr uint32_t kOnes[4] = {kAll, kAll, kAll, kAll};
          int32_t found[4] = {};
          mma_bits(found, kOnes, bits);
          for (int r = 0; r < 4; ++r) fired[r] += found[r] << b;
        }
        for (int a = 0; a < digits; ++a) {
          const int key = first_key + fragment.group;
          const uint32_t keys[4] = {word(columns, a, block, key), word(columns, a, block, key + 8),
                                    word(columns, a, block + 4, key), word(columns, a, block + 4, key + 8)};
          int32_t found[4] = {};
          mma_bits(found, keys, bits);
          for (int r = 0; r < 4; ++r) both[r] += found[r] << (a + b);
        }
      }
    for (int r = 0; r < 4; ++r) {
      const int key = first_key + fragment.group + r / 2 * 8, value = first_value + 2 * fragment.part + r % 2;
      if (key >= width || value >= width) continue;
      summary[(group * shape.channels + first + key) * width + value] =
          kHamming ? 2 * both[r] - fired[r] : both[r];
    }
  }
}

// Bytes that a summary entry of at most `bound` takes as digits of -128..127 to the base of 256.
inline int summary_bytes(int64_t bound) {
  int bytes = 1;
  for (int64_t most = 127; bytes < 4 && most < bound; most = most * 256 + 127) ++bytes;
  return bytes;
}

// Spikes of four channels of a token as bytes, from channel `first`. The words of a token lie at `row`.
__device__ inline uint32_t four_spikes(AttentionShape shape, const uint32_t* row, int first) {
  const int word = first / kWordBits, shift = first % kWordBits;
  uint32_t spikes = 0;
  for (int level = 0; level < shape.levels; ++level, row += shape.plane()) {
    uint32_t bits = row[word] >> shift;
    if (shift > kWordBits - 4 && word + 1 < shape.words()) bits |= row[word + 1] << (kWordBits - shift);
    spikes += bytes_of_bits(bits);
  }
  return spikes;
}

// 2 S - 1 of four spikes of at most 15: no borrow goes from byte to byte.
__device__ inline uint32_t four_signs(uint32_t spikes) {
  return ((2 * spikes | 0x80808080u) - 0x01010101u) ^ 0x80808080u;
}

constexpr int kTokenTiles = 2;  // of 16 tokens, of a warp

// Output on int8 tensor cores: a warp takes 32 tokens and 32 channels of a head. The summary, whose entries
// take `bytes` digits, is split as it is read; the common axis is the head's key channels.
template <bool kHamming>
__global__ void __launch_bounds__(kAttentionWarps* kWarp)
    apply_kernel(AttentionShape shape, const uint32_t* q, const int32_t* summary, int bytes, int32_t* o) {
  const Fragment fragment(threadIdx.x % kWarp);
  const int width = shape.width();
  const int64_t spans = (shape.tokens + 16 * kTokenTiles - 1) / (16 * kTokenTiles);
  const int column_blocks = (width + 31) / 32;
  const int64_t count = shape.groups * shape.heads * column_blocks * spans;
  for (int64_t i = first_warp(); i < count; i += warp_stride()) {
    const int64_t first_token = i % spans * (16 * kTokenTiles);
    const int first_column = static_cast<int>(i / spans % column_blocks) * 32;
    const int64_t head = i / spans / column_blocks;
    const int64_t group = head / shape.heads;
    const int first = static_cast<int>(head % shape.heads) * width;
    const int32_t* matrix = summary + (group * shape.channels + first) * width;
    int32_t sums[kTokenTiles][4][4] = {};
    for (int chunk = 0; chunk < width; chunk += 32) {
      uint32_t a[kTokenTiles][4];
#pragma unroll
      for (int r = 0; r < 4 * kTokenTiles; ++r) {
        const int64_t token = first_token + r / 4 * 16 + r % 2 * 8 + fragment.group;
        const int channel = chunk + r % 4 / 2 * 16 + 4 * fragment.part;
        uint32_t spikes = 0;
        if (token < shape.tokens && channel < width)
          spikes = four_spikes(shape, q + (group * shape.tokens + token) * shape.words(), first + channel);
        a[r / 4][r % 4] = kHamming ? four_signs(spikes) : spikes;
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int column = first_column + 8 * j + fragment.group;
        int32_t entries[2][4];
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const int row = chunk + 16 * half + 4 * fragment.part + e;
            entries[half][e] = row < width && column < width ? matrix[row * width + column] : 0;
          }
        for (int digit = 0; digit < bytes; ++digit) {
          uint32_t b[2] = {};
#pragma unroll
          for (int half = 0; half < 2; ++half)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const int8_t low = static_cast<int8_t>(entries[half][e]);
              b[half] |= static_cast<uint32_t>(static_cast<uint8_t>(low)) << 8 * e;
              const uint32_t rest = static_cast<uint32_t>(entries[half][e]) - static_cast<uint32_t>(low);
              entries[half][e] = static_cast<int32_t>(rest) >> 8;
            }
#pragma unroll
          for (int tile = 0; tile < kTokenTiles; ++tile) {
            int32_t found[4] = {};
            mma_bytes<true>(found, a[tile], b);
#pragma unroll
            for (int r = 0; r < 4; ++r)
              sums[tile][j][r] += static_cast<int32_t>(static_cast<uint32_t>(found[r]) << 8 * digit);
          }
        }
      }
    }
#pragma unroll
    for (int tile = 0; tile < kTokenTiles; ++tile)
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int64_t token = first_token + 16 * tile + fragment.group + r / 2 * 8;
          const int column = first_column + 8 * j + 2 * fragment.part + r % 2;
          if (token < shape.tokens && column < width)
            o[(group * shape.tokens + token) * shape.channels + first + column] = sums[tile][j][r];
        }
  }
}

}  // namespace svf
