// Which kernels the launchers take.
#pragma once

#include "device.h"

namespace svf {

// The kernel sets, each with all that those before it have.
enum class KernelChoice {
  kSimple,  // a thread an output
  kInt8,    // products on int8 tensor cores, AND and popcount
  kBinary,  // counts on binary tensor cores (8.0 to 9.0)
};

// The set in use on the current device.
KernelChoice kernel_choice();

// Streaming multiprocessors of the current device.
int multiprocessors();

}  // namespace svf
