// Runs every operator of svf_cuda.h on the shim, or on GPU 0 (SVF_ON_GPU), with every kernel set that is
// there, on random shapes, and compares what it wrote with the core's reference byte by byte.
//
//   svf_cuda_check CASES [KERNEL SET]   that many cases of each operator; with all sets, or one
//   svf_cuda_check CASES --drop SITE    on the shim, without the barrier at that place in the source
//   svf_cuda_check CASES --sites        on the shim, lists the barriers that were met
//
// Exits with 1 where a byte differs, and says how many runs of each set differ; with 3 where there is no GPU.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#if defined(SVF_ON_GPU)
#include "on_gpu.h"
#else
#include "on_shim.h"
#endif
#include "../check/cases.h"
#include "svf_cuda.h"

namespace {

using namespace svf::check;

// Scratch memory of exactly the size asked for.
struct Workspace {
  explicit Workspace(size_t bytes)
      : memory(static_cast<char*>(allocate(bytes))), used(bytes == 0 ? nullptr : memory) {
    std::memset(memory, 0x5a, bytes);
  }
  ~Workspace() { release(memory); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* memory;
  void* used;
};

svf_status done(svf_status status) {
  if (status != SVF_OK) std::fprintf(stderr, "svf_cuda_check: %s\n", svf_cuda_last_error());
  finish();
  return status;
}

// The launchers behind the core's signatures.
const Api kCuda = {
    [](const svf_conv2d_params* p, const int32_t* x, const int8_t* weight, const svf_weights*,
       const int32_t* bias, const int32_t* shift, void* y, const svf_parallel*) {
      const Workspace w(svf_cuda_conv2d_workspace(p, 1, 0));
      return done(svf_cuda_spike_conv2d(p, x, weight, bias, shift, y, w.used, nullptr));
    },
    [](const svf_conv2d_params* p, const int32_t* x, const int8_t* weight, const svf_weights*,
       const int32_t* bias, const int32_t* shift, const svf_lif_stage* lif, const svf_parallel*) {
      const Workspace w(svf_cuda_conv2d_workspace(p, 1, 1));
      return done(svf_cuda_spike_conv2d_lif(p, x, weight, bias, shift, lif, w.used, nullptr));
    },
    [](const svf_conv2d_params* p, const void* x, const int8_t* weight, const svf_weights*,
       const int32_t* bias, const int32_t* shift, void* y, const svf_parallel*) {
      const Workspace w(svf_cuda_conv2d_workspace(p, 0, 0));
      return done(svf_cuda_conv2d(p, x, weight, bias, shift, y, w.used, nullptr));
    },
    [](const svf_conv2d_params* p, const void* x, const int8_t* weight, const svf_weights*,
       const int32_t* bias, const int32_t* shift, const svf_lif_stage* lif, const svf_parallel*) {
      const Workspace w(svf_cuda_conv2d_workspace(p, 0, 1));
      return done(svf_cuda_conv2d_lif(p, x, weight, bias, shift, lif, w.used, nullptr));
    },
    [](const svf_lif_params* p, const int32_t* x, const int32_t* gain, const int32_t* bias,
       const int32_t* theta, int32_t* y,
       const svf_parallel*) { return done(svf_cuda_lif(p, x, gain, bias, theta, y, nullptr)); },
    [](const svf_lif_params* p, const int32_t* x, const int32_t* gain, const int32_t* bias,
       const int32_t* theta, const int32_t* before, int32_t* after, int32_t* y, const svf_parallel*) {
      return done(svf_cuda_lif_from(p, x, gain, bias, theta, before, after, y, nullptr));
    },
    [](const svf_attention_params* p, const int32_t* q, const int32_t* k, const int32_t* v, int32_t* y,
       const svf_parallel*) {
      const Workspace w(svf_cuda_attention_workspace(p, 0));
      return done(svf_cuda_attention(p, q, k, v, y, w.used, nullptr));
    },
    [](const svf_attention_params* p, int32_t frames, const int32_t* q, const int32_t* k, const int32_t* v,
       const svf_lif_stage* lif, const svf_parallel*) {
      const Workspace w(svf_cuda_attention_workspace(p, 1));
      return done(svf_cuda_attention_lif(p, frames, q, k, v, lif, w.used, nullptr));
    },
    [](const svf_attention_params* p, int32_t window, const int32_t* q, const int32_t* k, const int32_t* v,
       const int32_t* before, int32_t* summary, int32_t* y, const svf_lif_stage* lif, const svf_parallel*) {
      const Workspace w(svf_cuda_attention_workspace(p, lif != nullptr));
      return done(svf_cuda_causal_attention(p, window, q, k, v, before, summary, y, lif, w.used, nullptr));
    },
    [](int64_t frames, int64_t channels, int64_t positions, const uint8_t* x, uint8_t* y,
       const svf_parallel*) {
      return done(svf_cuda_channels_last(frames, channels, positions, x, y, nullptr));
    }};

// A LIF on carriers, channels first, of which all that it can give is asked for. The core's answer is brought
// into the same order and types.
class CarrierCase : public Case {
 public:
  explicit CarrierCase(Random& random)
      : p_{random.one_of({1, 2, 5}), random.one_of({1, 5, 31, 32, 40}),
           random.one_of({1, 31, 32, 33, 45, 64}), random.chance(0.5), random_levels(random)},
        x_(random_integers<int32_t>(random, neurons() * p_.frames, -600, 1500)),
        gain_(random_integers<int32_t>(random, channels(), -3, 3)),
        bias_(random_integers<int32_t>(random, channels(), -300, 300)),
        theta_(random_integers<int32_t>(random, channels(), 1, 600)),
        before_(random_integers<int32_t>(random, neurons(), -600, 600)),
        integers_(random.chance(0.5)),
        bytes_(random.chance(0.5)) {}

