// ONNX Runtime behind session.h. Its library is loaded when it is first needed; nothing is linked.
#pragma once

#include <optional>
#include <string>

#include "session.h"

namespace svf {

// The loaded libonnxruntime.
class OnnxRuntime {
 public:
  // `path` is a file, or a name that the loader looks for. Returns what is wrong, or nothing.
  std::string load(const std::string& path);
  const std::string& version() const { return version_; }
  // `operators` is the path of our operator library, if the graph is to run with it.
  Session* open(const uint8_t* graph, size_t size, const Signature& signature, int threads,
                const std::optional<std::string>& operators, const std::string& profile,
                std::string& error) noexcept;

 private:
  std::string version_;
};

}  // namespace svf
