// LIF over time on int32 sums.
#ifndef SVF_ORT_LIF_H
#define SVF_ORT_LIF_H

#include "support.h"

namespace svf {

struct Lif {
  Lif(const Node& node, bool integer)
      : gain(node, 1, "gain"),
        bias(node, 2, "bias"),
        theta(node, 3, "theta"),
        soft_reset(node.integer("soft_reset")),
        levels(integer ? node.integer("levels") : 1) {
    if (integer && levels < 2)
      refuse("levels is " + std::to_string(levels) + ", but an integer LIF has 2 or more");
  }

  void run(const Call& call) const {
    const Shape x = call.shape(0, 4, "x");
    const int64_t positions = int64_t{narrow(x[1], "H")} * narrow(x[2], "W");
    const svf_lif_params p{narrow(x[0], "T"), narrow(positions, "H * W"), narrow(x[3], "C"), soft_reset,
                           levels};
    const int32_t* data = call.input<int32_t>(0, x, "x");
    int32_t* y = call.output<int32_t>(0, with_planes(levels, {x[0], x[1], x[2], words(x[3])}));
    check(svf_lif(&p, data, gain.get(call, x[3]), bias.get(call, x[3]), theta.get(call, x[3]), y,
                  call.parallel()));
  }

  Vector gain, bias, theta;
  int32_t soft_reset, levels;
};

// The LIF of a piece of a stream, of any number of levels: inputs x, gain, bias, theta and the membranes
// before; outputs spikes and the membranes after.
struct LifFrom {
  explicit LifFrom(const Node& node) : neuron(node, 1) {}

  void run(const Call& call) const {
    const Shape x = call.shape(0, 4, "x");
    const int64_t positions = int64_t{narrow(x[1], "H")} * narrow(x[2], "W");
    svf_lif_stage lif = neuron.stage(call, x);
    neuron.carry(call, x, 4, 1, lif);
    const svf_lif_params p{narrow(x[0], "T"), narrow(positions, "H * W"), narrow(x[3], "C"), lif.soft_reset,
                           lif.levels};
    check(svf_lif_from(&p, call.input<int32_t>(0, x, "x"), lif.gain, lif.bias, lif.theta, lif.before,
                       lif.after, lif.spikes, call.parallel()));
  }

  Neuron neuron;
};

}  // namespace svf
#endif
