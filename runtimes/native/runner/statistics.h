// Statistics of run times and the verdict on the measurement, by the rules of runtimes/latency.py.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace svf {

using Rounds = std::vector<std::vector<double>>;  // milliseconds; every round has at least one

// Percentile (0..100), interpolated linearly between samples.
double percentile(std::vector<double> samples, double percent);

nlohmann::json distribution(const Rounds& rounds);

struct Judgement {
  std::string word;  // good, noisy or throttled
  std::vector<std::string> remarks;
};

Judgement judge(const Rounds& rounds, const std::vector<double>& clocks_mhz);

}  // namespace svf
