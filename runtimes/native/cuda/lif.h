// Launches the LIF behind an operator.
#pragma once

#include "launch.h"

namespace svf {

// The stage `lif` on its input x, int32 [frames, positions, channels].
svf_status launch_stage(const svf_lif_stage& lif, int frames, int positions, int channels, const int32_t* x,
                        void* stream);

}  // namespace svf
