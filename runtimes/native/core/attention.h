// Linear spike attention: M = sum over tokens of k (outer) v by popcount, then O = signed sums of rows of M.
//   dot:      M[c, j] = popcount(K[:, c] & V[:, j])              O[n, j] = sum of M[c, j] over the set bits c
//   of q hamming:  M[c, j] = 2 popcount(K[:, c] & V[:, j]) - popcount(V[:, j])
//             O[n, j] = 2 (sum over the set bits) - (sum over all c of the head)
// K and V are first turned so that a word holds 32 tokens of one channel. Spikes of several levels become
// binary digits on the way, S = sum of 2^p digit p, and a count of both is the sum over pairs of digits,
// weighted 2^(p + p').
#ifndef SVF_ATTENTION_H
#define SVF_ATTENTION_H

#include "lif.h"
#include "simd_common.h"
#include "stages.h"

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

// Digit `digit` of channels [first, first + a.width) of the tokens of one group, as token words:
// out [width, token_words * 2] uint32. In a thermometer code, it is set where an odd number of the planes
// 2^digit, 2 * 2^digit, 3 * 2^digit, ... are.
void to_token_words(const AttentionArgs& a, const int32_t* packed, int first, int digit, int token_words,
                    uint32_t* out) {
  const size_t step = static_cast<size_t>(token_words) * 2;
  const size_t plane = static_cast<size_t>(a.groups) * a.tokens * a.words;
  memset(out, 0, static_cast<size_t>(a.width) * step * sizeof(uint32_t));
  for (int w = first / 32; w * 32 < first + a.width; ++w)
    for (int n = 0; n < a.tokens; n += 32) {
      uint32_t rows[32] = {};
      for (int level = 1 << digit; level <= a.levels; level += 1 << digit) {
        const int32_t* from = packed + (level - 1) * plane + static_cast<size_t>(n) * a.words + w;
        for (int i = 0; i < min_of(32, a.tokens - n); ++i)
          rows[i] ^= static_cast<uint32_t>(from[static_cast<size_t>(i) * a.words]);
      }
      transpose32(rows);
      const int from = max_of(first, w * 32), to = min_of(first + a.width, w * 32 + 32);
      for (int c = from; c < to; ++c) out[static_cast<size_t>(c - first) * step + n / 32] = rows[c - w * 32];
    }
}

int32_t count_both(const uint64_t* a, const uint64_t* b, int n) {
  int32_t count = 0;
  for (int i = 0; i < n; ++i) count += __builtin_popcountll(a[i] & b[i]);
  return count;
}

struct HeadScratch {
  uint64_t *k, *v;   // [digits, width, token_words]
  int32_t* m;        // [width, row]: the summary M, and then what a spike of q adds
  int32_t* base;     // [row]: O of a token whose q is silent
  uint32_t* active;  // rows of m
  int token_words, row, digits;
};

// The summary of a group's keys and values.
template <bool kBinary>
void summarise(const AttentionArgs& a, int group, int head, const HeadScratch& s) {
  const size_t packed = static_cast<size_t>(group) * a.tokens * a.words;
  const size_t digit_words = static_cast<size_t>(a.width) * s.token_words;
  const int first = head * a.width, digits = kBinary ? 1 : s.digits;
  for (int p = 0; p < digits; ++p) {
    to_token_words(a, a.k + packed, first, p, s.token_words,
                   reinterpret_cast<uint32_t*>(s.k + p * digit_words));
    to_token_words(a, a.v + packed, first, p, s.token_words,
                   reinterpret_cast<uint32_t*>(s.v + p * digit_words));
  }
  memset(s.m, 0, static_cast<size_t>(a.width) * s.row * sizeof(int32_t));
  for (int j = 0; j < a.width; ++j) {
    const uint64_t* v = s.v + static_cast<size_t>(j) * s.token_words;
    int32_t all = 0;
    for (int p = 0; p < digits; ++p)
      all += count_both(v + p * digit_words, v + p * digit_words, s.token_words) << p;
    for (int c = 0; c < a.width; ++c) {
      const uint64_t* k = s.k + static_cast<size_t>(c) * s.token_words;
      int32_t both = 0;
      for (int p = 0; p < digits; ++p)
        for (int r = 0; r < digits; ++r)
          both += count_both(k + p * digit_words, v + r * digit_words, s.token_words) << (p + r);
      s.m[static_cast<size_t>(c) * s.row + j] = a.hamming ? 2 * both - all : both;
    }
  }
}

