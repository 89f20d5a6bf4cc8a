// Linear spike attention: M = sum over tokens of k (outer) v, then O = sum over channels c of q(c) * M[c].
//   dot:      M[c, j] = sum of K[c] V[j]              O[n, j] = sum of Q[n, c] M[c, j]
//   hamming:  the same of 2 K - 1 and 2 Q - 1
// For M, keys and values are counted into small integers and woven, so that a lane holds neighbouring tokens
// of one channel: M is then made of dot products, and O of those of pairs of channels of a query and of M.
#ifndef SVF_ATTENTION_H
#define SVF_ATTENTION_H

#include "dot_tile.h"
#include "epilogue.h"
#include "simd_common.h"

namespace svf {
namespace {

// How the summaries lie: [group, head, width + 1, row] int32. Behind the rows of M comes one for all of it.
struct Summaries {
  explicit Summaries(const AttentionArgs& a)
      : row((a.width + Simd::kLanes32 - 1) / Simd::kLanes32 * Simd::kLanes32),
        head((static_cast<size_t>(a.width) + 1) * row),
        group(head * a.heads) {}

  size_t row, head, group;
};

// Heads [head, head_end) and the words that hold their channels.
struct Heads {
  Heads(const AttentionArgs& a, int head, int head_end)
      : head(head),
        head_end(head_end),
        word(head * a.width / kWordChannels),
        word_end((head_end * a.width + kWordChannels - 1) / kWordChannels),
        lanes(static_cast<size_t>(word_end - word) * kWordChannels) {}

  int head, head_end, word, word_end;
  size_t lanes;
};

// The counted spikes of a few tokens: [tokens / kDepth, lanes + kSpare, kDepth].
class WovenTokens {
 public:
  static constexpr int kMostTokens = 128;
  static constexpr size_t kSpare = Simd::kLanes32;
  WovenTokens(const AttentionArgs& a, const Heads& heads, int tokens)
      : a_(a),
        heads_(heads),
        step_((heads.lanes + kSpare) * SmallDot::kDepth),
        steps_(static_cast<size_t>(tokens + SmallDot::kDepth - 1) / SmallDot::kDepth),
        data_(steps_ * step_) {}
  bool ok() const { return data_.ok(); }
  size_t step() const { return step_; }
  const SmallDot::Input* at(int channel) const {
    return data_.get() + static_cast<size_t>(channel - heads_.word * kWordChannels) * SmallDot::kDepth;
  }
  // The first spare lane of every step becomes ones.
  const SmallDot::Input* set_ones() {
    SmallDot::Input* ones = data_.get() + heads_.lanes * SmallDot::kDepth;
    for (size_t step = 0; step < steps_; ++step)
      for (int i = 0; i < SmallDot::kDepth; ++i) ones[step * step_ + i] = 1;
    return ones;
  }
  // `packed`: words of the first token. What lies beyond the tokens becomes zero.
  void fill(const int32_t* packed, int tokens) {
    const size_t plane = static_cast<size_t>(a_.groups) * a_.tokens * a_.words;
    memset(counted_ + tokens * kWordChannels, 0, SmallDot::kDepth * kWordChannels * sizeof(SmallDot::Input));
    for (int word = heads_.word; word < heads_.word_end; ++word) {
      SmallDot::spikes(packed + word, static_cast<size_t>(a_.words), static_cast<size_t>(tokens), a_.levels,
                       plane, counted_);
      SmallDot::Input* out = data_.get() + (word - heads_.word) * kWordChannels * SmallDot::kDepth;
      for (int n = 0; n < tokens; n += SmallDot::kDepth, out += step_)
        SmallDot::weave(counted_ + n * kWordChannels, kWordChannels, out);
    }
  }

