// Convolutions on packed spikes and on integers, alone and with a LIF behind them.
#ifndef SVF_ORT_CONVOLUTION_H
#define SVF_ORT_CONVOLUTION_H

#include <memory>

#include "support.h"

namespace svf {

// What a convolution has with and without a LIF. Constant weights are put in the order of the kernels once.
class Convolution {
 public:
  Convolution(const Node& node, bool packed, svf_type input, svf_type output, svf_density density)
      : packed_(packed), params_{}, bias_(node, 2, "bias"), shift_(node, 3, "shift") {
    node.pair("stride", params_.stride);
    node.pair("padding", params_.padding);
    params_.groups = node.integer("groups");
    params_.zero_point = packed ? 0 : node.integer("zero_point");
    params_.input_type = input;
    params_.output_type = output;
    params_.density = density;
    weight_ = static_cast<const int8_t*>(node.constant(1, kernel_));
    if (weight_ != nullptr) prepare();
  }

  // One call's arguments.
  struct Run {
    svf_conv2d_params params;
    Shape output;
    const void* x;
    const int8_t* weight;
    const int32_t* bias;
    const int32_t* shift;
  };

  Run read(const Call& call) const {
    const auto [x, planes] =
        packed_ ? call.packed_shape(0, 4, "x") : std::pair{call.shape(0, 4, "x"), int64_t{1}};
    const Shape w = weight_ != nullptr ? kernel_ : call.shape(1, 4, "weight");
    Run run{params_, {}, nullptr, nullptr, nullptr, nullptr};
    svf_conv2d_params& p = run.params;
    p.levels = narrow(planes, "planes");
    p.frames = narrow(x[0], "T");
    p.height = narrow(x[1], "H");
    p.width = narrow(x[2], "W");
    read_kernel(w, p);
    int32_t size[2];
    check(svf_conv2d_output_size(&p, size));
    const int64_t last = packed_ ? words(p.in_channels) : p.in_channels;
    run.output = {x[0], size[0], size[1], w[3]};
    run.x = call.input<void>(0, with_planes(planes, {x[0], x[1], x[2], last}), "x");
    run.weight = weight_ != nullptr ? weight_ : call.input<int8_t>(1, w, "weight");
    run.bias = bias_.get(call, w[3]);
    run.shift = shift_.get(call, w[3]);
    return run;
  }

  bool packed() const { return packed_; }
  const svf_weights* prepared() const { return prepared_.get(); }

 private:
  struct Release {
    void operator()(svf_weights* weights) const { svf_release_weights(weights); }
  };

  void read_kernel(const Shape& w, svf_conv2d_params& p) const {
    p.in_channels = narrow(int64_t{narrow(w[2], "Cin / groups")} * p.groups, "Cin");
    p.out_channels = narrow(w[3], "Cout");
    for (int axis = 0; axis < 2; ++axis) p.kernel[axis] = narrow(w[axis], "kernel");
  }

  void prepare() {
    if (kernel_.size() != 4) refuse("weight must have rank 4, not " + std::to_string(kernel_.size()));
    svf_conv2d_params p = params_;
    read_kernel(kernel_, p);
    // The smallest input that the kernel fits: sizes of frames do not matter here.
    p.frames = p.levels = 1;
    p.height = p.kernel[0];
    p.width = p.kernel[1];
    svf_weights* made = nullptr;
    check(svf_prepare_weights(&p, packed_, weight_, &made));
    prepared_.reset(made);
  }

  bool packed_;
  svf_conv2d_params params_;
  Vector bias_, shift_;
  const int8_t* weight_;
  Shape kernel_;
  std::unique_ptr<svf_weights, Release> prepared_;
};

struct Conv {
  void run(const Call& call) const {
    const Convolution::Run run = conv.read(call);
    void* y = call.output(0, run.output);
    check(conv.packed() ? svf_spike_conv2d(&run.params, static_cast<const int32_t*>(run.x), run.weight,
                                           conv.prepared(), run.bias, run.shift, y, call.parallel())
                        : svf_conv2d(&run.params, run.x, run.weight, conv.prepared(), run.bias, run.shift, y,
                                     call.parallel()));
  }

  Convolution conv;
};

// Inputs x, weight, bias, shift, gain, lif_bias, theta, if `adds` a residual, and in a stream the membranes
// before; outputs spikes, sum, and in a stream the membranes after.
class ConvLif {
 public:
  static constexpr size_t kResidual = 7, kSum = 1, kAfter = 2;

  ConvLif(const Node& node, bool packed, svf_type input, bool adds, bool streams)
      : conv_(node, packed, input, SVF_INT32, packed ? density(node.text("density")) : SVF_AUTO),
        neuron_(node, 4),
        adds_(adds),
        streams_(streams),
        keeps_sum_(node.gives(kSum)) {}

  void run(const Call& call) const {
    const Convolution::Run run = conv_.read(call);
    svf_lif_stage lif = neuron_.stage(call, run.output);
    if (adds_) lif.residual = call.input<int32_t>(kResidual, run.output, "residual");
    if (keeps_sum_) lif.sum = call.output<int32_t>(kSum, run.output);
    if (streams_) neuron_.carry(call, run.output, adds_ ? kResidual + 1 : kResidual, kAfter, lif);
    check(conv_.packed() ? svf_spike_conv2d_lif(&run.params, static_cast<const int32_t*>(run.x), run.weight,
                                                conv_.prepared(), run.bias, run.shift, &lif, call.parallel())
                         : svf_conv2d_lif(&run.params, run.x, run.weight, conv_.prepared(), run.bias,
                                          run.shift, &lif, call.parallel()));
  }

 private:
  static svf_density density(const std::string& name) {
    if (name == "auto") return SVF_AUTO;
    if (name == "event") return SVF_EVENT;
    if (name == "dense") return SVF_DENSE;
    refuse("density is '" + name + "', not auto, event or dense");
  }

  Convolution conv_;
  Neuron neuron_;
  bool adds_, streams_, keeps_sum_;
};

}  // namespace svf
#endif
