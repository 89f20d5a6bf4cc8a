#include "statistics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace svf {
namespace {

constexpr double kNoisyVariation = 0.10, kNoisyTail = 2.0, kDrift = 1.10;
constexpr size_t kFewRuns = 30;

struct Moments {
  double mean, variation;
};

std::vector<double> all(const Rounds& rounds) {
  std::vector<double> samples;
  for (const auto& round : rounds) samples.insert(samples.end(), round.begin(), round.end());
  return samples;
}

Moments moments(const std::vector<double>& samples) {
  double sum = 0, squares = 0;
  for (const double sample : samples) sum += sample;
  const double mean = sum / static_cast<double>(samples.size());
  for (const double sample : samples) squares += (sample - mean) * (sample - mean);
  return {mean, std::sqrt(squares / static_cast<double>(samples.size())) / mean};
}

template <typename... Values>
std::string format(const char* text, Values... values) {
  char line[160];
  std::snprintf(line, sizeof line, text, values...);
  return line;
}

}  // namespace

double percentile(std::vector<double> samples, double percent) {
  std::sort(samples.begin(), samples.end());
  const double place = percent / 100 * static_cast<double>(samples.size() - 1);
  const size_t below = static_cast<size_t>(place), above = std::min(below + 1, samples.size() - 1);
  return samples[below] + (place - static_cast<double>(below)) * (samples[above] - samples[below]);
}

nlohmann::json distribution(const Rounds& rounds) {
  const std::vector<double> samples = all(rounds);
  const auto [least, most] = std::minmax_element(samples.begin(), samples.end());
  const Moments found = moments(samples);
  return {{"count", samples.size()},
          {"min", *least},
          {"p50", percentile(samples, 50)},
          {"p90", percentile(samples, 90)},
          {"p99", percentile(samples, 99)},
          {"max", *most},
          {"mean", found.mean},
          {"variation", found.variation}};
}

Judgement judge(const Rounds& rounds, const std::vector<double>& clocks_mhz) {
  const std::vector<double> samples = all(rounds);
  const double variation = moments(samples).variation, p50 = percentile(samples, 50),
               p99 = percentile(samples, 99);
  std::vector<std::string> heat, noise;
  if (variation > kNoisyVariation) noise.push_back(format("run times vary by %.0f%%", 100 * variation));
  if (p99 > kNoisyTail * p50) noise.push_back(format("p99 is %.1f times the median", p99 / p50));
  if (samples.size() < kFewRuns)
    noise.push_back(format("only %zu runs, so p99 rests on the slowest one", samples.size()));
  const double first = percentile(rounds.front(), 50), last = percentile(rounds.back(), 50);
  if (last > std::max(kDrift * first, percentile(rounds.front(), 90)))
    heat.push_back(format("the last round is %.0f%% slower than the first", 100 * (last / first - 1)));
  if (!clocks_mhz.empty()) {
    const auto [least, most] = std::minmax_element(clocks_mhz.begin(), clocks_mhz.end());
    if (*most > kDrift * *least)
      heat.push_back(format("the clock fell from %.0f to %.0f MHz", *most, *least));
  }
  Judgement result{heat.empty() ? noise.empty() ? "good" : "noisy" : "throttled", heat};
  result.remarks.insert(result.remarks.end(), noise.begin(), noise.end());
  return result;
}

}  // namespace svf