 private:
  const AttentionArgs& a_;
  const Heads heads_;
  size_t step_, steps_;
  Scratch<SmallDot::Input> data_;
  SmallDot::Input counted_[(kMostTokens + SmallDot::kDepth) * kWordChannels];  // of one word
};

// The summaries of some heads of one group, at m.
bool summarise(const AttentionArgs& a, const Summaries& s, int group, const Heads& heads, int32_t* m) {
  constexpr int kVectors = SmallDot::kSpikeVectors, kMost = SmallDot::kSpikePixels;
  const int most = SmallDot::most_adds(a.levels);  // before sums are widened
  const int chunk = min_of(a.tokens, most < 32 ? most * SmallDot::kDepth : WovenTokens::kMostTokens);
  WovenTokens keys(a, heads, chunk), values(a, heads, chunk);
  const size_t steps = static_cast<size_t>(chunk + SmallDot::kDepth - 1) / SmallDot::kDepth;
  Scratch<uint32_t> offsets(steps);
  Scratch<const SmallDot::Input*> rows(static_cast<size_t>(a.width) + 1);
  if (!keys.ok() || !values.ok() || !offsets.ok() || !rows.ok()) return false;
  for (size_t i = 0; i < steps; ++i) offsets[i] = static_cast<uint32_t>(i * keys.step());
  rows[a.width] = keys.set_ones();
  memset(m, 0, static_cast<size_t>(heads.head_end - heads.head) * s.head * sizeof(int32_t));
  const size_t first = static_cast<size_t>(group) * a.tokens * a.words;
  for (int n = 0; n < a.tokens; n += chunk) {
    const int tokens = min_of(chunk, a.tokens - n);
    keys.fill(a.k + first + static_cast<size_t>(n) * a.words, tokens);
    values.fill(a.v + first + static_cast<size_t>(n) * a.words, tokens);
    int32_t* out = m;
    for (int head = heads.head; head < heads.head_end; ++head, out += s.head) {
      for (int c = 0; c < a.width; ++c) rows[c] = keys.at(head * a.width + c);
      for (size_t column = 0; column < s.row;) {
        const bool block = column + kVectors * Simd::kLanes32 <= s.row;
        const auto run = block ? multiply_tile<SmallDot, kVectors, kMost> : multiply_tile<SmallDot, 1, kMost>;
        run(rows.get(), static_cast<size_t>(a.width) + 1,
            {offsets.get(), static_cast<size_t>(tokens + SmallDot::kDepth - 1) / SmallDot::kDepth,
             reinterpret_cast<const SmallDot::Weight*>(values.at(head * a.width + static_cast<int>(column))),
             values.step(), out + column, s.row, s.row},
            out + column);
        column += (block ? kVectors : 1) * Simd::kLanes32;
      }
    }
  }
  if (!a.hamming) return true;
  for (int head = heads.head; head < heads.head_end; ++head, m += s.head) {
    const int32_t* all = m + a.width * s.row;
    for (int c = 0; c < a.width; ++c)
      for (size_t j = 0; j < s.row; ++j) m[c * s.row + j] = 2 * m[c * s.row + j] - all[j];
  }
  return true;
}

// Of frames in order: to each summary those of the window's earlier frames, and of those before the first.
void add_window(const AttentionArgs& a, const Summaries& s, int32_t* m) {
  const size_t columns = static_cast<size_t>(a.width);
  for (size_t place = 0; a.summary != nullptr && place < a.heads * columns; ++place)
    memcpy(a.summary + place * columns, m + place / columns * s.head + place % columns * s.row,
           columns * sizeof(int32_t));
  for (int group = a.groups - 1; group >= 0; --group)
    for (int back = 1; back < min_of(a.window, group + 1); ++back) {
      int32_t* to = m + group * s.group;
      const int32_t* from = to - back * s.group;
      for (size_t i = 0; i < s.group; ++i) to[i] += from[i];
    }
  for (size_t place = 0; a.before != nullptr && place < a.heads * columns; ++place)
    for (size_t j = 0; j < columns; ++j)
      m[place / columns * s.head + place % columns * s.row + j] += a.before[place * columns + j];
}

// The summaries as the queries multiply them: for every head M in pieces of kPieceBits, the highest first,
// [piece, pair of rows, row], a pair in one int32.
class LookUp {
 public:
  LookUp(const AttentionArgs& a, const Summaries& s, int groups, const int32_t* m)
      : a_(a),
        row_(s.row),
        pairs_((static_cast<size_t>(a.width) + 1) / 2),
        pieces_(pieces_of(s, groups, m)),
        table_(static_cast<size_t>(groups) * a.heads * pieces_ * pairs_ * row_),
        offsets_(pairs_),
        zeros_(row_) {
    if (!ok()) return;
    memset(zeros_.get(), 0, row_ * sizeof(int32_t));
    for (size_t i = 0; i < pairs_; ++i) offsets_[i] = static_cast<uint32_t>(2 * i);
    for (int group = 0; group < groups; ++group)
      for (int head = 0; head < a.heads; ++head)
        fill(m + group * s.group + head * s.head, table_.get() + start(group, head));
  }
  bool ok() const { return table_.ok() && offsets_.ok() && zeros_.ok(); }

