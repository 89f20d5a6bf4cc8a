#include "manifest.h"

#include <set>
#include <stdexcept>

#include "failure.h"
#include "folder.h"
#include "json.h"

namespace svf {
namespace {

using nlohmann::json;

constexpr int64_t kMostElements = int64_t{1} << 30;  // of a tensor, as in the kernels
constexpr int64_t kMostLevels = 1 << 16;
constexpr int64_t kLargestFile = int64_t{1} << 32;
constexpr int64_t kMostBytes = int64_t{1} << 31;  // of one layer's packed spikes

class Parser {
 public:
  Parser(const json& root, std::string path)
      : fault_([path = std::move(path)](const std::string& place, const std::string& what) {
          bad_bundle(path + ": not a valid manifest (" + (place.empty() ? "" : place + ": ") + what + ")");
        }),
        root_(root, "", fault_) {}

  // Versions come first: the rest of a newer manifest may look different.
  void versions(const std::string& path) {
    const std::pair<const char*, int> known[] = {
        {"format", kFormat}, {"numeric", kNumeric}, {"packing", kPacking}};
    for (const auto& [key, reads] : known) {
      const int64_t version = root_.integer(key, 0, INT32_MAX);
      if (version > reads)
        throw Failure(Exit::kBadBundle, path + ": made by a newer svf-edge (" + key + " version is " +
                                            std::to_string(version) + ", this svf-run reads " +
                                            std::to_string(reads) + "); use the svf-run of that release");
      if (version < reads)
        bad_bundle(path + ": " + key + " version is " + std::to_string(version) + ", this svf-run reads " +
                   std::to_string(reads));
    }
  }

  Manifest manifest() {
    Manifest result;
    result.exported_by = root_.text("svf_edge");
    files(result);
    frames(result);
    each("outputs", [&](Reader& entry) {
      result.outputs.push_back({entry.text("name"), shape(entry)});
      entry.integer("exponent", -1024, 1024);
      unique(outputs_, result.outputs.back().name, entry, "name");
    });
    each("taps", [&](Reader& entry) {
      Tap tap{entry.text("layer"), shape(entry), entry.integer("levels", 1, kMostLevels)};
      const int64_t row = 4 * tap.levels * tap.words_per_position();
      if (tap.shape.t * tap.shape.h * tap.shape.w > kMostBytes / row) entry.fail("shape", "is too large");
      unique(layers_, tap.layer, entry, "layer");
      result.taps.push_back(std::move(tap));
    });
    each("artefacts", [&](Reader& entry) { result.artefacts.push_back(artefact(entry)); });
    each("libraries", [&](Reader& entry) {
      result.libraries.push_back({entry.text("name"), entry.text("platform"), file(entry, "path")});
      unique(libraries_, result.libraries.back().name + " for " + result.libraries.back().platform, entry,
             "name");
    });
    each("golden", [&](Reader& entry) { result.golden.push_back(golden(entry)); });
    root_.object("model");
    root_.optional("form");
    result.form = root_.has("form") ? root_.text("form") : "clip";
    one_of(result.form, {"clip", "stream"}, root_, "form");
    root_.optional("state");
    if (root_.has("state")) each("state", [&](Reader& entry) { result.state.push_back(state(entry)); });
    if (result.state.empty() != (result.form == "clip"))
      root_.fail("state", "a stream has one and a clip has none");
    root_.finish();
    return result;
  }

 private:
  template <typename Take>
  void each(const char* key, const Take& take) {
    size_t index = 0;
    for (const json& value : root_.array(key)) {
      Reader entry(value, std::string(key) + "." + std::to_string(index++), fault_);
      take(entry);
      entry.finish();
    }
  }

  void files(Manifest& result) {
    for (const auto& [name, value] : root_.object("files").items()) {
      if (!stays_inside(name)) root_.fail("files", "path '" + name + "' leaves the bundle");
      Reader entry(value, "files." + name, fault_);
      FileEntry file{hash(entry.text("sha256"), entry, "sha256"),
                     static_cast<uint64_t>(entry.integer("size", 0, kLargestFile))};
      entry.finish();
      result.files.emplace(name, std::move(file));
      files_.insert(name);
    }
  }

