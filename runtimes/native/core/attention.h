// Linear spike attention: M = sum over tokens of k (outer) v by popcount, then O = signed sums of rows of M.
//   dot:      M[c, j] = popcount(K[:, c] & V[:, j])              O[n, j] = sum of M[c, j] over the set bits c
//   of q hamming:  M[c, j] = 2 popcount(K[:, c] & V[:, j]) - popcount(V[:, j])
//             O[n, j] = 2 (sum over the set bits) - (sum over all c of the head)
// K and V are first turned so that a word holds 32 tokens of one channel.
#ifndef SVF_ATTENTION_H
#define SVF_ATTENTION_H

#include "simd_common.h"

namespace svf {
namespace {

// Bit j of row i becomes bit i of row j.
void transpose32(uint32_t rows[32]) {
  uint32_t mask = 0x0000ffffu;
  for (int step = 16; step != 0; step >>= 1, mask ^= mask << step)
    for (int i = 0; i < 32; i = (i + step + 1) & ~step) {
      const uint32_t swap = ((rows[i] >> step) ^ rows[i + step]) & mask;
      rows[i] ^= swap << step;
      rows[i + step] ^= swap;
    }
}

// Channels [first, first + width) of packed tokens, as token words: out [width, token_words * 2] uint32.
void to_token_words(const int32_t* packed, int words, int tokens, int first, int width, int token_words,
                    uint32_t* out) {
  const size_t step = static_cast<size_t>(token_words) * 2;
  memset(out, 0, static_cast<size_t>(width) * step * sizeof(uint32_t));
  for (int w = first / 32; w * 32 < first + width; ++w)
    for (int n = 0; n < tokens; n += 32) {
      uint32_t rows[32] = {};
      for (int i = 0; i < min_of(32, tokens - n); ++i)
        rows[i] = static_cast<uint32_t>(packed[static_cast<size_t>(n + i) * words + w]);
      transpose32(rows);
      const int from = max_of(first, w * 32), to = min_of(first + width, w * 32 + 32);
      for (int c = from; c < to; ++c) out[static_cast<size_t>(c - first) * step + n / 32] = rows[c - w * 32];
    }
}

int32_t count_both(const uint64_t* a, const uint64_t* b, int n) {
  int32_t count = 0;
  for (int i = 0; i < n; ++i) count += __builtin_popcountll(a[i] & b[i]);
  return count;
}

struct HeadScratch {
  uint64_t *k, *v;   // [width, token_words]
  int32_t* m;        // [width, row]: what a set bit of q adds
  int32_t* base;     // [row]: O of a token whose q is silent
  uint32_t* active;  // rows of m
  int token_words, row;
};

void attend(const AttentionArgs& a, int group, int head, const HeadScratch& s) {
  const size_t packed = static_cast<size_t>(group) * a.tokens * a.words;
  const int first = head * a.width;
  to_token_words(a.k + packed, a.words, a.tokens, first, a.width, s.token_words,
                 reinterpret_cast<uint32_t*>(s.k));
  to_token_words(a.v + packed, a.words, a.tokens, first, a.width, s.token_words,
                 reinterpret_cast<uint32_t*>(s.v));
  memset(s.m, 0, static_cast<size_t>(a.width) * s.row * sizeof(int32_t));
  memset(s.base, 0, static_cast<size_t>(s.row) * sizeof(int32_t));
  for (int j = 0; j < a.width; ++j) {
    const uint64_t* v = s.v + static_cast<size_t>(j) * s.token_words;
    const int32_t all = count_both(v, v, s.token_words);
    for (int c = 0; c < a.width; ++c) {
      const int32_t both = count_both(s.k + static_cast<size_t>(c) * s.token_words, v, s.token_words);
      int32_t* m = s.m + static_cast<size_t>(c) * s.row + j;
      *m = both;
      if (a.hamming) {
        s.base[j] -= 2 * both - all;
        *m = 2 * (2 * both - all);
      }
    }
  }
  for (int n = 0; n < a.tokens; ++n) {
    const int32_t* q = a.q + packed + static_cast<size_t>(n) * a.words;
    uint32_t* end = s.active;
    for (int w = first / 32; w * 32 < first + a.width; ++w) {
      uint32_t bits = static_cast<uint32_t>(q[w]);
      if (w * 32 < first) bits &= ~0u << (first - w * 32);
      if (w * 32 + 32 > first + a.width) bits &= ~0u >> (w * 32 + 32 - first - a.width);
      const uint32_t row = static_cast<uint32_t>(w * 32) - static_cast<uint32_t>(first);  // modulo 2^32
      end = Simd::append_rows(end, bits, row * static_cast<uint32_t>(s.row), static_cast<uint32_t>(s.row));
    }
    int32_t* y = a.y + (static_cast<size_t>(group) * a.tokens + n) * a.channels + first;
    for (int j = 0; j < a.width; j += Simd::kLanes32) {
      Simd::I32 sum = Simd::load32(s.base + j);
      for (const uint32_t* row = s.active; row != end; ++row)
        sum = Simd::add32(sum, Simd::load32(s.m + *row + j));
      if (j + Simd::kLanes32 <= a.width) {
        Simd::store32(y + j, sum);
      } else {
        int32_t lanes[Simd::kLanes32];
        Simd::store32(lanes, sum);
        memcpy(y + j, lanes, static_cast<size_t>(a.width - j) * sizeof(int32_t));
      }
    }
  }
}

bool attention(const AttentionArgs& a, const svf_parallel* parallel) {
  const int token_words = (a.tokens + 63) / 64;
  const int row = (a.width + Simd::kLanes32 - 1) / Simd::kLanes32 * Simd::kLanes32;
  const size_t items = static_cast<size_t>(a.groups) * a.heads;
  const size_t per_task = static_cast<size_t>(max_of(1, 64 / a.tokens));  // small groups share a task
  const size_t head_words = static_cast<size_t>(a.width) * token_words;
  return for_each(parallel, (items + per_task - 1) / per_task, [&](size_t task) {
    Scratch<uint64_t> k(head_words), v(head_words);
    Scratch<int32_t> m(static_cast<size_t>(a.width) * row), base(static_cast<size_t>(row));
    Scratch<uint32_t> active(static_cast<size_t>(a.width) + kRowSlack);
    if (!k.ok() || !v.ok() || !m.ok() || !base.ok() || !active.ok()) return false;
    const HeadScratch scratch{k.get(), v.get(), m.get(), base.get(), active.get(), token_words, row};
    for (size_t i = task * per_task; i < min_of(items, (task + 1) * per_task); ++i)
      attend(a, static_cast<int>(i / a.heads), static_cast<int>(i % a.heads), scratch);
    return true;
  });
}

}  // namespace
}  // namespace svf
#endif
