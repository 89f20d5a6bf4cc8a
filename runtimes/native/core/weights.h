// Prepared weights of every convolution of a kernel set.
#ifndef SVF_WEIGHTS_H
#define SVF_WEIGHTS_H

#include "dense_conv.h"
#include "dense_tile.h"
#include "depthwise.h"
#include "event_tile.h"

namespace svf {
namespace {

bool is_depthwise(const Conv& c) { return c.group_in == 1 && c.group_out == 1; }

// Of spikes: depthwise weights, or those of the dense form with those of the event-driven one behind them.
size_t weights_size(const Conv& c, bool packed_input) {
  if (!packed_input) return byte_weights_size(c);
  if (is_depthwise(c)) return depthwise_weights_size(c);
  return dense_weights_size(c) + (may_be_event(c) ? event_weights_size(c) : 0);
}

void prepare_weights(const Conv& c, bool packed_input, const int8_t* weight, void* prepared) {
  if (!packed_input) return prepare_bytes(c, weight, prepared);
  if (is_depthwise(c)) return prepare_depthwise(c, weight, prepared);
  if (may_be_dense(c)) prepare_dense(c, weight, prepared);
  if (may_be_event(c)) prepare_event(c, weight, static_cast<char*>(prepared) + dense_weights_size(c));
}

}  // namespace
}  // namespace svf
#endif
