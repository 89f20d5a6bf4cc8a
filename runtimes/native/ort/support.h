// What the operators share: attributes, inputs and outputs, constants, the session's thread pool,
// registration.
#ifndef SVF_ORT_SUPPORT_H
#define SVF_ORT_SUPPORT_H

#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <string>
#include <utility>
#include <vector>

#include "svf_core.h"

namespace svf {

using Shape = std::vector<int64_t>;

[[noreturn]] inline void refuse(std::string message) {
  throw Ort::Exception(std::move(message), ORT_INVALID_ARGUMENT);
}

inline void check(svf_status status) {
  if (status != SVF_OK) refuse(svf_last_error());
}

// A size or an attribute as the core takes it.
inline int32_t narrow(int64_t value, const char* name) {
  if (value != static_cast<int32_t>(value))
    refuse(std::string(name) + " is " + std::to_string(value) + ", which does not fit in 32 bits");
  return static_cast<int32_t>(value);
}

// What is known of one node when the session is built: attributes, constant inputs, wanted outputs.
class Node {
 public:
  explicit Node(const OrtKernelInfo* info) : info_(info) {}
  int32_t integer(const char* name) const { return narrow(info_.GetAttribute<int64_t>(name), name); }
  void pair(const char* name, int32_t out[2]) const {
    const Shape values = info_.GetAttributes<int64_t>(name);
    if (values.size() != 2) refuse(std::string(name) + " must have 2 entries (height, width)");
    for (int axis = 0; axis < 2; ++axis) out[axis] = narrow(values[axis], name);
  }
  std::string text(const char* name) const { return info_.GetAttribute<std::string>(name); }
  // Data of an input that is an initialiser, which outlives the kernel, and its sizes; null for another
  // input.
  const void* constant(size_t input, Shape& sizes) const {
    int is_constant = 0;
    const Ort::ConstValue value = info_.GetTensorConstantInput(input, &is_constant);
    if (!is_constant) return nullptr;
    sizes = value.GetTensorTypeAndShapeInfo().GetShape();
    return value.GetTensorRawData();
  }
  bool gives(size_t output) const {
    return info_.GetOutputCount() > output && !info_.GetOutputName(output).empty();
  }

 private:
  Ort::ConstKernelInfo info_;
};

// Inputs, outputs and the session's thread pool during one call.
class Call {
 public:
  explicit Call(OrtKernelContext* context) : context_(context), parallel_{for_each, &context_} {}

  Shape shape(size_t input, size_t rank, const char* name) const {
    Shape sizes = context_.GetInput(input).GetTensorTypeAndShapeInfo().GetShape();
    if (sizes.size() != rank)
      refuse(std::string(name) + " must have rank " + std::to_string(rank) + ", not " +
             std::to_string(sizes.size()));
    return sizes;
  }
  // Sizes of packed spikes of this rank, and how many planes they have on an axis in front of it (1 without).
  std::pair<Shape, int64_t> packed_shape(size_t input, size_t rank, const char* name) const {
    Shape sizes = context_.GetInput(input).GetTensorTypeAndShapeInfo().GetShape();
    if (sizes.size() == rank) return {sizes, 1};
    if (sizes.size() != rank + 1)
      refuse(std::string(name) + " must have rank " + std::to_string(rank) +
             ", or one more with planes, not " + std::to_string(sizes.size()));
    const int64_t planes = sizes.front();
    sizes.erase(sizes.begin());
    return {sizes, planes};
  }
  // An input of exactly this shape.
  template <typename T>
  const T* input(size_t index, const Shape& sizes, const char* name) const {
    const Shape got = shape(index, sizes.size(), name);
    for (size_t i = 0; i < sizes.size(); ++i)
      if (got[i] != sizes[i])
        refuse(std::string(name) + " has size " + std::to_string(got[i]) + " on axis " + std::to_string(i) +
               ", expected " + std::to_string(sizes[i]));
    return static_cast<const T*>(context_.GetInput(index).GetTensorRawData());
  }
  template <typename T = void>
  T* output(size_t index, const Shape& sizes) const {
    return static_cast<T*>(context_.GetOutput(index, sizes).GetTensorMutableRawData());
  }
  const svf_parallel* parallel() const { return &parallel_; }

