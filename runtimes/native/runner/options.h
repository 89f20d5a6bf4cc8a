// The command line.
#pragma once

#include <string>
#include <vector>

#include "bench.h"
#include "variants.h"

namespace svf {

struct Options {
  std::string command, bundle, spikes, traces;
  std::vector<const Variant*> runtimes;  // asked for by name
  BenchOptions bench;
};

extern const char kHelp[];

// Failure (usage) naming the argument. `--help` anywhere gives the command "help".
Options parse_options(const std::vector<std::string>& arguments);

}  // namespace svf
