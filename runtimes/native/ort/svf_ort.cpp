// ONNX Runtime operator library: domain ai.svf, version 1 (docs/contract.md, "Operators").
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <string>
#include <utility>
#include <vector>

#include "svf_core.h"

namespace {

using Shape = std::vector<int64_t>;

[[noreturn]] void refuse(std::string message) {
  throw Ort::Exception(std::move(message), ORT_INVALID_ARGUMENT);
}

void check(svf_status status) {
  if (status != SVF_OK) refuse(svf_last_error());
}

// A size or an attribute as the core takes it.
int32_t narrow(int64_t value, const char* name) {
  if (value != static_cast<int32_t>(value))
    refuse(std::string(name) + " is " + std::to_string(value) + ", which does not fit in 32 bits");
  return static_cast<int32_t>(value);
}

// One node's attributes, read when the session is built.
class Attributes {
 public:
  explicit Attributes(const OrtKernelInfo* info) : info_(info) {}
  int32_t integer(const char* name) const { return narrow(info_.GetAttribute<int64_t>(name), name); }
  void pair(const char* name, int32_t out[2]) const {
    const Shape values = info_.GetAttributes<int64_t>(name);
    if (values.size() != 2) refuse(std::string(name) + " must have 2 entries (height, width)");
    for (int axis = 0; axis < 2; ++axis) out[axis] = narrow(values[axis], name);
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
  void* output(const Shape& sizes) const { return context_.GetOutput(0, sizes).GetTensorMutableRawData(); }
  const svf_parallel* parallel() const { return &parallel_; }

 private:
  static void for_each(void* context, void (*task)(void*, size_t), void* arg, size_t n) {
    static_cast<Ort::KernelContext*>(context)->ParallelFor(task, n, 0, arg);
  }
  Ort::KernelContext context_;
  svf_parallel parallel_;
};

int64_t words(int64_t channels) { return (channels + 31) / 32; }

// Sizes of packed spikes: one plane has no axis of its own.
Shape with_planes(int64_t planes, Shape sizes) {
  if (planes > 1) sizes.insert(sizes.begin(), planes);
  return sizes;
}

struct Conv {
  Conv(const Attributes& attributes, bool packed, svf_type input, svf_type output)
      : packed(packed), params{} {
    attributes.pair("stride", params.stride);
    attributes.pair("padding", params.padding);
    params.groups = attributes.integer("groups");
    params.zero_point = packed ? 0 : attributes.integer("zero_point");
    params.input_type = input;
    params.output_type = output;
  }

  void run(const Call& call) const {
    const auto [x, planes] =
        packed ? call.packed_shape(0, 4, "x") : std::pair{call.shape(0, 4, "x"), int64_t{1}};
    const Shape w = call.shape(1, 4, "weight");
    svf_conv2d_params p = params;
    p.levels = narrow(planes, "planes");
    p.frames = narrow(x[0], "T");
    p.height = narrow(x[1], "H");
    p.width = narrow(x[2], "W");
    p.in_channels = narrow(int64_t{narrow(w[2], "Cin / groups")} * p.groups, "Cin");
    p.out_channels = narrow(w[3], "Cout");
    for (int axis = 0; axis < 2; ++axis) p.kernel[axis] = narrow(w[axis], "kernel");
    int32_t size[2];
    check(svf_conv2d_output_size(&p, size));
    const int64_t last = packed ? words(p.in_channels) : p.in_channels;
    const void* data = call.input<void>(0, with_planes(planes, {x[0], x[1], x[2], last}), "x");
    const int8_t* weight = call.input<int8_t>(1, w, "weight");
    const int32_t* bias = call.input<int32_t>(2, {w[3]}, "bias");
    const int32_t* shift = call.input<int32_t>(3, {w[3]}, "shift");
    void* y = call.output({x[0], size[0], size[1], w[3]});
    check(packed ? svf_spike_conv2d(&p, static_cast<const int32_t*>(data), weight, nullptr, bias, shift, y,
                                    call.parallel())
                 : svf_conv2d(&p, data, weight, nullptr, bias, shift, y, call.parallel()));
  }

  bool packed;
  svf_conv2d_params params;
};

struct Lif {
  Lif(const Attributes& attributes, bool integer)
      : soft_reset(attributes.integer("soft_reset")), levels(integer ? attributes.integer("levels") : 1) {
    if (integer && levels < 2)
      refuse("levels is " + std::to_string(levels) + ", but an integer LIF has 2 or more");
  }

  void run(const Call& call) const {
    const Shape x = call.shape(0, 4, "x");
    const int64_t positions = int64_t{narrow(x[1], "H")} * narrow(x[2], "W");
    const svf_lif_params p{narrow(x[0], "T"), narrow(positions, "H * W"), narrow(x[3], "C"), soft_reset,
                           levels};
    const int32_t* data = call.input<int32_t>(0, x, "x");
    const int32_t* gain = call.input<int32_t>(1, {x[3]}, "gain");
    const int32_t* bias = call.input<int32_t>(2, {x[3]}, "bias");
    const int32_t* theta = call.input<int32_t>(3, {x[3]}, "theta");
    void* y = call.output(with_planes(levels, {x[0], x[1], x[2], words(x[3])}));
    check(svf_lif(&p, data, gain, bias, theta, static_cast<int32_t*>(y), call.parallel()));
  }