  Written run(const Api& api, const Way&) const override {
    Written written;
    written.words =
        Tensor<int32_t>(static_cast<size_t>(p_.levels) * p_.frames * p_.positions * ((channels() + 31) / 32));
    if (api.lif != kCore.lif) {
      run_carriers(&written);
      return written;
    }
    const Tensor<int32_t> x = turned(x_, p_.frames, true);
    Tensor<int32_t> u = turned(before_, 1, true);
    require(api.lif_from(&p_, x.get(), gain_.get(), bias_.get(), theta_.get(), u.get(), u.get(),
                         written.words.get(), nullptr),
            "LIF");
    written.state = turned(u, 1, false);
    written.bytes = Tensor<int8_t>(x_.size());
    for (int t = 0; t < p_.frames; ++t)
      for (size_t c = 0; c < channels(); ++c)
        for (size_t i = 0; i < positions(); ++i) {
          int spikes = 0;
          const size_t words = (channels() + 31) / 32, plane = p_.frames * positions() * words;
          for (size_t level = 0; level < static_cast<size_t>(p_.levels); ++level)
            spikes += static_cast<uint32_t>(
                          written.words[level * plane + (t * positions() + i) * words + c / 32]) >>
                          (c % 32) &
                      1;
          written.bytes[(t * channels() + c) * positions() + i] = static_cast<int8_t>(spikes);
        }
    return written;
  }
  std::string name() const override {
    char text[128];
    std::snprintf(text, sizeof text, "LIF of carriers [%d, %d, %d] soft %d levels %d integers %d bytes %d",
                  p_.frames, p_.channels, p_.positions, p_.soft_reset, p_.levels, integers_, bytes_);
    return text;
  }

 private:
  size_t channels() const { return static_cast<size_t>(p_.channels); }
  size_t positions() const { return static_cast<size_t>(p_.positions); }
  size_t neurons() const { return channels() * positions(); }

  // [frames, C, positions] to [frames, positions, C], or back.
  Tensor<int32_t> turned(const Tensor<int32_t>& x, int frames, bool channels_last) const {
    Tensor<int32_t> out(x.size());
    for (size_t t = 0; t < static_cast<size_t>(frames); ++t)
      for (size_t c = 0; c < channels(); ++c)
        for (size_t i = 0; i < positions(); ++i) {
          const size_t first = (t * channels() + c) * positions() + i,
                       last = (t * positions() + i) * channels() + c;
          if (channels_last)
            out[last] = x.get()[first];
          else
            out[first] = x.get()[last];
        }
    return out;
  }