// What a group's queries find in the summary s.m.
template <bool kBinary>
void look_up(const AttentionArgs& a, int group, int head, const HeadScratch& s) {
  const size_t packed = static_cast<size_t>(group) * a.tokens * a.words;
  const size_t plane = static_cast<size_t>(a.groups) * a.tokens * a.words;
  const int first = head * a.width, levels = kBinary ? 1 : a.levels;
  memset(s.base, 0, static_cast<size_t>(s.row) * sizeof(int32_t));
  if (a.hamming)
    for (int c = 0; c < a.width; ++c)
      for (int j = 0; j < a.width; ++j) {
        int32_t* m = s.m + static_cast<size_t>(c) * s.row + j;
        s.base[j] -= *m;
        *m *= 2;
      }
  for (int n = 0; n < a.tokens; ++n) {
    const int32_t* q = a.q + packed + static_cast<size_t>(n) * a.words;
    uint32_t* end = s.active;
    for (int level = 0; level < levels; ++level, q += plane)
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

// All groups of one head in order, each with the summaries of the window's earlier ones.
template <bool kBinary>
bool attend_in_order(const AttentionArgs& a, int head, const HeadScratch& s) {
  const size_t size = static_cast<size_t>(a.width) * s.row;
  const int kept = min_of(a.window, a.groups);
  Scratch<int32_t> summaries(kept * size), seen(size);
  if (!summaries.ok() || !seen.ok()) return false;
  memset(summaries.get(), 0, kept * size * sizeof(int32_t));
  memset(seen.get(), 0, size * sizeof(int32_t));
  for (int group = 0; group < a.groups; ++group) {
    summarise<kBinary>(a, group, head, s);
    int32_t* oldest = &summaries[group % kept * size];
    for (size_t i = 0; i < size; ++i) {
      seen[i] += s.m[i] - oldest[i];
      oldest[i] = s.m[i];
    }
    const size_t row = static_cast<size_t>(a.width) * sizeof(int32_t);
    for (int c = 0; c < a.width; ++c) {
      const size_t place = (static_cast<size_t>(head) * a.width + c) * a.width;
      int32_t* m = s.m + static_cast<size_t>(c) * s.row;
      if (a.summary != nullptr) memcpy(a.summary + place, m, row);
      memcpy(m, &seen[static_cast<size_t>(c) * s.row], row);
      if (a.before != nullptr)
        for (int j = 0; j < a.width; ++j) m[j] += a.before[place + j];
    }
    look_up<kBinary>(a, group, head, s);
  }
  return true;
}

template <bool kBinary>
void attend(const AttentionArgs& a, int group, int head, const HeadScratch& s) {
  summarise<kBinary>(a, group, head, s);
  look_up<kBinary>(a, group, head, s);
}

bool attention(const AttentionArgs& a, const svf_parallel* parallel) {
  if (a.lif != nullptr) return attend_in_stages(a, attention, lif, parallel);
  const int token_words = (a.tokens + 63) / 64;
  const int row = (a.width + Simd::kLanes32 - 1) / Simd::kLanes32 * Simd::kLanes32;
  const bool apart = a.window == 0;
  const size_t items = static_cast<size_t>(apart ? a.groups : 1) * a.heads;
  const size_t per_task = static_cast<size_t>(max_of(1, 64 / a.tokens));  // small groups share a task
  int digits = 1;
  while (a.levels >> digits != 0) ++digits;
  const size_t head_words = static_cast<size_t>(a.width) * token_words * digits;
  const bool binary = a.levels == 1;
  return for_each(parallel, (items + per_task - 1) / per_task, [&](size_t task) {
    Scratch<uint64_t> k(head_words), v(head_words);
    Scratch<int32_t> m(static_cast<size_t>(a.width) * row), base(static_cast<size_t>(row));
    Scratch<uint32_t> active(static_cast<size_t>(a.width) * a.levels + kRowSlack);
    if (!k.ok() || !v.ok() || !m.ok() || !base.ok() || !active.ok()) return false;
    const HeadScratch scratch{k.get(), v.get(), m.get(), base.get(), active.get(), token_words, row, digits};
    bool ok = true;
    for (size_t i = task * per_task; ok && i < min_of(items, (task + 1) * per_task); ++i) {
      const int group = static_cast<int>(i / a.heads), head = static_cast<int>(i % a.heads);
      if (apart)
        binary ? attend<true>(a, group, head, scratch) : attend<false>(a, group, head, scratch);
      else
        ok = binary ? attend_in_order<true>(a, head, scratch) : attend_in_order<false>(a, head, scratch);
    }
    return ok;
  });
}

}  // namespace
}  // namespace svf
#endif
