// Files of tensors (safetensors), every size checked before it is used.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace svf {

struct TensorView {
  std::string dtype;           // as in the file: "U8", "I32", ...
  std::vector<int64_t> shape;  // every size >= 0
  const uint8_t* data;         // of no particular alignment
  size_t bytes;
};

// Tensors by name; they point into `data`. Throws std::invalid_argument with a short reason.
std::map<std::string, TensorView> parse_tensors(const uint8_t* data, size_t size);

}  // namespace svf
