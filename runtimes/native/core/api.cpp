// The C entry points: argument checks, error messages and the choice of a kernel set.
#include <algorithm>
#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>

#if defined(SVF_ARM)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "kernels.h"

// A kernel set's prepared weights of one convolution.
struct svf_weights {
 public:
  svf_weights(const svf::KernelSet* kernels, const svf::Conv& conv, bool packed)
      : kernels_(kernels), conv_(conv), packed_(packed) {
    const size_t bytes = kernels->weights_size(conv, packed);
    needed_ = bytes != 0;
    if (needed_) data_ = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  }
  ~svf_weights() { std::free(data_); }
  svf_weights(const svf_weights&) = delete;
  svf_weights& operator=(const svf_weights&) = delete;

  bool ok() const { return data_ != nullptr || !needed_; }
  bool fits(const svf::Conv& c, bool packed) const {
    return packed == packed_ && c.kernel_h == conv_.kernel_h && c.kernel_w == conv_.kernel_w &&
           c.in_channels == conv_.in_channels && c.out_channels == conv_.out_channels &&
           c.groups == conv_.groups;
  }
  const svf::KernelSet* kernels() const { return kernels_; }
  svf_density density() const { return conv_.density; }
  void* data() const { return data_; }

 private:
  const svf::KernelSet* kernels_;
  svf::Conv conv_;
  bool packed_, needed_ = false;
  void* data_ = nullptr;
};