  void run_carriers(Written* written) const {
    Tensor<float> x(x_.size()), spikes(x_.size());
    // A fraction below an integer is its floor.
    for (size_t i = 0; i < x_.size(); ++i)
      x[i] = static_cast<float>(x_.get()[i]) + static_cast<float>(i % 4) / 4;
    written->state = before_;
    written->bytes = Tensor<int8_t>(x_.size());
    int32_t* states = written->state.get();
    void* out = bytes_ ? static_cast<void*>(written->bytes.get()) : spikes.get();
    require(done(svf_cuda_lif_carriers(&p_, integers_ ? static_cast<const void*>(x_.get()) : x.get(),
                                       integers_ ? SVF_CARRIER_INT32 : SVF_CARRIER_FLOAT32, gain_.get(),
                                       bias_.get(), theta_.get(), states, states, out,
                                       bytes_ ? SVF_CARRIER_INT8 : SVF_CARRIER_FLOAT32, written->words.get(),
                                       nullptr)),
            "LIF of carriers");
    for (size_t i = 0; !bytes_ && i < x_.size(); ++i) written->bytes[i] = static_cast<int8_t>(spikes[i]);
  }

  svf_lif_params p_;
  Tensor<int32_t> x_, gain_, bias_, theta_, before_;
  bool integers_, bytes_;
};

std::unique_ptr<Case> any_case(int kind, uint64_t seed) {
  if (kind < kKinds) return make_case(kind, seed);
  Random random(seed);
  if (kind == kKinds) return std::make_unique<CarrierCase>(random);
  // More tokens than one product of bits takes.
  return std::make_unique<AttentionCase>(random, random.chance(0.5), random.one_of({255, 257, 300}));
}
constexpr int kAnyKinds = kKinds + 2;

void check_unpacking(Random& random) {
  for (int i = 0; i < 20; ++i)
    for (int bits : {4, 2}) {
      const int size = random.between(1, 700);
      const auto packed = random_integers<uint8_t>(random, static_cast<size_t>(size * bits + 7) / 8, 0, 255);
      Tensor<int8_t> expected(static_cast<size_t>(size)), found(expected);
      require(svf_unpack_weights(packed.get(), bits, size, expected.get()), "weight unpacking");
      require(done(svf_cuda_unpack_weights(packed.get(), bits, size, found.get(), nullptr)),
              "weight unpacking");
      if (!(expected == found)) stop("unpacked weights differ");
    }
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 0;
  const std::string option = argc > 2 ? argv[2] : "", value = argc > 3 ? argv[3] : "";
  if (cases < 1 || argc > 4 || (option == "--drop") != (argc == 4)) {
    std::fprintf(stderr, "usage: svf_cuda_check CASES [KERNEL SET | --drop SITE | --sites]\n");
    return 2;
  }
  std::vector<std::string> sets = {"simple", "int8"};
  if (std::string(svf_cuda_kernels()) == "binary") sets.push_back("binary");
  if (!option.empty() && option[0] != '-') sets = {option};
  drop(value);
  require(svf_set_isa("reference"), "reference");
  Random random(1);
  check_unpacking(random);
  std::vector<int> differing(sets.size());
  for (int i = 0; i < cases; ++i)
    for (int kind = 0; kind < kAnyKinds; ++kind) {
      const auto test = any_case(kind, static_cast<uint64_t>(i) * kAnyKinds + static_cast<uint64_t>(kind));
      const Way way{SVF_AUTO, false, false};
      const Written expected = test->run(kCore, way);
      // Many multiprocessors ask for small pieces of work and kernels apart, one for the opposite.
      svf_cuda_assume_multiprocessors(i % 2 == 0 ? 1 : 1000);
      turn_around(i / 2 % 2 == 1);
      for (size_t s = 0; s < sets.size(); ++s) {
        require(done(svf_cuda_set_kernels(sets[s].c_str())), "kernel set");
        if (test->run(kCuda, way) == expected) continue;
        if (++differing[s] <= 5) std::printf("%s differs: %s\n", sets[s].c_str(), test->name().c_str());
      }
    }
  bool bad = false;
  for (size_t s = 0; s < sets.size(); ++s) {
    std::printf("%s: %d runs, %d differ\n", sets[s].c_str(), cases * kAnyKinds, differing[s]);
    bad = bad || differing[s] != 0;
  }
  if (option == "--sites")
    for (const std::string& site : sites()) std::printf("barrier %s\n", site.c_str());
  return bad ? 1 : 0;
}
