#include "spikes.h"

#include "sha256.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are hashed as they lie in memory, which must be little endian"
#endif

namespace svf {

std::vector<int32_t> pack_spikes(const Tap& tap, const float* counts) {
  const auto [steps, channels, height, width] = tap.shape;
  const int64_t plane = height * width, row = tap.words_per_position(), level_size = steps * plane * row;
  std::vector<int32_t> words(static_cast<size_t>(tap.words()), 0);
  for (int64_t t = 0; t < steps; ++t)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t position = 0; position < plane; ++position) {
        const float count = counts[(t * channels + c) * plane + position];
        int32_t* word = &words[(t * plane + position) * row + c / 32];
        for (int64_t level = 1; level <= tap.levels && count >= static_cast<float>(level); ++level)
          word[(level - 1) * level_size] |= static_cast<int32_t>(uint32_t{1} << (c % 32));
      }
  return words;
}

std::string digest(const std::vector<int32_t>& words) {
  return sha256(words.data(), words.size() * sizeof(int32_t));
}

int64_t count_spikes(const Tap& tap, const std::vector<int32_t>& words) {
  const int64_t row = tap.words_per_position();
  const uint32_t last = tap.shape.c % 32 ? (uint32_t{1} << (tap.shape.c % 32)) - 1 : ~uint32_t{0};
  int64_t count = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    const uint32_t word = static_cast<uint32_t>(words[i]);
    count += __builtin_popcount(static_cast<int64_t>(i) % row == row - 1 ? word & last : word);
  }
  return count;
}

}  // namespace svf