  // O of `count` tokens, from the words q on, of one of the groups: acc [count, step].
  bool run(const int32_t* q, int group, size_t count, int32_t* acc, size_t step) const {
    const size_t plane = static_cast<size_t>(a_.groups) * a_.tokens * a_.words;
    const size_t channels = static_cast<size_t>(a_.words) * kWordChannels;
    Scratch<SmallDot::Input> spikes(count * channels);
    Scratch<int16_t> values(count * channels + 1);  // the last pair of an odd width ends beyond it
    Scratch<const int16_t*> rows(count);
    if (!spikes.ok() || !values.ok() || !rows.ok()) return false;
    SmallDot::counts(q, count * a_.words, a_.levels, plane, spikes.get());
    const int scale = a_.hamming ? 2 : 1, less = a_.hamming ? 1 : 0;
    for (size_t i = 0; i < count * channels; ++i) values[i] = static_cast<int16_t>(spikes[i] * scale - less);
    values[count * channels] = 0;
    for (int head = 0; head < a_.heads; ++head) {
      for (size_t i = 0; i < count; ++i) rows[i] = values.get() + i * channels + head * a_.width;
      for (size_t column = 0; column < row_;) {
        constexpr int kMost = PairDot::kTileVectors;
        const bool block = column + kMost * Simd::kLanes32 <= row_;
        const auto multiply = block ? multiply_tile<PairDot, kMost> : multiply_tile<PairDot, 1>;
        const size_t columns = static_cast<size_t>(block ? kMost : 1) * Simd::kLanes32;
        int32_t* out = acc + static_cast<size_t>(head) * a_.width + column;
        const int32_t* table = table_.get() + start(group, head) + column;
        for (size_t piece = 0; piece < pieces_; ++piece, table += pairs_ * row_) {
          const bool first = piece == 0;
          if (!first) shift(out, count, columns, step);
          multiply(rows.get(), count,
                   {offsets_.get(), pairs_, reinterpret_cast<const int16_t*>(table), 2 * row_,
                    first ? zeros_.get() : out, first ? 0 : step, step},
                   out);
        }
        column += columns;
      }
    }
    return true;
  }

 private:
  static constexpr int kPieceBits = 15;

  size_t start(int group, int head) const {
    return (static_cast<size_t>(group) * a_.heads + head) * pieces_ * pairs_ * row_;
  }

  // How many hold every number of M, the last one's sign included.
  size_t pieces_of(const Summaries& s, int groups, const int32_t* m) const {
    int32_t reach = 0;
    for (int group = 0; group < groups; ++group)
      for (int head = 0; head < a_.heads; ++head)
        for (int c = 0; c < a_.width; ++c)
          for (int j = 0; j < a_.width; ++j) {
            const int32_t value = m[group * s.group + head * s.head + c * s.row + j];
            reach |= value ^ (value >> 31);
          }
    return reach >> kPieceBits == 0 ? 1 : reach >> (2 * kPieceBits) == 0 ? 2 : 3;
  }

  void fill(const int32_t* m, int32_t* table) const {
    for (size_t piece = pieces_; piece-- > 0;)
      for (size_t pair = 0; pair < pairs_; ++pair, table += row_) {
        const bool alone = 2 * pair + 1 == static_cast<size_t>(a_.width);
        const int32_t* low = m + 2 * pair * row_;
        const int32_t* high = alone ? zeros_.get() : low + row_;
        const int shift = static_cast<int>(piece) * kPieceBits;
        const int32_t mask = piece + 1 == pieces_ ? 0xffff : (1 << kPieceBits) - 1;
        for (size_t j = 0; j < row_; ++j)
          table[j] = static_cast<int32_t>(static_cast<uint32_t>(low[j] >> shift & mask) |
                                          static_cast<uint32_t>(high[j] >> shift & mask) << 16);
      }
  }

  // To where the next piece is added.
  static void shift(int32_t* sums, size_t count, size_t columns, size_t step) {
    for (size_t i = 0; i < count; ++i, sums += step)
      for (size_t j = 0; j < columns; ++j)
        sums[j] = static_cast<int32_t>(static_cast<uint32_t>(sums[j]) << kPieceBits);
  }

