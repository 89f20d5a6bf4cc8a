// The C entry points, and the choice of a kernel set.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(SVF_ARM)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "checks.h"
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

using svf::check_conv;
using svf::check_density;
using svf::check_tensors;
using svf::fail;

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

#if defined(SVF_ARM)
bool has_dotprod() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
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
    {&svf::kNeonDotprodKernels, has_dotprod},
    {&svf::kNeonI8mmKernels, [] { return has_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }},
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

svf_status finish(bool enough_memory) {
  return enough_memory ? SVF_OK
                       : fail(SVF_OUT_OF_MEMORY, "not enough memory for the operator's scratch space");
}

svf_status run_spike_conv(svf::SpikeConvArgs& args, const svf_weights* prepared,
                          const svf_parallel* parallel) {
  if (svf_status status = use_prepared(prepared, args.conv, true, &args.prepared)) return status;
  return finish(current().load()->spike_conv2d(args, parallel));
}

svf_status run_dense_conv(svf::DenseConvArgs& args, const svf_weights* prepared,
                          const svf_parallel* parallel) {
  if (svf_status status = use_prepared(prepared, args.conv, false, &args.prepared)) return status;
  return finish(current().load()->conv2d(args, parallel));
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
  if (svf_status status = svf::check_spike_conv(params, false, &args)) return status;
  return run_spike_conv(args, prepared, parallel);
}

svf_status svf_spike_conv2d_lif(const svf_conv2d_params* params, const int32_t* x, const int8_t* weight,
                                const svf_weights* prepared, const int32_t* bias, const int32_t* shift,
                                const svf_lif_stage* lif, const svf_parallel* parallel) {
  svf::SpikeConvArgs args{{}, x, weight, nullptr, bias, shift, nullptr, lif};
  if (svf_status status = svf::check_spike_conv(params, true, &args)) return status;
  return run_spike_conv(args, prepared, parallel);
}

svf_status svf_conv2d(const svf_conv2d_params* params, const void* x, const int8_t* weight,
                      const svf_weights* prepared, const int32_t* bias, const int32_t* shift, void* y,
                      const svf_parallel* parallel) {
  svf::DenseConvArgs args{{}, x, weight, nullptr, bias, shift, y, nullptr};
  if (svf_status status = svf::check_dense_conv(params, false, &args)) return status;
  return run_dense_conv(args, prepared, parallel);
}

svf_status svf_conv2d_lif(const svf_conv2d_params* params, const void* x, const int8_t* weight,
                          const svf_weights* prepared, const int32_t* bias, const int32_t* shift,
                          const svf_lif_stage* lif, const svf_parallel* parallel) {
  svf::DenseConvArgs args{{}, x, weight, nullptr, bias, shift, nullptr, lif};
  if (svf_status status = svf::check_dense_conv(params, true, &args)) return status;
  return run_dense_conv(args, prepared, parallel);
}

svf_status svf_lif(const svf_lif_params* p, const int32_t* x, const int32_t* gain, const int32_t* bias,
                   const int32_t* theta, int32_t* y, const svf_parallel* parallel) {
  return svf_lif_from(p, x, gain, bias, theta, nullptr, nullptr, y, parallel);
}

svf_status svf_lif_from(const svf_lif_params* p, const int32_t* x, const int32_t* gain, const int32_t* bias,
                        const int32_t* theta, const int32_t* before, int32_t* after, int32_t* y,
                        const svf_parallel* parallel) {
  svf::LifArgs args{0, 0, 0, 0, 0, false, x, gain, bias, theta, y, before, after};
  if (svf_status status = svf::check_lif(p, &args)) return status;
  return finish(current().load()->lif(args, parallel));
}

svf_status svf_attention(const svf_attention_params* params, const int32_t* q, const int32_t* k,
                         const int32_t* v, int32_t* y, const svf_parallel* parallel) {
  svf::AttentionArgs args{};
  args.q = q, args.k = k, args.v = v, args.y = y;
  if (svf_status status = svf::check_attention(params, false, &args)) return status;
  return finish(current().load()->attention(args, parallel));
}

svf_status svf_attention_lif(const svf_attention_params* params, int32_t frames, const int32_t* q,
                             const int32_t* k, const int32_t* v, const svf_lif_stage* lif,
                             const svf_parallel* parallel) {
  svf::AttentionArgs args{};
  args.q = q, args.k = k, args.v = v, args.lif = lif, args.frames = frames;
  if (svf_status status = svf::check_attention(params, true, &args)) return status;
  return finish(current().load()->attention(args, parallel));
}

svf_status svf_causal_attention(const svf_attention_params* params, int32_t window, const int32_t* q,
                                const int32_t* k, const int32_t* v, const int32_t* before, int32_t* summary,
                                int32_t* y, const svf_lif_stage* lif, const svf_parallel* parallel) {
  svf::AttentionArgs args{};
  args.q = q, args.k = k, args.v = v, args.y = y, args.lif = lif;
  args.window = window, args.before = before, args.summary = summary;
  if (svf_status status = svf::check_causal_attention(params, &args)) return status;
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

const char* svf_last_error(void) { return svf::last_error(); }

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
