// The slow, obvious kernels: one loop per index of the definition. They ship, and SVF_ISA=reference selects
// them.
#include "kernels.h"
#include "stages.h"

namespace svf {
namespace {

// The spikes of a channel: how many of its planes are set.
int spike_at(const int32_t* words, int channel, int levels, size_t plane) {
  int spikes = 0;
  for (int level = 0; level < levels; ++level, words += plane)
    spikes += static_cast<int>((static_cast<uint32_t>(words[channel / 32]) >> (channel % 32)) & 1u);
  return spikes;
}

void store(const Conv& c, void* y, size_t index, int32_t acc, int32_t bias, int32_t shift) {
  const int left = shift < 0 ? -shift : 0;
  const int right = shift > 0 ? (shift < 31 ? shift : 31) : 0;
  int32_t value = static_cast<int32_t>((static_cast<uint32_t>(acc) << left) + static_cast<uint32_t>(bias));
  value >>= right;
  if (c.saturate) {
    value = value < -127 ? -127 : value > 127 ? 127 : value;
    static_cast<int8_t*>(y)[index] = static_cast<int8_t>(value);
  } else {
    static_cast<int32_t*>(y)[index] = value;
  }
}

// value_at(frame, row, column, channel) is the input integer less its zero point.
template <typename ValueAt>
void convolve(const Conv& c, ValueAt value_at, const int8_t* weight, const int32_t* bias,
              const int32_t* shift, void* y) {
  size_t index = 0;
  for (int t = 0; t < c.frames; ++t)
    for (int oy = 0; oy < c.out_h; ++oy)
      for (int ox = 0; ox < c.out_w; ++ox)
        for (int co = 0; co < c.out_channels; ++co, ++index) {
          const int first = co / c.group_out * c.group_in;
          int32_t acc = 0;
          for (int ky = 0; ky < c.kernel_h; ++ky)
            for (int kx = 0; kx < c.kernel_w; ++kx) {
              const int iy = oy * c.stride_h - c.pad_h + ky;
              const int ix = ox * c.stride_w - c.pad_w + kx;
              if (iy < 0 || iy >= c.height || ix < 0 || ix >= c.width) continue;
              for (int ci = 0; ci < c.group_in; ++ci) {
                const size_t row = (static_cast<size_t>(ky) * c.kernel_w + kx) * c.group_in + ci;
                acc += weight[row * c.out_channels + co] * value_at(t, iy, ix, first + ci);
              }
            }
          store(c, y, index, acc, bias[co], shift[co]);
        }
}

bool lif(const LifArgs& a, const svf_parallel*) {
  const size_t plane = static_cast<size_t>(a.frames) * a.positions * a.words;
  for (int p = 0; p < a.positions; ++p)
    for (int c = 0; c < a.words * 32; ++c) {
      const size_t neuron = static_cast<size_t>(p) * a.channels + c;
      int32_t u = a.before != nullptr && c < a.channels ? a.before[neuron] : 0;
      for (int t = 0; t < a.frames; ++t) {
        const size_t position = static_cast<size_t>(t) * a.positions + p;
        int32_t spikes = 0;
        if (c < a.channels) {  // padding bits stay zero
          const int32_t h = (u + a.gain[c] * a.x[position * a.channels + c] + a.bias[c]) >> 1;
          const int32_t reached = h < 0 ? 0 : h / a.theta[c];
          spikes = reached < a.levels ? reached : a.levels;
          u = a.soft_reset ? h - spikes * a.theta[c] : spikes > 0 ? 0 : h;
        }
        for (int level = 1; level <= a.levels; ++level) {
          int32_t& word = a.y[(level - 1) * plane + position * a.words + c / 32];
          if (c % 32 == 0) word = 0;
          const uint32_t bit = spikes >= level;
          word = static_cast<int32_t>(static_cast<uint32_t>(word) | bit << (c % 32));
        }
      }
      if (a.after != nullptr && c < a.channels) a.after[neuron] = u;
    }
  return true;
}

bool spike_conv2d(const SpikeConvArgs& a, const svf_parallel* parallel) {
  if (a.lif != nullptr) return convolve_in_stages(a, spike_conv2d, lif, parallel);
  const Conv& c = a.conv;
  auto value_at = [&](int t, int iy, int ix, int channel) {
    const size_t position = (static_cast<size_t>(t) * c.height + iy) * c.width + ix;
    return spike_at(a.x + position * c.in_words, channel, c.levels, c.plane);
  };
  convolve(c, value_at, a.weight, a.bias, a.shift, a.y);
  return true;
}

bool conv2d(const DenseConvArgs& a, const svf_parallel* parallel) {
  if (a.lif != nullptr) return convolve_in_stages(a, conv2d, lif, parallel);
  const Conv& c = a.conv;
  auto value_at = [&](int t, int iy, int ix, int channel) {
    const size_t i = ((static_cast<size_t>(t) * c.height + iy) * c.width + ix) * c.in_channels + channel;
    const int value =
        c.input_is_signed ? static_cast<const int8_t*>(a.x)[i] : static_cast<const uint8_t*>(a.x)[i];
    return value - c.zero_point;
  };
  convolve(c, value_at, a.weight, a.bias, a.shift, a.y);
  return true;
}

// O[n, j] = sum over channels c of the head, and over tokens m, of q(n, c) * k(m, c) * v(m, j), where hamming
// attention reads s spikes of q and k as 2 s - 1. Tokens m are those of n's group, or of the last groups.
bool attention(const AttentionArgs& a, const svf_parallel* parallel) {
  if (a.lif != nullptr) {
    auto run = [&](int32_t* y) {
      AttentionArgs plain = a;
      plain.y = y;
      plain.lif = nullptr;
      return attention(plain, parallel);
    };
    const int positions = static_cast<int>(static_cast<size_t>(a.groups) * a.tokens / a.frames);
    return in_stages(*a.lif, a.frames, positions, a.channels, run, lif, parallel);
  }
  const size_t plane = static_cast<size_t>(a.groups) * a.tokens * a.words;
  auto spikes = [&](const int32_t* words, int channel) { return spike_at(words, channel, a.levels, plane); };
  auto signed_spikes = [&](const int32_t* words, int channel) {
    return a.hamming ? 2 * spikes(words, channel) - 1 : spikes(words, channel);
  };
  for (int g = 0; g < a.groups; ++g) {
    const size_t first = static_cast<size_t>(g) * a.tokens;
    for (int j = 0; j < a.channels; ++j) {
      const int head = j / a.width * a.width;
      for (int n = 0; n < a.tokens; ++n) a.y[(first + n) * a.channels + j] = 0;
      for (int c = head; c < head + a.width; ++c) {
        const size_t place = (static_cast<size_t>(c) * a.width) + (j - head);  // in [heads, width, width]
        int32_t m = 0;
        for (int seen = g; seen >= 0 && (seen == g || g - seen < a.window); --seen)
          for (int n = 0; n < a.tokens; ++n) {
            const size_t row = (static_cast<size_t>(seen) * a.tokens + n) * a.words;
            m += signed_spikes(a.k + row, c) * spikes(a.v + row, j);
          }
        if (a.summary != nullptr) a.summary[place] = m;
        if (a.before != nullptr) m += a.before[place];
        for (int n = 0; n < a.tokens; ++n)
          a.y[(first + n) * a.channels + j] += signed_spikes(a.q + (first + n) * a.words, c) * m;
      }
    }
  }
  return true;
}

bool channels_last(const LayoutArgs& a, const svf_parallel*) {
  for (size_t t = 0; t < a.frames; ++t)
    for (size_t p = 0; p < a.positions; ++p)
      for (size_t c = 0; c < a.channels; ++c)
        a.y[(t * a.positions + p) * a.channels + c] = a.x[(t * a.channels + c) * a.positions + p];
  return true;
}

size_t weights_size(const Conv&, bool) { return 0; }

void prepare_weights(const Conv&, bool, const int8_t*, void*) {}

}  // namespace

const KernelSet kReferenceKernels = {"reference", spike_conv2d,  conv2d,       lif,
                                     attention,   channels_last, weights_size, prepare_weights};

}  // namespace svf
