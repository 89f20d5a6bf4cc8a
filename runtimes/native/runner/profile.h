// `svf-run profile`: what every operator of a graph takes, by the runtime's own profiler.
#pragma once

#include <string>
#include <vector>

#include "bench.h"
#include "bundle.h"
#include "parity.h"
#include "variants.h"

namespace svf {

// The first golden clip, one runtime after the other. `folder` receives the runtimes' own profiles.
Outcome run_profile(const Bundle& bundle, const std::vector<const Variant*>& chosen, bool required,
                    const BenchOptions& options, const std::string& folder);

}  // namespace svf
