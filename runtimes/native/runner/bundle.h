// A bundle: its files are held against the manifest before anything in it is used.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "folder.h"
#include "manifest.h"

namespace svf {

// A clip and what every runtime must make of it.
struct GoldenVector {
  std::vector<uint8_t> frames;                          // [T, C, H, W]
  std::map<std::string, std::vector<int32_t>> outputs;  // by name, [T, C, H, W]

  // Whether `found`, in the manifest's order, holds the same values.
  bool same_outputs(const Manifest& manifest, const std::vector<const int32_t*>& found) const;
};

class Bundle {
 public:
  // Opens `folder` and checks the manifest, every file's size and SHA-256, and the golden vectors. Failure
  // (bad bundle, machine).
  explicit Bundle(const std::string& folder);

  const Manifest& manifest() const { return manifest_; }
  const Folder& folder() const { return folder_; }
  const std::string& fingerprint() const { return fingerprint_; }
  uint64_t bytes() const { return bytes_; }

  // A file's content; what is handed out is what was hashed.
  Bytes read(const std::string& name) const;
  GoldenVector golden(const Golden& entry) const;
  const Artefact* artefact(const std::string& runtime, const std::string& dialect) const;
  // Path of a native file of the bundle for `platform`, if it has one.
  std::optional<std::string> library(const std::string& name, const std::string& platform) const;
  // Platforms that have the native file `name`, for a message.
  std::string platforms(const std::string& name) const;

 private:
  Folder folder_;
  std::string fingerprint_;
  Manifest manifest_;
  uint64_t bytes_ = 0;
};

}  // namespace svf