  void frames(Manifest& result) {
    Reader entry(root_.object("frames"), "frames", fault_);
    result.input = entry.text("name");
    result.frames = shape(entry);
    entry.integer("zero_point", 0, 255);
    entry.integer("exponent", -1024, 1024);
    entry.finish();
  }

  Artefact artefact(Reader& entry) {
    Artefact result{entry.text("runtime"), entry.text("dialect"), file(entry, "path"), std::nullopt};
    if (entry.has("tapped")) result.tapped = file(entry, "tapped");
    entry.optional("tapped");
    if (entry.has("bundled")) file(entry, "bundled");  // for ExecuTorch's own tools
    entry.optional("bundled");
    one_of(result.runtime, {"onnxruntime", "executorch", "tensorrt"}, entry, "runtime");
    one_of(result.dialect, {"packed", "portable", "qdq"}, entry, "dialect");
    unique(artefacts_, result.runtime + " " + result.dialect, entry, "runtime");
    return result;
  }

  Golden golden(Reader& entry) {
    Golden result{entry.text("name"), file(entry, "path"), {}};
    entry.text("source");
    unique(golden_, result.name, entry, "name");
    for (const auto& [layer, digest] : entry.object("digests").items()) {
      if (layers_.count(layer) == 0) entry.fail("digests", "'" + layer + "' is none of the taps");
      if (!digest.is_string()) entry.fail("digests", "a string was expected for '" + layer + "'");
      result.digests.emplace(layer, hash(digest.get<std::string>(), entry, "digests"));
    }
    for (const std::string& layer : layers_)
      if (result.digests.count(layer) == 0) entry.fail("digests", "has none for layer '" + layer + "'");
    return result;
  }

  StateTensor state(Reader& entry) {
    StateTensor result{entry.text("layer"), sizes<3>(entry), entry.integer("window", 0, INT32_MAX)};
    unique(states_, result.layer, entry, "layer");
    return result;
  }

  Shape shape(Reader& entry) {
    const auto [t, c, h, w] = sizes<4>(entry);
    return {t, c, h, w};
  }

  template <size_t kRank>
  std::array<int64_t, kRank> sizes(Reader& entry) {
    const json& found = entry.array("shape");
    const std::string rank = std::to_string(kRank);
    int64_t product = 1;
    std::array<int64_t, kRank> values;
    if (found.size() != kRank) entry.fail("shape", rank + " sizes were expected");
    for (size_t i = 0; i < kRank; ++i) {
      const bool fits = found[i].is_number_unsigned() && found[i].get<uint64_t>() >= 1 &&
                        found[i].get<uint64_t>() <= static_cast<uint64_t>(kMostElements / product);
      if (!fits) entry.fail("shape", rank + " sizes of at least 1 and at most 2^30 elements were expected");
      values[i] = found[i].get<int64_t>();
      product *= values[i];
    }
    return values;
  }

  std::string file(Reader& entry, const char* key) {
    const std::string name = entry.text(key);
    if (!stays_inside(name)) entry.fail(key, "path '" + name + "' leaves the bundle");
    if (files_.count(name) == 0) entry.fail(key, "'" + name + "' is not among the files");
    return name;
  }

  static std::string hash(const std::string& text, const Reader& entry, const char* key) {
    if (text.size() != 64 || text.find_first_not_of("0123456789abcdef") != std::string::npos)
      entry.fail(key, "a SHA-256 in hexadecimal was expected");
    return text;
  }

  static void one_of(const std::string& value, const std::set<std::string>& known, const Reader& entry,
                     const char* key) {
    if (known.count(value) == 0) entry.fail(key, "'" + value + "' is not known");
  }

  static void unique(std::set<std::string>& seen, const std::string& name, const Reader& entry,
                     const char* key) {
    if (!seen.insert(name).second) entry.fail(key, "'" + name + "' occurs twice");
  }

  Reader::Fault fault_;
  Reader root_;
  std::set<std::string> files_, outputs_, layers_, artefacts_, libraries_, golden_, states_;
};

}  // namespace

Manifest parse_manifest(std::string_view text, const std::string& path) {
  json root;
  try {
    root = parse_json(text);
  } catch (const std::invalid_argument& error) {
    bad_bundle(path + ": not a valid manifest (" + error.what() + ")");
  }
  Parser parser(root, path);
  parser.versions(path);
  return parser.manifest();
}

}  // namespace svf