  const AttentionArgs& a_;
  size_t row_, pairs_, pieces_;
  Scratch<int32_t> table_;
  Scratch<uint32_t> offsets_;
  Scratch<int32_t> zeros_;
};

// O of positions [begin, end) of every frame, and what follows it. `first`: the group of the first summaries.
bool query_tile(const AttentionArgs& a, const LookUp& look_up, const Epilogue& epilogue, int frames,
                size_t positions, int first, size_t begin, size_t end) {
  const size_t count = end - begin, tokens = static_cast<size_t>(a.tokens);
  const size_t step = static_cast<size_t>(a.words) * kWordChannels + Simd::kLanes32;  // a head's last vector
  Scratch<int32_t> acc(count * step), u(epilogue.has_lif() ? count * a.words * kWordChannels : 0);
  if (!acc.ok() || !u.ok()) return false;
  for (int t = 0; t < frames; ++t) {
    const size_t from = t * positions + begin;
    for (size_t done = 0; done < count;) {  // as far as a group goes
      const size_t token = from + done, part = min_of(count - done, tokens - token % tokens);
      if (!look_up.run(a.q + token * a.words, static_cast<int>(token / tokens) - first, part,
                       acc.get() + done * step, step))
        return false;
      done += part;
    }
    for (int word = 0; word < a.words; ++word)
      epilogue.finish({acc.get() + word * kWordChannels, step,
                       epilogue.has_lif() ? u.get() + word * count * kWordChannels : nullptr, word, from,
                       static_cast<int>(count)});
  }
  return true;
}

bool attention(const AttentionArgs& a, const svf_parallel* parallel) {
  const Summaries s(a);
  const int frames = a.lif == nullptr ? 1 : a.frames;
  const size_t rows = static_cast<size_t>(a.groups) * a.tokens, positions = rows / frames;
  Scratch<int32_t> nothing(static_cast<size_t>(a.channels));  // neither bias nor shift
  if (!nothing.ok()) return false;
  memset(nothing.get(), 0, static_cast<size_t>(a.channels) * sizeof(int32_t));
  const Epilogue epilogue(a.channels, frames, positions, nothing.get(), nothing.get(), a.y, false, a.lif);
  // A LIF goes over all frames, and a window over its own; other groups come in batches.
  constexpr size_t kBatch = 1 << 18, kTile = 16, kTasks = 4;
  const bool whole = a.lif != nullptr || a.window != 0;
  const int batch =
      whole ? a.groups : min_of(a.groups, static_cast<int>(max_of<size_t>(1, kBatch / s.group)));
  Scratch<int32_t> m(batch * s.group);
  if (!epilogue.ok() || !m.ok()) return false;
  const bool shared = parallel != nullptr && parallel->for_each != nullptr;
  for (int first = 0; first < a.groups; first += batch) {
    const int groups = min_of(batch, a.groups - first);
    const int parts = shared ? min_of(a.heads, max_of(1, static_cast<int>(kTasks) / groups)) : 1;
    const size_t together = max_of<size_t>(1, 64 / a.tokens);  // small groups share a task
    const size_t tasks = (groups + together - 1) / together;
    const bool summarised = for_each(parallel, tasks * parts, [&](size_t task) {
      const int part = static_cast<int>(task % parts);
      const Heads heads(a, a.heads * part / parts, a.heads * (part + 1) / parts);
      const size_t begin = task / parts * together, end = min_of<size_t>(groups, begin + together);
      for (size_t group = begin; group < end; ++group)
        if (!summarise(a, s, first + static_cast<int>(group), heads,
                       m.get() + group * s.group + heads.head * s.head))
          return false;
      return true;
    });
    if (!summarised) return false;
    if (a.window != 0) add_window(a, s, m.get());
    const LookUp look_up(a, s, groups, m.get());
    if (!look_up.ok()) return false;
    const size_t begin = whole ? 0 : static_cast<size_t>(first) * a.tokens;
    const size_t count = whole ? positions : static_cast<size_t>(groups) * a.tokens;
    const bool answered = for_each(parallel, (count + kTile - 1) / kTile, [&](size_t tile) {
      return query_tile(a, look_up, epilogue, frames, positions, first, begin + tile * kTile,
                        begin + min_of(count, (tile + 1) * kTile));
    });
    if (!answered) return false;
  }
  return true;
}

}  // namespace
}  // namespace svf
#endif
