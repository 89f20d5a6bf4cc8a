#include "bundle.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "failure.h"
#include "sha256.h"
#include "tensorfile.h"

namespace svf {
namespace {

constexpr char kManifest[] = "manifest.json";
constexpr uint64_t kLargestManifest = 16 << 20;

void check(bool same, const std::string& path, uint64_t size, uint64_t expected) {
  if (!same)
    bad_bundle(path + ": differs from the manifest (" + std::to_string(size) + " bytes, " +
               std::to_string(expected) + " expected, or another hash)");
}

const uint8_t* take(const std::map<std::string, TensorView>& tensors, const std::string& name,
                    const std::string& dtype, const Shape& shape, const std::string& path) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) bad_bundle(path + ": not a golden vector (has no '" + name + "')");
  const TensorView& tensor = found->second;
  if (tensor.dtype != dtype || tensor.shape != std::vector<int64_t>{shape.t, shape.c, shape.h, shape.w})
    bad_bundle(path + ": '" + name + "' is not the " + dtype + " tensor that the manifest describes");
  return tensor.data;
}

}  // namespace

bool GoldenVector::same_outputs(const Manifest& manifest, const std::vector<const int32_t*>& found) const {
  for (size_t i = 0; i < found.size(); ++i) {
    const std::vector<int32_t>& expected = outputs.at(manifest.outputs[i].name);
    if (!std::equal(expected.begin(), expected.end(), found[i])) return false;
  }
  return true;
}

Bundle::Bundle(const std::string& folder) : folder_(folder) {
  const std::string path = folder_.path(kManifest);
  if (!folder_.holds(kManifest))
    throw Failure(Exit::kBadBundle,
                  folder_.path() + ": not a bundle (no " + kManifest + "); make one with `svf-edge export`");
  const Descriptor file = folder_.open(kManifest);
  const uint64_t size = file_size(file, path);
  if (size > kLargestManifest)
    bad_bundle(path + ": " + std::to_string(size) + " bytes are too many for a manifest");
  const Bytes text = read_file(file, size, path);
  fingerprint_ = sha256(text.data(), text.size());
  manifest_ = parse_manifest({reinterpret_cast<const char*>(text.data()), text.size()}, path);
  for (const auto& [name, entry] : manifest_.files) {
    const std::string where = folder_.path(name);
    const Descriptor opened = folder_.open(name);
    const uint64_t length = file_size(opened, where);
    check(length == entry.size && hash_file(opened, where) == entry.sha256, where, length, entry.size);
    bytes_ += length;
  }
  for (const Golden& entry : manifest_.golden) golden(entry);
}

Bytes Bundle::read(const std::string& name) const {
  const FileEntry& entry = manifest_.files.at(name);
  const std::string where = folder_.path(name);
  const Descriptor file = folder_.open(name);
  const uint64_t size = file_size(file, where);
  check(size == entry.size, where, size, entry.size);
  Bytes bytes = read_file(file, size, where);
  check(sha256(bytes.data(), bytes.size()) == entry.sha256, where, size, entry.size);
  return bytes;
}

GoldenVector Bundle::golden(const Golden& entry) const {
  const std::string path = folder_.path(entry.path);
  const Bytes bytes = read(entry.path);
  std::map<std::string, TensorView> tensors;
  try {
    tensors = parse_tensors(bytes.data(), bytes.size());
  } catch (const std::invalid_argument& error) {
    bad_bundle(path + ": not a golden vector (" + error.what() + ")");
  }
  GoldenVector result;
  const uint8_t* frames = take(tensors, "frames", "U8", manifest_.frames, path);
  result.frames.assign(frames, frames + manifest_.frames.size());
  for (const OutputSpec& output : manifest_.outputs) {
    const uint8_t* values = take(tensors, "output:" + output.name, "I32", output.shape, path);
    std::vector<int32_t>& into = result.outputs[output.name];
    into.resize(static_cast<size_t>(output.shape.size()));
    std::memcpy(into.data(), values, into.size() * sizeof(int32_t));
  }
  if (tensors.size() != manifest_.outputs.size() + 1)
    bad_bundle(path + ": holds tensors that are no outputs");
  return result;
}

const Artefact* Bundle::artefact(const std::string& runtime, const std::string& dialect) const {
  for (const Artefact& artefact : manifest_.artefacts)
    if (artefact.runtime == runtime && artefact.dialect == dialect) return &artefact;
  return nullptr;
}

std::optional<std::string> Bundle::library(const std::string& name, const std::string& platform) const {
  for (const Library& library : manifest_.libraries)
    if (library.name == name && library.platform == platform) return folder_.path(library.path);
  return std::nullopt;
}

std::string Bundle::platforms(const std::string& name) const {
  std::string list;
  for (const Library& library : manifest_.libraries)
    if (library.name == name) list += (list.empty() ? "" : ", ") + library.platform;
  return list.empty() ? "no platform" : list;
}

}  // namespace svf