 private:
  static void for_each(void* context, void (*task)(void*, size_t), void* arg, size_t n) {
    static_cast<Ort::KernelContext*>(context)->ParallelFor(task, n, 0, arg);
  }
  Ort::KernelContext context_;
  svf_parallel parallel_;
};

inline int64_t words(int64_t channels) { return (channels + 31) / 32; }

// Sizes of packed spikes: one plane has no axis of its own.
inline Shape with_planes(int64_t planes, Shape sizes) {
  if (planes > 1) sizes.insert(sizes.begin(), planes);
  return sizes;
}

// An int32 vector per output channel. A constant one is looked up when the session is built, and not in every
// run.
class Vector {
 public:
  Vector(const Node& node, size_t input, const char* name) : input_(input), name_(name) {
    data_ = static_cast<const int32_t*>(node.constant(input, sizes_));
  }
  const int32_t* get(const Call& call, int64_t channels) const {
    if (data_ == nullptr || sizes_ != Shape{channels}) return call.input<int32_t>(input_, {channels}, name_);
    return data_;
  }

 private:
  size_t input_;
  const char* name_;
  const int32_t* data_;
  Shape sizes_;
};

// The LIF of a fused operator; `input` is the place of its first constant.
class Neuron {
 public:
  Neuron(const Node& node, size_t input)
      : gain_(node, input, "gain"),
        bias_(node, input + 1, "lif_bias"),
        theta_(node, input + 2, "theta"),
        soft_reset_(node.integer("soft_reset")),
        levels_(node.integer("levels")) {
    if (levels_ < 1 || levels_ > SVF_MAX_LEVELS)
      refuse("levels is " + std::to_string(levels_) + ", which is outside 1.." +
             std::to_string(SVF_MAX_LEVELS));
  }
  // `sizes`: [T, H, W, C] of what the LIF reads. The spikes are output 0.
  svf_lif_stage stage(const Call& call, const Shape& sizes) const {
    svf_lif_stage lif{};
    lif.gain = gain_.get(call, sizes[3]);
    lif.bias = bias_.get(call, sizes[3]);
    lif.theta = theta_.get(call, sizes[3]);
    lif.soft_reset = soft_reset_;
    lif.levels = levels_;
    lif.spikes =
        call.output<int32_t>(0, with_planes(levels_, {sizes[0], sizes[1], sizes[2], words(sizes[3])}));
    return lif;
  }
  // `stage` in a stream: membranes from an input to an output.
  void carry(const Call& call, const Shape& sizes, size_t before, size_t after, svf_lif_stage& stage) const {
    const Shape membranes{sizes[1], sizes[2], sizes[3]};
    stage.before = call.input<int32_t>(before, membranes, "before");
    stage.after = call.output<int32_t>(after, membranes);
  }

 private:
  Vector gain_, bias_, theta_;
  int32_t soft_reset_, levels_;
};

template <typename Run>
OrtStatusPtr guarded(const Run& run) {
  try {
    run();
    return nullptr;
  } catch (const Ort::Exception& error) {
    return Ort::Status(error.what(), error.GetOrtErrorCode()).release();
  } catch (const std::exception& error) {
    return Ort::Status(error.what(), ORT_RUNTIME_EXCEPTION).release();
  }
}

template <typename Operator>
struct Kernel {
  explicit Kernel(Operator made) : op(std::move(made)) {}
  Operator op;
  OrtStatusPtr ComputeV2(OrtKernelContext* context) {
    return guarded([&] { op.run(Call(context)); });
  }
};

// What ONNX Runtime asks of an operator: its name, its types, and how to make a kernel. The first output is
// always wanted, a second one need not be.
template <typename Operator>
struct Definition : Ort::CustomOpBase<Definition<Operator>, Kernel<Operator>, true> {
  using Make = Operator (*)(const Node&);
  using Type = ONNXTensorElementDataType;
  Definition(const char* name, std::vector<Type> inputs, std::vector<Type> outputs, Make make)
      : name(name), inputs(std::move(inputs)), outputs(std::move(outputs)), make(make) {}

  OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info, void** kernel) const {
    return guarded([&] { *kernel = new Kernel<Operator>(make(Node(info))); });
  }
  const char* GetName() const { return name; }
  size_t GetInputTypeCount() const { return inputs.size(); }
  Type GetInputType(size_t index) const { return inputs[index]; }
  size_t GetOutputTypeCount() const { return outputs.size(); }
  Type GetOutputType(size_t index) const { return outputs[index]; }
  OrtCustomOpInputOutputCharacteristic GetOutputCharacteristic(size_t index) const {
    return index == 0 ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
  }

  const char* name;
  std::vector<Type> inputs, outputs;
  Make make;
};

}  // namespace svf
#endif