  int32_t soft_reset, levels;
};

struct Attention {
  Attention(const Attributes& attributes, svf_attention_kind kind)
      : channels(attributes.integer("channels")), heads(attributes.integer("heads")), kind(kind) {}

  void run(const Call& call) const {
    const auto [q, planes] = call.packed_shape(0, 3, "q");
    const Shape packed = with_planes(planes, {q[0], q[1], words(channels)});
    const svf_attention_params p{narrow(q[0], "G"),       narrow(q[1], "N"), channels, heads, kind,
                                 narrow(planes, "planes")};
    const int32_t* query = call.input<int32_t>(0, packed, "q");
    const int32_t* key = call.input<int32_t>(1, packed, "k");
    const int32_t* value = call.input<int32_t>(2, packed, "v");
    void* y = call.output({q[0], q[1], channels});
    check(svf_attention(&p, query, key, value, static_cast<int32_t*>(y), call.parallel()));
  }

  int32_t channels, heads;
  svf_attention_kind kind;
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
  Operator op;
  OrtStatusPtr ComputeV2(OrtKernelContext* context) {
    return guarded([&] { op.run(Call(context)); });
  }
};

// What ONNX Runtime asks of an operator: its name, its types, and how to make a kernel.
template <typename Operator>
struct Definition : Ort::CustomOpBase<Definition<Operator>, Kernel<Operator>, true> {
  using Make = Operator (*)(const Attributes&);
  using Type = ONNXTensorElementDataType;
  Definition(const char* name, std::vector<Type> inputs, Type output, Make make)
      : name(name), inputs(std::move(inputs)), output(output), make(make) {}

  OrtStatusPtr CreateKernelV2(const OrtApi&, const OrtKernelInfo* info, void** kernel) const {
    return guarded([&] { *kernel = new Kernel<Operator>{make(Attributes(info))}; });
  }
  const char* GetName() const { return name; }
  size_t GetInputTypeCount() const { return inputs.size(); }
  Type GetInputType(size_t index) const { return inputs[index]; }
  size_t GetOutputTypeCount() const { return 1; }
  Type GetOutputType(size_t) const { return output; }

  const char* name;
  std::vector<Type> inputs;
  Type output;
  Make make;
};

constexpr auto kU8 = ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
constexpr auto kS8 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
constexpr auto kS32 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;

template <bool kPacked, svf_type kInput, svf_type kOutput>
Conv make_conv(const Attributes& attributes) {
  return Conv(attributes, kPacked, kInput, kOutput);
}
template <bool kInteger>
Lif make_lif(const Attributes& attributes) {
  return Lif(attributes, kInteger);
}
template <svf_attention_kind kKind>
Attention make_attention(const Attributes& attributes) {
  return Attention(attributes, kKind);
}

// Lives as long as the library: sessions keep pointers to the definitions.
struct Library {
  Ort::CustomOpDomain domain{"ai.svf"};
  Definition<Conv> convolutions[6] = {
      {"SpikeConv2d", {kS32, kS8, kS32, kS32}, kS32, make_conv<true, SVF_INT8, SVF_INT32>},
      {"SpikeConv2dS8", {kS32, kS8, kS32, kS32}, kS8, make_conv<true, SVF_INT8, SVF_INT8>},
      {"IntConv2d", {kU8, kS8, kS32, kS32}, kS32, make_conv<false, SVF_UINT8, SVF_INT32>},
      {"IntConv2d", {kS8, kS8, kS32, kS32}, kS32, make_conv<false, SVF_INT8, SVF_INT32>},
      {"IntConv2dS8", {kU8, kS8, kS32, kS32}, kS8, make_conv<false, SVF_UINT8, SVF_INT8>},
      {"IntConv2dS8", {kS8, kS8, kS32, kS32}, kS8, make_conv<false, SVF_INT8, SVF_INT8>},
  };
  Definition<Lif> lifs[2] = {
      {"Lif", {kS32, kS32, kS32, kS32}, kS32, make_lif<false>},
      {"IntegerLif", {kS32, kS32, kS32, kS32}, kS32, make_lif<true>},
  };
  Definition<Attention> attentions[2] = {
      {"HammingAttention", {kS32, kS32, kS32}, kS32, make_attention<SVF_HAMMING>},
      {"DotAttention", {kS32, kS32, kS32}, kS32, make_attention<SVF_DOT>},
  };

  Library() {
    for (auto& definition : convolutions) domain.Add(&definition);
    for (auto& definition : lifs) domain.Add(&definition);
    for (auto& definition : attentions) domain.Add(&definition);
  }
};

}  // namespace

extern "C" SVF_API OrtStatus* ORT_API_CALL RegisterCustomOps(OrtSessionOptions* options,
                                                             const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) {
    // The oldest API every version has can still carry the message.
    return base->GetApi(1)->CreateStatus(
        ORT_FAIL, ("svf: this library needs ONNX Runtime API " + std::to_string(ORT_API_VERSION) +
                   ", but ONNX Runtime " + base->GetVersionString() + " is older")
                      .c_str());
  }
  Ort::InitApi(api);
  return guarded([&] {
    static Library library;
    Ort::UnownedSessionOptions(options).Add(library.domain);
  });
}
