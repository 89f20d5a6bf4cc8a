// Frames as the convolutions read them.
#ifndef SVF_ORT_LAYOUT_H
#define SVF_ORT_LAYOUT_H

#include "support.h"

namespace svf {

struct ChannelsLast {
  void run(const Call& call) const {
    const Shape x = call.shape(0, 4, "x");
    const uint8_t* from = call.input<uint8_t>(0, x, "x");
    uint8_t* y = call.output<uint8_t>(0, {x[0], x[2], x[3], x[1]});
    check(svf_channels_last(x[0], x[1], x[2] * x[3], from, y, call.parallel()));
  }
};

}  // namespace svf
#endif
