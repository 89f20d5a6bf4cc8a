#include "bench.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "child.h"
#include "failure.h"
#include "machine.h"
#include "statistics.h"

namespace svf {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5;

double milliseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// In the child: loads, runs once, then measures a round for every request.
void serve(Channel& channel, const Bundle& bundle, const Variant& variant, const BenchOptions& options) {
  std::unique_ptr<Harness> harness;
  std::unique_ptr<LoadedGraph> graph;
  GoldenVector golden;
  const bool loaded = answer(channel, [&] {
    golden = bundle.golden(bundle.manifest().golden.front());
    const auto start = Clock::now();
    harness = std::make_unique<Harness>(bundle, variant);
    const auto libraries = Clock::now();
    const int64_t memory = resident_memory();
    const auto loading = Clock::now();
    graph = harness->open(options.threads, false);
    const auto running = Clock::now();
    const RunResult result = graph->run(golden.frames);
    const auto finished = Clock::now();
    return json{{"library_ms", milliseconds(start, libraries)},
                {"load_ms", milliseconds(loading, running)},
                {"first_run_ms", milliseconds(running, finished)},
                {"file_bytes", harness->graph_bytes()},
                {"memory_before_load", memory},
                {"peak_memory", peak_memory()},
                {"outputs_exact", golden.same_outputs(bundle.manifest(), result.outputs)},
                {"versions", harness->versions()}};
  });
  if (!loaded) return;
  while (const auto request = channel.receive()) {
    const bool measured = answer(channel, [&] {
      // The warm-up is per round, because another runtime had the caches since the last one.
      for (int i = 0; i < options.warm_up; ++i) graph->run(golden.frames);
      json samples = json::array();
      const auto begin = Clock::now();
      for (int i = 0; i < (*request)["runs"]; ++i) {
        const auto start = Clock::now();
        graph->run(golden.frames);
        const auto stop = Clock::now();
        samples.push_back(milliseconds(start, stop));
        if (milliseconds(begin, stop) > 1e3 * (*request)["seconds"].get<double>()) break;
      }
      const auto clock = clock_mhz();
      return json{{"milliseconds", samples},
                  {"clock_mhz", clock ? json(*clock) : json()},
                  {"peak_memory", peak_memory()}};
    });
    if (!measured) return;
  }
}

// One runtime under measurement.
struct Candidate {
  const Variant* variant;
  std::unique_ptr<Child> child;
  json loaded;
  Rounds rounds;
  std::vector<double> clocks;
  json entry;
};

json timing(const Candidate& candidate, double open_ms) {
  const double library = candidate.loaded["library_ms"], load = candidate.loaded["load_ms"],
               first = candidate.loaded["first_run_ms"];
  const Judgement judgement = judge(candidate.rounds, candidate.clocks);
  return {{"open_ms", open_ms},
          {"library_ms", library},
          {"load_ms", load},
          {"first_run_ms", first},
          {"first_pose_ms", open_ms + library + load + first},
          {"rounds", candidate.rounds},
          {"clocks_mhz", candidate.clocks},
          {"distribution", distribution(candidate.rounds)},
          {"judgement", judgement.word},
          {"remarks", judgement.remarks}};
}

// Runs `step` on a candidate that is still in the race; whatever ends it is written into its entry.
void advance(Candidate& candidate, Verdicts& verdicts, bool required, const std::function<void()>& step) {
  if (!verdicts.attempt(*candidate.variant, required, candidate.entry, step)) candidate.child.reset();
}

}  // namespace

Outcome run_bench(const Bundle& bundle, const std::vector<const Variant*>& chosen, bool required,
                  const BenchOptions& options) {
  require_clip(bundle);
  Verdicts verdicts;
  std::vector<Candidate> candidates;
  for (const Variant* variant : chosen) {
    Candidate& candidate = candidates.emplace_back();
    candidate.variant = variant;
    candidate.entry = {
        {"runtime", variant->name}, {"measurement", nullptr}, {"failure", nullptr}, {"reason", nullptr}};
    candidate.child =
        std::make_unique<Child>([&](Channel& channel) { serve(channel, bundle, *variant, options); });
    advance(candidate, verdicts, required, [&] { candidate.loaded = candidate.child->receive(); });
  }
  const int rounds = options.emulated ? 0 : std::min(kRounds, options.runs);
  for (int round = 0; round < rounds; ++round) {
    const int share = options.runs / rounds + (round < options.runs % rounds);
    for (Candidate& candidate : candidates) {
      if (!candidate.child) continue;
      advance(candidate, verdicts, required, [&] {
        candidate.child->send({{"runs", share}, {"seconds", options.seconds / rounds}});
        json reply = candidate.child->receive();
        candidate.rounds.push_back(reply["milliseconds"].get<std::vector<double>>());
        if (!reply["clock_mhz"].is_null()) candidate.clocks.push_back(reply["clock_mhz"]);
        candidate.loaded["peak_memory"] = reply["peak_memory"];
      });
    }
  }
  Outcome outcome;
  for (Candidate& candidate : candidates) {
    if (candidate.child) {
      json measurement{{"timing", nullptr}};
      if (!options.emulated) measurement["timing"] = timing(candidate, options.open_ms);
      for (const char* key : {"file_bytes", "memory_before_load", "peak_memory", "outputs_exact", "versions"})
        measurement[key] = candidate.loaded[key];
      candidate.entry["measurement"] = std::move(measurement);
      verdicts.outputs(*candidate.variant, candidate.loaded["outputs_exact"]);
    }
    outcome.entries.push_back(std::move(candidate.entry));
  }
  verdicts.conclude(outcome);
  return outcome;
}

}  // namespace svf
