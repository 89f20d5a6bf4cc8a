#include "profile.h"

#include <algorithm>
#include <cctype>
#include <chrono>

#include "child.h"
#include "failure.h"

namespace svf {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

// Where a variant's profile goes, without the ending that the runtime gives it.
std::string profile_path(const std::string& folder, const Variant& variant) {
  std::string name;
  for (const char* letter = variant.name; *letter != '\0'; ++letter)
    if (std::isalnum(static_cast<unsigned char>(*letter)))
      name += *letter;
    else if (!name.empty() && name.back() != '-')
      name += '-';
  return folder + "/" + name;
}

// In the child.
json measure(const Bundle& bundle, const Variant& variant, const BenchOptions& options,
             const std::string& folder) {
  const GoldenVector golden = bundle.golden(bundle.manifest().golden.front());
  Harness harness(bundle, variant);
  const auto graph = harness.open(options.threads, false, profile_path(folder, variant));
  const bool exact = golden.same_outputs(bundle.manifest(), graph->run(golden.frames).outputs);
  const auto begin = Clock::now();
  for (int i = 1; i < options.warm_up + options.runs; ++i) {
    graph->run(golden.frames);
    if (i > options.warm_up && Clock::now() - begin > std::chrono::duration<double>(options.seconds)) break;
  }
  const Manifest& manifest = bundle.manifest();
  const int64_t calls = manifest.form == "stream" ? manifest.frames.t : 1;  // of the graph, in a run
  json operators = json::array();
  for (Operation& operation : graph->end_profile()) {
    std::vector<double>& times = operation.milliseconds;
    times.erase(times.begin(), times.begin() + std::min<int64_t>(options.warm_up * calls, times.size()));
    if (options.emulated) times.clear();
    operators.push_back({{"index", operation.index},
                         {"part", operation.part},
                         {"kind", operation.kind},
                         {"node", operation.node},
                         {"milliseconds", times}});
  }
  return {{"operators", operators}, {"outputs_exact", exact}, {"versions", harness.versions()}};
}

}  // namespace

Outcome run_profile(const Bundle& bundle, const std::vector<const Variant*>& chosen, bool required,
                    const BenchOptions& options, const std::string& folder) {
  require_clip(bundle);
  make_folder(folder);
  Outcome outcome;
  Verdicts verdicts;
  for (const Variant* variant : chosen) {
    json entry{{"runtime", variant->name}, {"profile", nullptr}, {"failure", nullptr}, {"reason", nullptr}};
    verdicts.attempt(*variant, required, entry, [&] {
      Child child([&](Channel& channel) {
        answer(channel, [&] { return measure(bundle, *variant, options, folder); });
      });
      entry["profile"] = child.receive();
      verdicts.outputs(*variant, entry["profile"]["outputs_exact"]);
    });
    outcome.entries.push_back(std::move(entry));
  }
  verdicts.conclude(outcome);
  return outcome;
}

}  // namespace svf
