// Packed spikes x int8 weights. A task is a tile of output positions over all time steps, so that membranes
// stay in the nearest caches; each time step of a tile is computed from its events or densely.
#ifndef SVF_SPIKE_CONV_H
#define SVF_SPIKE_CONV_H

#include "dense_tile.h"
#include "epilogue.h"
#include "event_tile.h"
#include "lif.h"
#include "stages.h"
#include "weights.h"

namespace svf {
namespace {

// Output positions of one task, and the words that it computes.
struct SpikeTile {
  int oy, ox, lines, columns, word, word_end;
};

// How the output is cut into tasks.
class SpikeTiles {
 public:
  SpikeTiles(const Conv& c, bool parallel) : conv_(c) {
    columns_ = parts(c.out_w, kColumns);
    const int64_t positions = static_cast<int64_t>(c.out_h) * c.out_w;
    const int target = parallel && positions < 4 * kPositions ? kPositions / 2 : kPositions;
    const int width = (c.out_w + columns_ - 1) / columns_;
    lines_ = parts(c.out_h, max_of(1, target / width));
    // Too few tiles to share: words are shared out too, each part reading all inputs.
    const int tiles = lines_ * columns_, words = out_words(c);
    words_ = parallel && c.groups == 1 && tiles < kTasks ? min_of(words, (kTasks + tiles - 1) / tiles) : 1;
    if (c.kernel_h * c.kernel_w == 1 && tiles > 1) words_ = 1;  // reading them costs as much as the sums
  }
  size_t count() const { return static_cast<size_t>(lines_) * columns_ * words_; }
  SpikeTile at(size_t i) const {
    const int word = static_cast<int>(i % words_), words = out_words(conv_);
    const int column = static_cast<int>(i / words_ % columns_),
              line = static_cast<int>(i / words_ / columns_);
    const int oy = cut(conv_.out_h, lines_, line), ox = cut(conv_.out_w, columns_, column);
    return {oy,
            ox,
            cut(conv_.out_h, lines_, line + 1) - oy,
            cut(conv_.out_w, columns_, column + 1) - ox,
            cut(words, words_, word),
            cut(words, words_, word + 1)};
  }

 private:
  static constexpr int kColumns = 32, kPositions = 64, kTasks = 4;
  static int parts(int size, int most) { return (size + most - 1) / most; }
  static int cut(int size, int parts, int part) {
    return static_cast<int>(static_cast<int64_t>(size) * part / parts);
  }

