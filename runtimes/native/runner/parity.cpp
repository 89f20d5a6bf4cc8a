#include "parity.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "child.h"
#include "spikes.h"

namespace svf {
namespace {

using nlohmann::json;

json compare_output(const OutputSpec& output, const std::vector<int32_t>& expected, const int32_t* found) {
  const int64_t size = output.shape.size();
  json result{{"name", output.name}, {"compared", size},    {"differing", 0},
              {"index", nullptr},    {"expected", nullptr}, {"found", nullptr}};
  int64_t differing = 0;
  for (int64_t i = size - 1; i >= 0; --i) {
    if (expected[static_cast<size_t>(i)] == found[i]) continue;
    ++differing;
    const auto [t, c, h, w] = output.shape;
    result["index"] = {i / (c * h * w), i / (h * w) % c, i / w % h, i % w};
    result["expected"] = expected[static_cast<size_t>(i)];
    result["found"] = found[i];
  }
  result["differing"] = differing;
  return result;
}

void write_words(const std::string& path, const std::vector<int32_t>& words) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(words.size() * 4));
  file.close();
  if (!file) throw Failure(Exit::kMachine, path + ": cannot be written (" + std::strerror(errno) + ")");
}

// What one runtime makes of all golden clips.
class Comparison {
 public:
  Comparison(const Bundle& bundle, const Variant& variant, size_t index, int threads, std::string spikes)
      : bundle_(bundle), index_(index), spikes_(std::move(spikes)), harness_(bundle, variant) {
    tapped_ = harness_.open(threads, true);
    plain_ = harness_.open(threads, false);
  }

  json clips() {
    json list = json::array();
    const auto& golden = bundle_.manifest().golden;
    for (size_t i = 0; i < golden.size(); ++i) list.push_back(clip(golden[i], i));
    return list;
  }
  json versions() const { return harness_.versions(); }

 private:
  json clip(const Golden& golden, size_t number) {
    const GoldenVector vector = bundle_.golden(golden);
    const Manifest& manifest = bundle_.manifest();
    json layers = json::array(), outputs = json::array();
    const RunResult tapped = tapped_->run(vector.frames);
    for (size_t i = 0; i < manifest.taps.size(); ++i) {
      const Tap& tap = manifest.taps[i];
      const bool equal = digest(tapped.words[i]) == golden.digests.at(tap.layer);
      json file = nullptr;
      if (!equal && !spikes_.empty()) {
        file = std::to_string(index_) + "." + std::to_string(number) + "." + std::to_string(i) + ".words";
        write_words(spikes_ + "/" + file.get<std::string>(), tapped.words[i]);
      }
      layers.push_back({{"layer", tap.layer},
                        {"size", tap.spikes()},
                        {"fired", count_spikes(tap, tapped.words[i])},
                        {"equal", equal},
                        {"spikes", file}});
    }
    for (size_t i = 0; i < manifest.outputs.size(); ++i)
      outputs.push_back(compare_output(manifest.outputs[i], vector.outputs.at(manifest.outputs[i].name),
                                       tapped.outputs[i]));
    // What is deployed is the graph without taps, so the worse of both counts.
    const RunResult plain = plain_->run(vector.frames);
    for (size_t i = 0; i < manifest.outputs.size(); ++i) {
      json deployed =
          compare_output(manifest.outputs[i], vector.outputs.at(manifest.outputs[i].name), plain.outputs[i]);
      if (deployed["differing"] > outputs[i]["differing"]) outputs[i] = std::move(deployed);
    }
    return {{"clip", golden.name}, {"layers", layers}, {"outputs", outputs}};
  }

  const Bundle& bundle_;
  size_t index_;
  std::string spikes_;
  Harness harness_;
  std::unique_ptr<LoadedGraph> tapped_, plain_;
};

bool lifeless(const json& layer) { return layer["fired"] == 0 || layer["fired"] == layer["size"]; }

bool equal(const json& clip) {
  return std::all_of(clip["layers"].begin(), clip["layers"].end(),
                     [](const json& l) { return l["equal"] == true; }) &&
         std::all_of(clip["outputs"].begin(), clip["outputs"].end(),
                     [](const json& o) { return o["differing"] == 0; });
}

// Silent or saturated throughout, so that equality is no proof.
bool vacuous(const json& clip) {
  int64_t fired = 0, size = 0;
  for (const json& layer : clip["layers"]) {
    fired += layer["fired"].get<int64_t>();
    size += layer["size"].get<int64_t>();
  }
  return fired == 0 || fired == size;
}

