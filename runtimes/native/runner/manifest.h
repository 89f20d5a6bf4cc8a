// The manifest of a bundle (export/bundle/manifest.py), its schema checked.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace svf {

constexpr int kFormat = 1;   // of bundles
constexpr int kNumeric = 1;  // of the numeric contract
constexpr int kPacking = 1;  // of the packing contract

struct Shape {
  int64_t t, c, h, w;
  int64_t size() const { return t * c * h * w; }
};

struct OutputSpec {
  std::string name;
  Shape shape;
};

// A LIF whose spikes are compared.
struct Tap {
  std::string layer;
  Shape shape;
  int64_t levels;

  int64_t words_per_position() const { return (shape.c + 31) / 32; }
  int64_t words() const { return levels * shape.t * shape.h * shape.w * words_per_position(); }
  int64_t spikes() const { return levels * shape.size(); }
};

// One int32 tensor of a stream's state: a LIF's membrane [C, H, W], or with `window` > 0 what a causal
// attention remembers, [heads, d, d] (svf_edge/program/stream.py).
struct StateTensor {
  std::string layer;
  std::array<int64_t, 3> shape;
  int64_t window;
};

struct Artefact {
  std::string runtime, dialect, path;
  std::optional<std::string> tapped;
};

struct Library {
  std::string name, platform, path;
};

struct Golden {
  std::string name, path;
  std::map<std::string, std::string> digests;  // by layer
};

struct FileEntry {
  std::string sha256;
  uint64_t size;
};

struct Manifest {
  std::string exported_by;  // version of svf-edge
  std::string form;         // "clip", or "stream" of graphs that take one frame and a state
  std::string input;        // name of the frames
  Shape frames;             // uint8
  std::vector<OutputSpec> outputs;
  std::vector<Tap> taps;
  std::vector<StateTensor> state;  // in the order of the graphs' inputs behind the frames
  std::vector<Artefact> artefacts;
  std::vector<Library> libraries;
  std::vector<Golden> golden;
  std::map<std::string, FileEntry> files;
};

// Failure (bad bundle) naming `path`, the entry and what is wrong with it; a newer version is named first.
Manifest parse_manifest(std::string_view text, const std::string& path);

}  // namespace svf
