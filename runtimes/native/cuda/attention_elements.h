// Arithmetic of packed attention, one output element at a time: docs/contract.md, "Operators".
//
// Every function computes a single word or integer from read-only inputs, so a kernel is "one thread, one
// element": there is no shared memory and no barrier, hence nothing to race.
//
// Layouts (L levels, B binary digits of L, G groups, N tokens, C channels, H heads of width d = C / H):
//   words    [L, G, N, ceil(C / 32)]   packed over channels, one thermometer plane a level: inputs
//   columns  [B, G, ceil(N / 32), C]   digit b of the spikes, packed over tokens: bit n % 32 of word n / 32
//   summary  [G, H, d, d]              M = K'^T V, row = key channel
//   output   [G, N, C]                 O = Q' M
#pragma once

#include "device.h"

#define SVF_BOTH __host__ __device__ inline

namespace svf {

struct AttentionShape {
  int64_t groups;
  int64_t tokens;
  int32_t channels;
  int32_t heads;
  int32_t levels;

  SVF_BOTH int32_t words() const { return (channels + kWordBits - 1) / kWordBits; }
  SVF_BOTH int64_t blocks() const { return (tokens + kWordBits - 1) / kWordBits; }
  SVF_BOTH int32_t width() const { return channels / heads; }
  SVF_BOTH int32_t digits() const {
    int32_t count = 1;
    while (levels >> count != 0) {
      ++count;
    }
    return count;
  }
  SVF_BOTH int64_t plane() const { return groups * tokens * words(); }
  SVF_BOTH int64_t digit_count() const { return groups * blocks() * channels; }
  SVF_BOTH int64_t column_count() const { return digits() * digit_count(); }
  SVF_BOTH int64_t summary_count() const { return groups * channels * width(); }
  SVF_BOTH int64_t output_count() const { return groups * tokens * channels; }
};

// Word `index` of columns. Bits of tokens beyond the last stay zero. In a thermometer code, digit b is set
// where an odd number of the planes 2^b, 2 * 2^b, 3 * 2^b, ... are.
__device__ inline uint32_t column_word(AttentionShape shape, const uint32_t* words, int64_t index) {
  const int32_t channel = static_cast<int32_t>(index % shape.channels);
  const int64_t block = index / shape.channels % shape.blocks();
  const int64_t group = index / shape.channels / shape.blocks() % shape.groups;
  const int32_t step = 1 << (index / shape.digit_count());
  const int64_t first = block * kWordBits;
  const int64_t left = shape.tokens - first;
  const int count = static_cast<int>(left < kWordBits ? left : kWordBits);
  const uint32_t* word = words + (group * shape.tokens + first) * shape.words() + channel / kWordBits;
  uint32_t column = 0;
  for (int32_t level = step; level <= shape.levels; level += step) {
    const uint32_t* plane = word + (level - 1) * shape.plane();
    for (int bit = 0; bit < count; ++bit) {
      column ^= (plane[static_cast<int64_t>(bit) * shape.words()] >> (channel % kWordBits) & 1U) << bit;
    }
  }
  return column;
}

// Element `index` of summary. With keys S (dot) it is |K & V|, where pairs of digits a, b count 2^(a + b);
// with keys 2 S - 1 (Hamming) 2 |K & V| - |V|. Padding tokens have no V, so they count nothing.
template <bool kHamming>
__device__ inline int32_t summary_entry(AttentionShape shape, const uint32_t* keys, const uint32_t* values,
                                        int64_t index) {
  const int32_t width = shape.width();
  const int32_t column = static_cast<int32_t>(index % width);
  const int32_t key_channel = static_cast<int32_t>(index / width % shape.channels);
  const int64_t group = index / width / shape.channels;
  const int32_t value_channel = key_channel / width * width + column;
  const uint32_t* key = keys + group * shape.blocks() * shape.channels + key_channel;
  const uint32_t* value = values + group * shape.blocks() * shape.channels + value_channel;
  int32_t both = 0;
  int32_t fired = 0;
  const int32_t digits = shape.digits();
  for (int64_t block = 0; block < shape.blocks(); ++block) {
    for (int32_t b = 0; b < digits; ++b) {
      const uint32_t v = value[b * shape.digit_count() + block * shape.channels];
      for (int32_t a = 0; a < digits; ++a) {
        both += __popc(key[a * shape.digit_count() + block * shape.channels] & v) << (a + b);
      }
      if (kHamming) {
        fired += __popc(v) << b;
      }
    }
  }
  return kHamming ? 2 * both - fired : both;
}

// Element `index` of the output: rows of the summary, times the spikes S of q or, for Hamming, 2 S - 1.
template <bool kHamming>
__device__ inline int32_t output_entry(AttentionShape shape, const uint32_t* query, const int32_t* summary,
                                       int64_t index) {
  const int32_t width = shape.width();
  const int32_t channel = static_cast<int32_t>(index % shape.channels);
  const int64_t token = index / shape.channels;  // over all groups
  const int64_t group = token / shape.tokens;
  const int32_t first = channel / width * width;
  const int32_t* row = summary + (group * shape.channels + first) * width + channel % width;
  const uint32_t* word = query + token * shape.words();
  int32_t sum = 0;
  for (int32_t i = 0; i < width; ++i) {
    const uint32_t* at = word + (first + i) / kWordBits;
    int32_t spikes = 0;
    for (int32_t level = 0; level < shape.levels; ++level, at += shape.plane()) {
      spikes += static_cast<int32_t>(*at >> ((first + i) % kWordBits) & 1U);
    }
    sum += (kHamming ? 2 * spikes - 1 : spikes) * row[static_cast<int64_t>(i) * width];
  }
  return sum;
}

}  // namespace svf
