// Prepared weights of every convolution of a kernel set.
#ifndef SVF_WEIGHTS_H
#define SVF_WEIGHTS_H

#include "depthwise.h"

namespace svf {
namespace {

bool is_depthwise(const Conv& c) { return c.group_in == 1 && c.group_out == 1; }

size_t weights_size(const Conv& c, bool packed_input) {
  return packed_input && is_depthwise(c) ? depthwise_weights_size(c) : 0;
}

void prepare_weights(const Conv& c, bool packed_input, const int8_t* weight, void* prepared) {
  if (packed_input && is_depthwise(c)) prepare_depthwise(c, weight, prepared);
}

}  // namespace
}  // namespace svf
#endif