namespace {

thread_local char last_error[256] = "";

__attribute__((format(printf, 2, 3))) svf_status fail(svf_status status, const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::vsnprintf(last_error, sizeof last_error, format, args);
  va_end(args);
  return status;
}

struct Candidate {
  const svf::KernelSet* kernels;
  bool (*runs_here)();
};

#if defined(SVF_X86)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif

// Slowest first.
const Candidate kCandidates[] = {
    {&svf::kReferenceKernels, [] { return true; }},
    {&svf::kPortableKernels, [] { return true; }},
#if defined(SVF_X86)
    {&svf::kAvx2Kernels, [] { return __builtin_cpu_supports("avx2") != 0; }},
    {&svf::kAvx512Kernels, has_avx512},
    {&svf::kAvx512VnniKernels, [] { return has_avx512() && __builtin_cpu_supports("avx512vnni") != 0; }},
#elif defined(SVF_ARM)
    {&svf::kNeonKernels, [] { return true; }},  // NEON belongs to every 64-bit ARM
    {&svf::kNeonDotprodKernels, [] { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }},
#endif
};

const svf::KernelSet* fastest() {
  const svf::KernelSet* best = nullptr;
  for (const Candidate& candidate : kCandidates)
    if (candidate.runs_here()) best = candidate.kernels;
  return best;
}

const svf::KernelSet* find(const char* name) {
  for (const Candidate& candidate : kCandidates)
    if (candidate.runs_here() && std::strcmp(candidate.kernels->name, name) == 0) return candidate.kernels;
  return nullptr;
}

const svf::KernelSet* initial() {
  const char* name = std::getenv("SVF_ISA");
  if (name == nullptr || *name == '\0') return fastest();
  if (const svf::KernelSet* chosen = find(name)) return chosen;
  std::fprintf(stderr, "svf: SVF_ISA=%s is not available here (%s); using %s\n", name, svf_available_isas(),
               fastest()->name);
  return fastest();
}

std::atomic<const svf::KernelSet*>& current() {
  static std::atomic<const svf::KernelSet*> kernels{initial()};
  return kernels;
}

// Whether that many elements are beyond the kernels, which count in int, and round up and double as they go.
bool too_many(std::initializer_list<int64_t> sizes) {
  int64_t count = 1;
  for (int64_t size : sizes) {
    count *= size;
    if (count >= int64_t{1} << 30) return true;
  }
  return false;
}

svf_status check_conv(const svf_conv2d_params* p, svf::Conv* out) {
  if (p == nullptr) return fail(SVF_INVALID_ARGUMENT, "convolution parameters are null");
  if (p->frames < 1 || p->height < 1 || p->width < 1 || p->in_channels < 1 || p->out_channels < 1)
    return fail(SVF_INVALID_ARGUMENT, "convolution sizes must be positive: T=%d H=%d W=%d Cin=%d Cout=%d",
                p->frames, p->height, p->width, p->in_channels, p->out_channels);
  for (int axis = 0; axis < 2; ++axis)
    if (p->kernel[axis] < 1 || p->stride[axis] < 1 || p->padding[axis] < 0)
      return fail(SVF_INVALID_ARGUMENT,
                  "kernel and stride must be positive and padding not negative: "
                  "kernel (%d, %d), stride (%d, %d), padding (%d, %d)",
                  p->kernel[0], p->kernel[1], p->stride[0], p->stride[1], p->padding[0], p->padding[1]);
  if (p->groups < 1 || p->in_channels % p->groups != 0 || p->out_channels % p->groups != 0)
    return fail(SVF_INVALID_ARGUMENT, "groups=%d must divide Cin=%d and Cout=%d", p->groups, p->in_channels,
                p->out_channels);
  const int64_t padded_h = p->height + 2 * int64_t{p->padding[0]};
  const int64_t padded_w = p->width + 2 * int64_t{p->padding[1]};
  const int64_t span_h = padded_h - p->kernel[0], span_w = padded_w - p->kernel[1];
  if (span_h < 0 || span_w < 0)
    return fail(SVF_INVALID_ARGUMENT,
                "kernel (%d, %d) is larger than the padded frame (%d + 2*%d, %d + 2*%d)", p->kernel[0],
                p->kernel[1], p->height, p->padding[0], p->width, p->padding[1]);
  if (p->output_type != SVF_INT32 && p->output_type != SVF_INT8)
    return fail(SVF_INVALID_ARGUMENT, "output type %d is neither SVF_INT32 nor SVF_INT8", p->output_type);
  if (too_many({p->frames, padded_h, padded_w, p->in_channels}))
    return fail(SVF_INVALID_ARGUMENT,
                "the padded input has 2^30 elements or more: T=%d, H=%d + 2*%d, W=%d + 2*%d, Cin=%d",
                p->frames, p->height, p->padding[0], p->width, p->padding[1], p->in_channels);
  const int64_t out_h = span_h / p->stride[0] + 1, out_w = span_w / p->stride[1] + 1;
  if (too_many({p->frames, out_h, out_w, p->out_channels}))
    return fail(SVF_INVALID_ARGUMENT, "the output has 2^30 elements or more: T=%d, Ho=%d, Wo=%d, Cout=%d",
                p->frames, static_cast<int>(out_h), static_cast<int>(out_w), p->out_channels);
  // The kernels widen groups that are narrower than a vector.
  const int group_width = std::max(p->out_channels / p->groups, svf::kMaxLanes);
  if (too_many({p->kernel[0], p->kernel[1], p->in_channels, group_width}))
    return fail(
        SVF_INVALID_ARGUMENT,
        "kernel (%d, %d) with Cin=%d and groups padded to %d output channels has 2^30 weights or more",
        p->kernel[0], p->kernel[1], p->in_channels, group_width);
  *out = svf::Conv{p->frames,
                   p->height,
                   p->width,
                   p->in_channels,
                   p->out_channels,
                   p->kernel[0],
                   p->kernel[1],
                   p->stride[0],
                   p->stride[1],
                   p->padding[0],
                   p->padding[1],
                   p->groups,
                   p->in_channels / p->groups,
                   p->out_channels / p->groups,
                   static_cast<int>(out_h),
                   static_cast<int>(out_w),
                   (p->in_channels + 31) / 32,
                   0,
                   false,
                   p->output_type == SVF_INT8,
                   1,
                   0,
                   SVF_AUTO};
  return SVF_OK;
}

svf_status check_levels(int32_t levels) {
  if (levels >= 1 && levels <= SVF_MAX_LEVELS) return SVF_OK;
  return fail(SVF_INVALID_ARGUMENT, "levels=%d is outside 1..%d", levels, SVF_MAX_LEVELS);
}

svf_status check_density(int32_t density) {
  if (density == SVF_AUTO || density == SVF_EVENT || density == SVF_DENSE) return SVF_OK;
  return fail(SVF_INVALID_ARGUMENT, "density %d is neither SVF_AUTO nor SVF_EVENT nor SVF_DENSE", density);
}

// Whether none of an operator's tensors is missing.
svf_status check_tensors(const char* what, std::initializer_list<const void*> tensors) {
  for (const void* tensor : tensors)
    if (tensor == nullptr) return fail(SVF_INVALID_ARGUMENT, "a tensor of the %s is null", what);
  return SVF_OK;
}

// The stage after an operator whose result has these sizes.
svf_status check_stage(const svf_lif_stage* lif, std::initializer_list<int64_t> sizes) {
  if (lif == nullptr) return fail(SVF_INVALID_ARGUMENT, "the LIF stage is null");
  if (svf_status status = check_levels(lif->levels)) return status;
  int64_t elements = 1;
  for (int64_t size : sizes) elements *= size;
  if (too_many({lif->levels, elements}))
    return fail(SVF_INVALID_ARGUMENT,
                "the LIF stage's spikes have 2^30 elements or more: levels=%d, %lld neurons and time steps",
                lif->levels, static_cast<long long>(elements));
  return check_tensors("LIF stage", {lif->gain, lif->bias, lif->theta, lif->spikes});
}

svf_status check_conv_stage(const svf::Conv& conv, const svf_lif_stage* lif) {
  if (conv.saturate)
    return fail(SVF_INVALID_ARGUMENT, "a convolution with a LIF stage has output type SVF_INT32");
  return check_stage(lif, {conv.frames, conv.out_h, conv.out_w, conv.out_channels});
}

// Prepared weights that fit the convolution and the kernel set in use; null where they must be made again.
svf_status use_prepared(const svf_weights* prepared, const svf::Conv& conv, bool packed, const void** data) {
  if (prepared == nullptr) return SVF_OK;
  if (!prepared->fits(conv, packed))
    return fail(SVF_INVALID_ARGUMENT,
                "the prepared weights are of another convolution: kernel (%d, %d), "
                "Cin=%d, Cout=%d, groups=%d asked for",
                conv.kernel_h, conv.kernel_w, conv.in_channels, conv.out_channels, conv.groups);
  const bool usable = prepared->kernels() == current().load() && prepared->density() == conv.density;
  *data = usable ? prepared->data() : nullptr;
  return SVF_OK;
}

svf_status check_spike_conv(const svf_conv2d_params* params, const svf_weights* prepared,
                            svf::SpikeConvArgs* args) {
  svf::Conv& conv = args->conv;
  if (svf_status status = check_conv(params, &conv)) return status;
  if (svf_status status = check_levels(params->levels)) return status;
  if (svf_status status = check_density(params->density)) return status;
  if (too_many({params->levels, conv.frames, conv.height, conv.width, conv.in_channels}))
    return fail(SVF_INVALID_ARGUMENT,
                "the input has 2^30 elements or more: levels=%d, T=%d, H=%d, W=%d, Cin=%d", params->levels,
                conv.frames, conv.height, conv.width, conv.in_channels);
  conv.levels = params->levels;
  conv.plane = static_cast<size_t>(conv.frames) * conv.height * conv.width * conv.in_words;
  conv.density = static_cast<svf_density>(params->density);
  return use_prepared(prepared, conv, true, &args->prepared);
}

svf_status check_dense_conv(const svf_conv2d_params* params, const svf_weights* prepared,
                            svf::DenseConvArgs* args) {
  svf::Conv& conv = args->conv;
  if (svf_status status = check_conv(params, &conv)) return status;
  if (params->input_type != SVF_UINT8 && params->input_type != SVF_INT8)
    return fail(SVF_INVALID_ARGUMENT, "input type %d is neither SVF_UINT8 nor SVF_INT8", params->input_type);
  conv.input_is_signed = params->input_type == SVF_INT8;
  const int lowest = conv.input_is_signed ? -128 : 0;
  if (params->zero_point < lowest || params->zero_point > lowest + 255)
    return fail(SVF_INVALID_ARGUMENT, "zero point %d is outside the input type's range %d..%d",
                params->zero_point, lowest, lowest + 255);
  conv.zero_point = params->zero_point;
  return use_prepared(prepared, conv, false, &args->prepared);
}

svf_status check_attention(const svf_attention_params* p, const int32_t* q, const int32_t* k,
                           const int32_t* v, svf::AttentionArgs* args) {
  if (p == nullptr) return fail(SVF_INVALID_ARGUMENT, "attention parameters are null");
  if (p->groups < 1 || p->tokens < 1 || p->channels < 1)
    return fail(SVF_INVALID_ARGUMENT, "attention sizes must be positive: G=%d N=%d C=%d", p->groups,
                p->tokens, p->channels);
  if (p->heads < 1 || p->channels % p->heads != 0)
    return fail(SVF_INVALID_ARGUMENT, "heads=%d must divide C=%d", p->heads, p->channels);
  const int width = p->channels / p->heads;
  if (svf_status status = check_levels(p->levels)) return status;
  if (too_many({p->levels, p->groups, p->tokens, p->channels}) || too_many({width, width}))
    return fail(
        SVF_INVALID_ARGUMENT,
        "attention input, or a head's matrix [%d, %d], has 2^30 elements or more: levels=%d G=%d N=%d "
        "C=%d",
        width, width, p->levels, p->groups, p->tokens, p->channels);
  if (p->kind != SVF_HAMMING && p->kind != SVF_DOT)
    return fail(SVF_INVALID_ARGUMENT, "attention kind %d is neither SVF_HAMMING nor SVF_DOT", p->kind);
  *args = svf::AttentionArgs{p->groups,   p->tokens,
                             p->channels, p->heads,
                             width,       (p->channels + 31) / 32,
                             p->levels,   p->kind == SVF_HAMMING,
                             q,           k,
                             v,           nullptr,
                             nullptr,     1,
                             0,           nullptr,
                             nullptr};
  return SVF_OK;
}

svf_status finish(bool enough_memory) {
  return enough_memory ? SVF_OK
                       : fail(SVF_OUT_OF_MEMORY, "not enough memory for the operator's scratch space");
}

// The shift to the top and back extends the sign of a field.
template <int kBits>
void unpack(const uint8_t* packed, int64_t size, int8_t* weight) {
  constexpr int kPerByte = 8 / kBits;
  auto field = [](uint8_t byte, int index) {
    const auto top = static_cast<int8_t>(static_cast<uint8_t>(byte << (8 - kBits - index * kBits)));
    return static_cast<int8_t>(top >> (8 - kBits));
  };
  const int64_t whole = size / kPerByte;
  for (int64_t i = 0; i < whole; ++i)
    for (int f = 0; f < kPerByte; ++f) weight[i * kPerByte + f] = field(packed[i], f);
  for (int64_t i = whole * kPerByte; i < size; ++i)
    weight[i] = field(packed[whole], static_cast<int>(i % kPerByte));
}

}  // namespace