json lifeless_layers(const json& clips) {
  json names = json::array();
  for (size_t i = 0; i < clips[0]["layers"].size(); ++i)
    if (std::all_of(clips.begin(), clips.end(),
                    [&](const json& clip) { return lifeless(clip["layers"][i]); }))
      names.push_back(clips[0]["layers"][i]["layer"]);
  return names;
}

// The rules of runtimes/parity.py.
std::string verdict(const json& clips, const json& silent) {
  if (!std::all_of(clips.begin(), clips.end(), equal)) return "differs";
  const bool proves = !std::all_of(clips.begin(), clips.end(), vacuous);
  return proves && 2 * silent.size() <= clips[0]["layers"].size() ? "equal" : "vacuous";
}

std::string first_difference(const json& clips) {
  for (const json& clip : clips) {
    const std::string on = " on clip '" + clip["clip"].get<std::string>() + "'";
    for (const json& layer : clip["layers"])
      if (layer["equal"] == false)
        return "differs first in layer '" + layer["layer"].get<std::string>() + "'" + on;
    for (const json& output : clip["outputs"])
      if (output["differing"] != 0)
        return "has exact spikes and differs in output '" + output["name"].get<std::string>() + "'" + on;
  }
  return "differs";
}

}  // namespace

void require_clip(const Bundle& bundle) {
  if (bundle.manifest().golden.empty())
    throw Failure(Exit::kBadBundle, bundle.folder().path() + ": holds no golden vector; export it again");
}

void Verdicts::bad(const Variant& variant, const std::string& what) {
  ran_ = true;
  if (bad_.empty()) bad_ = std::string(variant.name) + ": " + what;
}

void Verdicts::outputs(const Variant& variant, bool exact) {
  if (exact)
    good();
  else
    bad(variant, "its outputs are not the golden ones; svf-run parity says where");
}

bool Verdicts::attempt(const Variant& variant, bool required, json& entry,
                       const std::function<void()>& step) {
  try {
    step();
    return true;
  } catch (const Absent& why) {
    entry[why.bundle_is_short ? "failure" : "reason"] = why.reason;
    absent(variant, why, required);
  } catch (const ChildFailed& failed) {
    entry["failure"] = failed.sentence;
    bad(variant, failed.sentence);
  }
  return false;
}

void Verdicts::absent(const Variant& variant, const Absent& why, bool required) {
  std::string& sentence = why.bundle_is_short || required ? missing_ : absent_;
  if (sentence.empty()) sentence = std::string(variant.name) + ": " + why.reason;
}

void Verdicts::conclude(Outcome& outcome) const {
  if (!bad_.empty()) {
    outcome.exit = Exit::kDiffers;
    outcome.sentence = bad_;
  } else if (!missing_.empty() || !ran_) {
    outcome.exit = Exit::kMissing;
    outcome.sentence = missing_.empty() ? absent_ : missing_;
  }
}

Outcome run_parity(const Bundle& bundle, const std::vector<const Variant*>& chosen, bool required,
                   int threads, const std::string& spikes) {
  require_clip(bundle);
  if (!spikes.empty()) make_folder(spikes);
  Outcome outcome;
  Verdicts verdicts;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const Variant& variant = *chosen[i];
    json entry{{"runtime", variant.name},   {"verdict", "failed"}, {"clips", json::array()},
               {"lifeless", json::array()}, {"failure", nullptr},  {"reason", nullptr},
               {"versions", json::object()}};
    verdicts.attempt(variant, required, entry, [&] {
      Child child([&](Channel& channel) {
        answer(channel, [&] {
          Comparison comparison(bundle, variant, i, threads, spikes);
          json clips = comparison.clips();
          return json{{"clips", std::move(clips)}, {"versions", comparison.versions()}};
        });
      });
      const json reply = child.receive();
      entry["clips"] = reply["clips"];
      entry["versions"] = reply["versions"];
      entry["lifeless"] = lifeless_layers(reply["clips"]);
      entry["verdict"] = verdict(reply["clips"], entry["lifeless"]);
      if (entry["verdict"] == "equal")
        verdicts.good();
      else
        verdicts.bad(variant, entry["verdict"] == "vacuous"
                                  ? "most layers are silent or saturated on every clip, which proves nothing"
                                  : first_difference(reply["clips"]));
    });
    if (!entry["reason"].is_null()) entry["verdict"] = "not run";
    outcome.entries.push_back(std::move(entry));
  }
  verdicts.conclude(outcome);
  return outcome;
}

}  // namespace svf
