// `svf-run bench`: latency of every runtime on the first golden clip.
#pragma once

#include <vector>

#include "bundle.h"
#include "parity.h"
#include "variants.h"

namespace svf {

struct BenchOptions {
  int threads = 1;
  int runs = 100;
  double seconds = 20;
  int warm_up = 3;
  bool emulated = false;  // check outputs and measure nothing
  double open_ms = 0;     // what opening the bundle took
};

// Every runtime has a process, and they take turns, so that a slow minute of the machine falls on all of
// them.
Outcome run_bench(const Bundle& bundle, const std::vector<const Variant*>& chosen, bool required,
                  const BenchOptions& options);

}  // namespace svf