extern "C" {

svf_status svf_conv2d_output_size(const svf_conv2d_params* params, int32_t size[2]) {
  svf::Conv conv{};
  if (svf_status status = check_conv(params, &conv)) return status;
  size[0] = conv.out_h;
  size[1] = conv.out_w;
  return SVF_OK;
}

svf_status svf_prepare_weights(const svf_conv2d_params* params, int32_t packed_input, const int8_t* weight,
                               svf_weights** prepared) {
  svf::Conv conv{};
  if (svf_status status = check_conv(params, &conv)) return status;
  if (svf_status status = check_tensors("weight preparation", {weight, prepared})) return status;
  const svf::KernelSet* kernels = current().load();
  const bool packed = packed_input != 0;
  if (packed) {
    if (svf_status status = check_density(params->density)) return status;
    conv.density = static_cast<svf_density>(params->density);
  }
  svf_weights* made = new (std::nothrow) svf_weights(kernels, conv, packed);
  if (made == nullptr || !made->ok()) {
    delete made;
    return fail(SVF_OUT_OF_MEMORY, "not enough memory for the prepared weights");
  }
  if (made->data() != nullptr) kernels->prepare_weights(conv, packed, weight, made->data());
  *prepared = made;
  return SVF_OK;
}

void svf_release_weights(svf_weights* prepared) { delete prepared; }

svf_status svf_spike_conv2d(const svf_conv2d_params* params, const int32_t* x, const int8_t* weight,
                            const svf_weights* prepared, const int32_t* bias, const int32_t* shift, void* y,
                            const svf_parallel* parallel) {
  svf::SpikeConvArgs args{{}, x, weight, nullptr, bias, shift, y, nullptr};
  if (svf_status status = check_spike_conv(params, prepared, &args)) return status;
  if (svf_status status = check_tensors("convolution", {x, weight, bias, shift, y})) return status;
  return finish(current().load()->spike_conv2d(args, parallel));
}

svf_status svf_spike_conv2d_lif(const svf_conv2d_params* params, const int32_t* x, const int8_t* weight,
                                const svf_weights* prepared, const int32_t* bias, const int32_t* shift,
                                const svf_lif_stage* lif, const svf_parallel* parallel) {
  svf::SpikeConvArgs args{{}, x, weight, nullptr, bias, shift, nullptr, lif};
  if (svf_status status = check_spike_conv(params, prepared, &args)) return status;
  if (svf_status status = check_conv_stage(args.conv, lif)) return status;
  if (svf_status status = check_tensors("convolution", {x, weight, bias, shift})) return status;
  return finish(current().load()->spike_conv2d(args, parallel));
}

svf_status svf_conv2d(const svf_conv2d_params* params, const void* x, const int8_t* weight,
                      const svf_weights* prepared, const int32_t* bias, const int32_t* shift, void* y,
                      const svf_parallel* parallel) {
  svf::DenseConvArgs args{{}, x, weight, nullptr, bias, shift, y, nullptr};
  if (svf_status status = check_dense_conv(params, prepared, &args)) return status;
  if (svf_status status = check_tensors("convolution", {x, weight, bias, shift, y})) return status;
  return finish(current().load()->conv2d(args, parallel));
}

svf_status svf_conv2d_lif(const svf_conv2d_params* params, const void* x, const int8_t* weight,
                          const svf_weights* prepared, const int32_t* bias, const int32_t* shift,
                          const svf_lif_stage* lif, const svf_parallel* parallel) {
  svf::DenseConvArgs args{{}, x, weight, nullptr, bias, shift, nullptr, lif};
  if (svf_status status = check_dense_conv(params, prepared, &args)) return status;
  if (svf_status status = check_conv_stage(args.conv, lif)) return status;
  if (svf_status status = check_tensors("convolution", {x, weight, bias, shift})) return status;
  return finish(current().load()->conv2d(args, parallel));
}

svf_status svf_lif(const svf_lif_params* p, const int32_t* x, const int32_t* gain, const int32_t* bias,
                   const int32_t* theta, int32_t* y, const svf_parallel* parallel) {
  return svf_lif_from(p, x, gain, bias, theta, nullptr, nullptr, y, parallel);
}

svf_status svf_lif_from(const svf_lif_params* p, const int32_t* x, const int32_t* gain, const int32_t* bias,
                        const int32_t* theta, const int32_t* before, int32_t* after, int32_t* y,
                        const svf_parallel* parallel) {
  if (p == nullptr) return fail(SVF_INVALID_ARGUMENT, "LIF parameters are null");
  if (p->frames < 1 || p->positions < 1 || p->channels < 1)
    return fail(SVF_INVALID_ARGUMENT, "LIF sizes must be positive: T=%d, positions=%d, C=%d", p->frames,
                p->positions, p->channels);
  if (svf_status status = check_levels(p->levels)) return status;
  if (too_many({p->levels, p->frames, p->positions, p->channels}))
    return fail(SVF_INVALID_ARGUMENT,
                "LIF input has 2^30 elements or more: levels=%d, T=%d, positions=%d, C=%d", p->levels,
                p->frames, p->positions, p->channels);
  if (svf_status status = check_tensors("LIF", {x, gain, bias, theta, y})) return status;
  const svf::LifArgs args{p->frames,   p->positions,
                          p->channels, (p->channels + 31) / 32,
                          p->levels,   p->soft_reset != 0,
                          x,           gain,
                          bias,        theta,
                          y,           before,
                          after};
  return finish(current().load()->lif(args, parallel));
}

svf_status svf_attention(const svf_attention_params* params, const int32_t* q, const int32_t* k,
                         const int32_t* v, int32_t* y, const svf_parallel* parallel) {
  svf::AttentionArgs args{};
  if (svf_status status = check_attention(params, q, k, v, &args)) return status;
  if (svf_status status = check_tensors("attention", {q, k, v, y})) return status;
  args.y = y;
  return finish(current().load()->attention(args, parallel));
}

svf_status svf_attention_lif(const svf_attention_params* params, int32_t frames, const int32_t* q,
                             const int32_t* k, const int32_t* v, const svf_lif_stage* lif,
                             const svf_parallel* parallel) {
  svf::AttentionArgs args{};
  if (svf_status status = check_attention(params, q, k, v, &args)) return status;
  const int64_t rows = int64_t{args.groups} * args.tokens;
  if (frames < 1 || rows % frames != 0)
    return fail(SVF_INVALID_ARGUMENT, "T=%d does not divide the %lld rows of the attention", frames,
                static_cast<long long>(rows));
  if (svf_status status = check_stage(lif, {rows, args.channels})) return status;
  if (svf_status status = check_tensors("attention", {q, k, v})) return status;
  args.lif = lif;
  args.frames = frames;
  return finish(current().load()->attention(args, parallel));
}

svf_status svf_causal_attention(const svf_attention_params* params, int32_t window, const int32_t* q,
                                const int32_t* k, const int32_t* v, const int32_t* before, int32_t* summary,
                                int32_t* y, const svf_lif_stage* lif, const svf_parallel* parallel) {
  svf::AttentionArgs args{};
  if (svf_status status = check_attention(params, q, k, v, &args)) return status;
  if (window < 1) return fail(SVF_INVALID_ARGUMENT, "a window of %d frames is below 1", window);
  if (svf_status status = check_tensors("causal attention", {q, k, v})) return status;
  if ((before == nullptr) != (summary == nullptr))
    return fail(SVF_INVALID_ARGUMENT,
                "a frame of a stream takes summaries and gives one: one of them is null");
  if (before != nullptr && args.groups != 1)
    return fail(SVF_INVALID_ARGUMENT, "a stream goes on frame by frame, not with %d at once", args.groups);
  if ((y == nullptr) == (lif == nullptr))
    return fail(SVF_INVALID_ARGUMENT, "causal attention gives either y or spikes");
  if (lif != nullptr)
    if (svf_status status = check_stage(lif, {args.groups, args.tokens, args.channels})) return status;
  args.y = y;
  args.lif = lif;
  args.frames = args.groups;
  args.window = window;
  args.before = before;
  args.summary = summary;
  return finish(current().load()->attention(args, parallel));
}

svf_status svf_channels_last(int64_t frames, int64_t channels, int64_t positions, const uint8_t* x,
                             uint8_t* y, const svf_parallel* parallel) {
  if (frames < 0 || channels < 0 || positions < 0)
    return fail(SVF_INVALID_ARGUMENT, "sizes of frames must not be negative: T=%lld C=%lld positions=%lld",
                static_cast<long long>(frames), static_cast<long long>(channels),
                static_cast<long long>(positions));
  const svf::LayoutArgs args{static_cast<size_t>(frames), static_cast<size_t>(channels),
                             static_cast<size_t>(positions), x, y};
  return finish(current().load()->channels_last(args, parallel));
}

svf_status svf_unpack_weights(const uint8_t* packed, int32_t bits, int64_t size, int8_t* weight) {
  if (size < 0) return fail(SVF_INVALID_ARGUMENT, "the number of weights is negative");
  if (size == 0) return SVF_OK;
  if (svf_status status = check_tensors("weight unpacking", {packed, weight})) return status;
  if (bits == 4)
    unpack<4>(packed, size, weight);
  else if (bits == 2)
    unpack<2>(packed, size, weight);
  else
    return fail(SVF_INVALID_ARGUMENT, "weights are packed in 4 or 2 bits, not %d", bits);
  return SVF_OK;
}

const char* svf_last_error(void) { return last_error; }

const char* svf_available_isas(void) {
  static const auto names = [] {
    struct Names {
      char text[128] = "";
    } joined;
    for (const Candidate& candidate : kCandidates) {
      if (!candidate.runs_here()) continue;
      if (joined.text[0] != '\0') std::strcat(joined.text, " ");
      std::strcat(joined.text, candidate.kernels->name);
    }
    return joined;
  }();
  return names.text;
}

const char* svf_isa(void) { return current().load()->name; }

svf_status svf_set_isa(const char* name) {
  const svf::KernelSet* chosen = name == nullptr || *name == '\0' ? fastest() : find(name);
  if (chosen == nullptr)
    return fail(SVF_UNKNOWN_ISA, "kernel set '%s' is not available here; choose one of: %s", name,
                svf_available_isas());
  current().store(chosen);
  return SVF_OK;
}

}  // extern "C"
