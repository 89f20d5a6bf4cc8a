// Spikes of one layer as packed words (docs/contract.md, "Packing").
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "manifest.h"

namespace svf {

// Packs a carrier [T, C, H, W] of spike counts into words [levels, T, H, W, C / 32 rounded up].
std::vector<int32_t> pack_spikes(const Tap& tap, const float* counts);

// SHA-256 of the words as little-endian bytes.
std::string digest(const std::vector<int32_t>& words);

// Spikes in the words, padding bits not counted.
int64_t count_spikes(const Tap& tap, const std::vector<int32_t>& words);

}  // namespace svf