  const Conv& conv_;
  int columns_, lines_, words_;
};

struct SpikeWeights {
  const char* dense;    // of dense_tile.h
  const int8_t* event;  // of event_tile.h
};

// Which form takes less time, for so many spikes of `inputs` under a tile, in rows of a block that a position
// adds: the products of a block take as long as kEventPercent of all its rows would, and each event-driven
// block as long as kEventRows more than it adds, as does the list.
bool dense_is_faster(const Conv& c, size_t spikes, size_t inputs) {
  const double all = static_cast<double>(event_inputs(c)), blocks = event_blocks(c);
  const double rows = all * static_cast<double>(spikes) / static_cast<double>(max_of<size_t>(1, inputs));
  const double products = all * DenseDot::kEventPercent / 100 * out_words(c) * kWordChannels / kEventBlock;
  return blocks * rows + (blocks + 1) * DenseDot::kEventRows > products;
}

bool spike_tile(const SpikeConvArgs& a, const SpikeWeights& weights, const Epilogue& epilogue,
                const SpikeTile& tile) {
  const Conv& c = a.conv;
  const int positions = tile.lines * tile.columns, words = tile.word_end - tile.word;
  const bool dense_form = may_be_dense(c), event_form = may_be_event(c);
  const size_t word_size = dense_word_size(c), group_size = event_blocks(c) * event_block_size(c);
  // Event-driven sums of all groups lie side by side; a group's last vector may reach over the next one.
  const size_t acc_step = event_form ? static_cast<size_t>(words) * kWordChannels + kMaxLanes : kWordChannels;
  Scratch<int32_t> acc(positions * acc_step);
  const size_t u_words = epilogue.has_lif() ? static_cast<size_t>(positions) * kWordChannels : 0;
  Scratch<int32_t> u(words * u_words);
  CountedTile counted(c, dense_form ? tile.lines : 1, dense_form ? tile.columns : 1);
  ActiveTile active(c, tile.lines, tile.columns);
  if (!acc.ok() || !u.ok() || !counted.ok() || !active.ok()) return false;
  const size_t inputs = active.inputs(a.x, tile.oy, tile.ox);
  for (int t = 0; t < c.frames; ++t) {
    const auto finish = [&](int word, const int32_t* sums, size_t step) {
      int32_t* membranes = u.get() + static_cast<size_t>(word - tile.word) * u_words;
      // Lines as wide as the output lie one after the other.
      const int runs = tile.columns == c.out_w ? 1 : tile.lines, count = positions / runs;
      for (int run = 0; run < runs; ++run) {
        const size_t done = static_cast<size_t>(run) * count;
        epilogue.finish({sums + done * step, step,
                         epilogue.has_lif() ? membranes + done * kWordChannels : nullptr, word,
                         (static_cast<size_t>(t) * c.out_h + tile.oy + run) * c.out_w + tile.ox, count});
      }
    };
    const size_t spikes = event_form ? active.spikes(a.x, t, tile.oy, tile.ox) : 0;
    const bool dense = dense_form && (!event_form || dense_is_faster(c, spikes, inputs));
    if (dense) {
      counted.fill(a.x, t, tile.oy, tile.ox);
      for (int word = tile.word; word < tile.word_end; ++word) {
        counted.multiply(weights.dense + word * word_size, tile.lines, tile.columns, acc.get());
        finish(word, acc.get(), kWordChannels);
      }
      continue;
    }
    const int width = event_width(c);
    for (int g = 0; g < c.groups; ++g) {
      if (!active.fill(a.x, t, tile.oy, tile.ox, g, spikes)) return false;
      const int8_t* weight = weights.event + g * group_size;
      const int first = c.groups == 1 ? tile.word * kWordChannels : 0;
      const int end = c.groups == 1 ? min_of(width, first + words * kWordChannels) : width;
      if (!active.add(weight, first, end, acc.get() + static_cast<size_t>(g) * c.group_out, acc_step))
        return false;
    }
    for (int word = tile.word; word < tile.word_end; ++word)
      finish(word, acc.get() + static_cast<size_t>(word - tile.word) * kWordChannels, acc_step);
  }
  return true;
}

bool spike_conv2d(const SpikeConvArgs& a, const svf_parallel* parallel) {
  const Conv& c = a.conv;
  if (is_depthwise(c)) return depthwise_spikes(a, parallel);
  Scratch<char> made(a.prepared == nullptr ? weights_size(c, true) : 0);
  const Epilogue epilogue(c.out_channels, c.frames, static_cast<size_t>(c.out_h) * c.out_w, a.bias, a.shift,
                          a.y, c.saturate, a.lif);
  if (!made.ok() || !epilogue.ok()) return false;
  if (a.prepared == nullptr) prepare_weights(c, true, a.weight, made.get());
  const char* prepared = a.prepared == nullptr ? made.get() : static_cast<const char*>(a.prepared);
  const SpikeWeights weights{prepared, reinterpret_cast<const int8_t*>(prepared) + dense_weights_size(c)};
  const bool shared = parallel != nullptr && parallel->for_each != nullptr;
  const SpikeTiles tiles(c, shared);
  return for_each(parallel, tiles.count(),
                  [&](size_t i) { return spike_tile(a, weights, epilogue, tiles.at(i)); });
}

}  // namespace
}  // namespace svf
#endif
