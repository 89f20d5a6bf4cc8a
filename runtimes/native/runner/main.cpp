// svf-run: the harness of a device without Python. docs/runner.md describes it.
#include <chrono>
#include <cstdio>
#include <new>

#include "bench.h"
#include "bundle.h"
#include "child.h"
#include "failure.h"
#include "machine.h"
#include "options.h"
#include "parity.h"
#include "profile.h"

namespace {

using nlohmann::json;
using namespace svf;

constexpr char kVersion[] = SVF_RUN_VERSION;

std::vector<const Variant*> chosen(const Options& options) {
  if (!options.runtimes.empty()) return options.runtimes;
  std::vector<const Variant*> all;
  for (const Variant& variant : variants()) all.push_back(&variant);
  return all;
}

json availability(const Bundle& bundle) {
  json found = json::object();
  for (const Variant& variant : variants()) {
    try {
      Child child(
          [&](Channel& channel) { answer(channel, [&] { return Harness(bundle, variant).versions(); }); });
      child.receive();
      found[variant.name] = nullptr;
    } catch (const Absent& absent) {
      found[variant.name] = absent.reason;
    } catch (const ChildFailed& failed) {
      found[variant.name] = failed.sentence;
    }
  }
  return found;
}

// Prints the document; what a full disk or a closed pipe swallows must not look like success.
void print(const json& document) {
  const std::string text = document.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw Failure(Exit::kMachine, "the result could not be written to standard output");
}

Exit run(const Options& options) {
  if (options.command == "help") {
    std::fputs(kHelp, stdout);
    return Exit::kOk;
  }
  const bool emulation = emulated(options.bench.emulated);
  json document{{"svf_run", kVersion}, {"machine", describe_machine(emulation)}};
  if (options.command == "info") {
    document["backends"] = backends();
    document["reads"] = {{"format", kFormat}, {"numeric", kNumeric}, {"packing", kPacking}};
    print(document);
    return Exit::kOk;
  }
  const auto start = std::chrono::steady_clock::now();
  const Bundle bundle(options.bundle);
  const std::chrono::duration<double, std::milli> opened = std::chrono::steady_clock::now() - start;
  const Manifest& manifest = bundle.manifest();
  document["bundle"] = options.bundle;
  document["fingerprint"] = bundle.fingerprint();
  if (options.command == "check") {
    document["exported_by"] = manifest.exported_by;
    document["files"] = manifest.files.size();
    document["bytes"] = bundle.bytes();
    document["layers"] = manifest.taps.size();
    document["golden"] = json::array();
    for (const Golden& golden : manifest.golden) document["golden"].push_back(golden.name);
    document["runtimes"] = availability(bundle);
    print(document);
    return Exit::kOk;
  }
  const bool required = !options.runtimes.empty();
  document["threads"] = options.bench.threads;
  Outcome outcome;
  if (options.command == "parity") {
    outcome = run_parity(bundle, chosen(options), required, options.bench.threads, options.spikes);
    document["required"] = json::array();
    for (const Variant* variant : options.runtimes) document["required"].push_back(variant->name);
    document["equal"] = outcome.exit == Exit::kOk;
    document["runtimes"] = outcome.entries;
  } else {
    BenchOptions bench = options.bench;
    bench.emulated = emulation;
    bench.open_ms = opened.count();
    document["when"] = timestamp();
    document["load_before"] = load_average();
    const bool profile = options.command == "profile";
    outcome = profile ? run_profile(bundle, chosen(options), required, bench, options.traces)
                      : run_bench(bundle, chosen(options), required, bench);
    document["load_after"] = load_average();
    document["clip"] = manifest.golden.front().name;
    document["runs"] = bench.runs;
    document["warm_up"] = bench.warm_up;
    document["variants"] = outcome.entries;
  }
  print(document);
  if (outcome.exit != Exit::kOk) throw Failure(outcome.exit, outcome.sentence);
  return Exit::kOk;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return static_cast<int>(run(parse_options({arguments + 1, arguments + count})));
  } catch (const Failure& failure) {
    std::fprintf(stderr, "svf-run: %s\n", failure.what());
    return static_cast<int>(failure.code());
  } catch (const std::bad_alloc&) {
    std::fputs("svf-run: there is not enough memory on this machine\n", stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "svf-run: %s\n", printable(error.what()).c_str());
  }
  return static_cast<int>(Exit::kMachine);
}
