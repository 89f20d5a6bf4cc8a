// Operators of the C API on random shapes: what is called, what it wrote.
#ifndef SVF_CASES_H
#define SVF_CASES_H

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "svf_core.h"

namespace svf {
namespace check {

// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int between(int low, int high) {
    return low + static_cast<int>(next() % static_cast<uint64_t>(high - low + 1));
  }
  int one_of(std::initializer_list<int> values) {
    return values.begin()[between(0, static_cast<int>(values.size()) - 1)];
  }
  bool chance(double p) { return static_cast<double>(next() >> 11) * 0x1p-53 < p; }

 private:
  uint64_t state_;
};

[[noreturn]] inline void stop(const char* what) {
  std::fprintf(stderr, "svf_check: %s: %s\n", what, svf_last_error());
  std::exit(2);
}

inline void require(svf_status status, const char* what) {
  if (status != SVF_OK) stop(what);
}

// Threads of one call, made for it: whatever runs here runs at the same time as its neighbours.
inline void on_threads(void*, void (*task)(void*, size_t), void* arg, size_t n) {
  constexpr size_t kThreads = 3;
  std::vector<std::thread> threads;
  for (size_t first = 0; first < kThreads; ++first)
    threads.emplace_back([=] {
      for (size_t i = first; i < n; i += kThreads) task(arg, i);
    });
  for (std::thread& thread : threads) thread.join();
}

const svf_parallel kThreads = {on_threads, nullptr};

// Memory of tensors; a program whose operators need memory of another kind says so before this file is read.
#if !defined(SVF_CASES_MEMORY)
inline void* allocate(size_t bytes) { return std::malloc(bytes); }
inline void release(void* memory) { std::free(memory); }
#endif

// A tensor that ends where its memory does, so that a sanitizer sees the first byte beyond. Without one, a
// pattern before and behind it does.
template <typename T>
class Tensor {
 public:
  Tensor(const Tensor& other) : Tensor(other.size_) { std::memcpy(get(), other.get(), bytes()); }
  Tensor(Tensor&&) = default;
  Tensor& operator=(const Tensor& other) { return *this = Tensor(other); }
  Tensor& operator=(Tensor&&) = default;
  explicit Tensor(size_t size) : size_(size), memory_(static_cast<char*>(allocate(bytes() + 2 * kGuard))) {
    if (memory_ == nullptr) stop("no memory");
    std::memset(memory_.get(), kPattern, bytes() + 2 * kGuard);
  }
  T* get() { return reinterpret_cast<T*>(memory_.get() + kGuard); }
  const T* get() const { return reinterpret_cast<const T*>(memory_.get() + kGuard); }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  T& operator[](size_t i) { return get()[i]; }
  bool operator==(const Tensor& other) const {
    return bytes() == other.bytes() &&
           std::memcmp(memory_.get(), other.memory_.get(), bytes() + 2 * kGuard) == 0;
  }

 private:
#if defined(__SANITIZE_ADDRESS__)
  static constexpr size_t kGuard = 0;
#else
  static constexpr size_t kGuard = 64;
#endif
  static constexpr int kPattern = 0x5a;
  struct Free {
    void operator()(char* p) const { release(p); }
  };
  size_t size_;
  std::unique_ptr<char, Free> memory_;
};

// What an operator wrote.
struct Written {
  Tensor<int32_t> integers{0}, words{0}, state{0}, summary{0};
  Tensor<int8_t> bytes{0};
  bool operator==(const Written& other) const {
    return integers == other.integers && words == other.words && state == other.state &&
           summary == other.summary && bytes == other.bytes;
  }
};

// The operators under test, with the signatures of svf_core.h.
struct Api {
  decltype(&svf_spike_conv2d) spike_conv2d;
  decltype(&svf_spike_conv2d_lif) spike_conv2d_lif;
  decltype(&svf_conv2d) conv2d;
  decltype(&svf_conv2d_lif) conv2d_lif;
  decltype(&svf_lif) lif;
  decltype(&svf_lif_from) lif_from;
  decltype(&svf_attention) attention;
  decltype(&svf_attention_lif) attention_lif;
  decltype(&svf_causal_attention) causal_attention;
  decltype(&svf_channels_last) channels_last;
};
constexpr Api kCore = {
    svf_spike_conv2d, svf_spike_conv2d_lif, svf_conv2d,        svf_conv2d_lif,       svf_lif,
    svf_lif_from,     svf_attention,        svf_attention_lif, svf_causal_attention, svf_channels_last};

// How an operator is called; none of it may show in the result.
struct Way {
  svf_density density;
  bool threads, prepared;
  const svf_parallel* parallel() const { return threads ? &kThreads : nullptr; }
};

struct Case {
  virtual ~Case() = default;
  virtual Written run(const Api& api, const Way& way) const = 0;
  virtual std::string name() const = 0;
};

// Words [levels, rows, ceil(channels / 32)] of spikes 0..levels, active at a rate; padding bits zero.
inline Tensor<int32_t> random_words(Random& random, size_t rows, int channels, int levels) {
  const size_t words = static_cast<size_t>(channels + 31) / 32;
  const double rate = std::initializer_list<double>{0, 0.05, 0.2, 0.6, 1}.begin()[random.between(0, 4)];
  Tensor<int32_t> out(static_cast<size_t>(levels) * rows * words);
  std::memset(out.get(), 0, out.bytes());
  for (size_t row = 0; row < rows; ++row)
    for (int c = 0; c < channels; ++c) {
      const int spikes = random.chance(rate) ? random.between(1, levels) : 0;
      for (int level = 0; level < spikes; ++level) {
        int32_t& word = out[(static_cast<size_t>(level) * rows + row) * words + static_cast<size_t>(c) / 32];
        word = static_cast<int32_t>(static_cast<uint32_t>(word) | 1u << (c % 32));
      }
    }
  return out;
}

template <typename T>
Tensor<T> random_integers(Random& random, size_t size, int low, int high) {
  Tensor<T> out(size);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<T>(random.between(low, high));
  return out;
}

inline int random_levels(Random& random) { return random.one_of({1, 1, 2, 3, 4, 4, 5, 9, SVF_MAX_LEVELS}); }

// A LIF after a result of [frames, positions, channels].
class Stage {
 public:
  Stage(Random& random, int frames, int positions, int channels)
      : size_(static_cast<size_t>(frames) * positions * channels),
        before_(random_integers<int32_t>(random, static_cast<size_t>(positions) * channels, -6000, 6000)),
        gain_(random_integers<int32_t>(random, channels, 0, 3)),
        bias_(random_integers<int32_t>(random, channels, -300, 300)),
        theta_(random_integers<int32_t>(random, channels, 1, 6000)),
        residual_(random_integers<int32_t>(random, size_, -9000, 9000)),
        soft_(random.chance(0.5)),
        with_residual_(random.chance(0.5)),
        with_sum_(random.chance(0.5)),
        with_before_(random.chance(0.5)),
        with_after_(random.chance(0.5)),
        levels_(random_levels(random)),
        words_(static_cast<size_t>(levels_) * frames * positions * ((channels + 31) / 32)) {
    const bool plain = random.chance(0.5);
    for (size_t i = 0; i < gain_.size(); ++i)
      gain_[i] = plain ? 1 : std::initializer_list<int32_t>{1, -1, 64, -64}.begin()[gain_[i]];
  }

  // The stage with its outputs in `written`.
  svf_lif_stage into(Written* written) const {
    written->words = Tensor<int32_t>(words_);
    if (with_sum_) written->integers = Tensor<int32_t>(size_);
    if (with_after_) written->state = Tensor<int32_t>(before_.size());
    return {gain_.get(),
            bias_.get(),
            theta_.get(),
            with_residual_ ? residual_.get() : nullptr,
            with_sum_ ? written->integers.get() : nullptr,
            written->words.get(),
            soft_,
            levels_,
            with_before_ ? before_.get() : nullptr,
            with_after_ ? written->state.get() : nullptr};
  }
  std::string name() const {
    return " + LIF levels " + std::to_string(levels_) + (soft_ ? " soft" : "") +
           (with_residual_ ? " residual" : "") + (with_sum_ ? " sum" : "") + (with_before_ ? " before" : "") +
           (with_after_ ? " after" : "");
  }

 private:
  size_t size_;
  Tensor<int32_t> before_, gain_, bias_, theta_, residual_;
  bool soft_, with_residual_, with_sum_, with_before_, with_after_;
  int levels_;
  size_t words_;
};

inline svf_conv2d_params random_conv(Random& random) {
  svf_conv2d_params p{};
  auto channels = [&] { return random.one_of({1, 3, 8, 13, 16, 31, 32, 33, 45, 64, 90, 96, 104, 130}); };
  p.frames = random.one_of({1, 1, 2, 3, 4, 7});
  p.height = random.between(1, 10);
  p.width = random.one_of({1, 2, 3, 5, 8, 9, 11, 16, 17});
  p.in_channels = channels();
  p.out_channels = channels();
  p.groups = 1;
  const int kernel = random.between(0, 5);
  const int heights[] = {1, 1, 3, 7, 1, 3}, widths[] = {1, 1, 3, 7, 3, 2};
  p.kernel[0] = heights[kernel];
  p.kernel[1] = widths[kernel];
  const int form = random.between(0, 7);
  if (form == 0) {  // grouped
    p.groups = random.between(2, 5);
    p.in_channels = p.groups * random.between(1, 40);
    p.out_channels = p.groups * random.between(1, 40);
  } else if (form == 1 || form == 2) {
    p.groups = p.out_channels = p.in_channels;
  } else if (form == 3) {  // one input channel and several output channels a group
    p.groups = random.between(2, 13);
    p.in_channels = p.groups * random.one_of({1, 4, 8});
    p.out_channels = p.groups * random.between(2, 70);
  } else if (form == 4) {  // as large as the frame
    p.kernel[0] = p.height;
    p.kernel[1] = p.width;
  }
  for (int axis = 0; axis < 2; ++axis) {
    const int size = axis == 0 ? p.height : p.width, short_of = (p.kernel[axis] - size + 1) / 2;
    p.padding[axis] = random.between(0, 3);
    if (short_of > p.padding[axis]) p.padding[axis] = short_of;
    p.stride[axis] = random.one_of({1, 1, 2, 4});
  }
  p.output_type = random.chance(0.5) ? SVF_INT32 : SVF_INT8;
  return p;
}

// A convolution of spikes, or of bytes, with or without a LIF stage.
class ConvCase : public Case {
 public:
  ConvCase(Random& random, bool spikes, bool lif) : spikes_(spikes), lif_(lif), params_(random_conv(random)) {
    svf_conv2d_params& p = params_;
    if (lif) p.output_type = SVF_INT32;
    p.levels = spikes ? random_levels(random) : 0;
    p.input_type = random.chance(0.5) ? SVF_UINT8 : SVF_INT8;
    p.zero_point =
        p.input_type == SVF_UINT8 ? random.one_of({0, 1, 128, 255}) : random.one_of({-128, -1, 0, 127});
    require(svf_conv2d_output_size(&p, out_), "output size");
    const int extreme = random.between(0, 9);  // largest products, where narrow sums saturate
    const int low = extreme == 0 ? 127 : -127, high = extreme == 1 ? -127 : 127;
    weight_ = random_integers<int8_t>(
        random, static_cast<size_t>(p.kernel[0]) * p.kernel[1] * (p.in_channels / p.groups) * p.out_channels,
        low, high);
    bias_ = random_integers<int32_t>(random, static_cast<size_t>(p.out_channels), -2000, 2000);
    const bool right_only = random.chance(0.6);
    shift_ = random_integers<int32_t>(random, static_cast<size_t>(p.out_channels), right_only ? 0 : -3, 12);
    const size_t positions = static_cast<size_t>(p.frames) * p.height * p.width;
    if (spikes)
      words_ = random_words(random, positions, p.in_channels, p.levels);
    else
      bytes_ = random_integers<uint8_t>(random, positions * p.in_channels, extreme < 2 ? 250 : 0, 255);
    if (lif) stage_ = std::make_unique<Stage>(random, p.frames, out_[0] * out_[1], p.out_channels);
  }

  Written run(const Api& api, const Way& way) const override {
    Written written;
    svf_conv2d_params p = params_;
    p.density = way.density;
    svf_weights* prepared = nullptr;
    if (way.prepared) require(svf_prepare_weights(&p, spikes_, weight_.get(), &prepared), "prepared weights");
    const size_t size = static_cast<size_t>(p.frames) * out_[0] * out_[1] * p.out_channels;
    if (lif_) {
      const svf_lif_stage stage = stage_->into(&written);
      require(spikes_ ? api.spike_conv2d_lif(&p, words_.get(), weight_.get(), prepared, bias_.get(),
                                             shift_.get(), &stage, way.parallel())
                      : api.conv2d_lif(&p, bytes_.get(), weight_.get(), prepared, bias_.get(), shift_.get(),
                                       &stage, way.parallel()),
              "convolution with LIF");
    } else {
      void* y;
      if (p.output_type == SVF_INT8) {
        written.bytes = Tensor<int8_t>(size);
        y = written.bytes.get();
      } else {
        written.integers = Tensor<int32_t>(size);
        y = written.integers.get();
      }
      require(spikes_ ? api.spike_conv2d(&p, words_.get(), weight_.get(), prepared, bias_.get(), shift_.get(),
                                         y, way.parallel())
                      : api.conv2d(&p, bytes_.get(), weight_.get(), prepared, bias_.get(), shift_.get(), y,
                                   way.parallel()),
              "convolution");
    }
    svf_release_weights(prepared);
    return written;
  }

  std::string name() const override {
    const svf_conv2d_params& p = params_;
    char text[256];
    std::snprintf(
        text, sizeof text,
        "%s conv [%d, %d, %d, %d] -> %d channels, kernel %dx%d stride %d,%d padding %d,%d groups %d %s "
        "levels %d type %d zero point %d",
        spikes_ ? "spike" : "byte", p.frames, p.height, p.width, p.in_channels, p.out_channels, p.kernel[0],
        p.kernel[1], p.stride[0], p.stride[1], p.padding[0], p.padding[1], p.groups,
        p.output_type == SVF_INT8 ? "int8" : "int32", p.levels, p.input_type, p.zero_point);
    return text + (lif_ ? stage_->name() : "");
  }

 private:
  bool spikes_, lif_;
  svf_conv2d_params params_;
  int32_t out_[2];
  Tensor<int8_t> weight_{0};
  Tensor<int32_t> bias_{0}, shift_{0}, words_{0};
  Tensor<uint8_t> bytes_{0};
  std::unique_ptr<Stage> stage_;
};

class LifCase : public Case {
 public:
  explicit LifCase(Random& random)
      : params_{random.one_of({1, 2, 5, 8, 32}), random.between(1, 150),
                random.one_of({1, 8, 31, 32, 33, 45, 64, 104}), random.chance(0.5), random_levels(random)},
        x_(random_integers<int32_t>(
            random, static_cast<size_t>(params_.frames) * params_.positions * params_.channels, -600, 1500)),
        gain_(random_integers<int32_t>(random, params_.channels, random.chance(0.5) ? 1 : -64, 1)),
        bias_(random_integers<int32_t>(random, params_.channels, -300, 300)),
        theta_(random_integers<int32_t>(random, params_.channels, 1, 600)),
        before_(random_integers<int32_t>(random, static_cast<size_t>(params_.positions) * params_.channels,
                                         -600, 600)),
        with_state_(random.chance(0.5)) {}
  Written run(const Api& api, const Way& way) const override {
    Written written;
    const svf_lif_params& p = params_;
    written.words =
        Tensor<int32_t>(static_cast<size_t>(p.levels) * p.frames * p.positions * ((p.channels + 31) / 32));
    if (with_state_) {
      written.state = before_;  // in place
      int32_t* u = written.state.get();
      require(api.lif_from(&p, x_.get(), gain_.get(), bias_.get(), theta_.get(), u, u, written.words.get(),
                           way.parallel()),
              "LIF of a stream");
    } else {
      require(
          api.lif(&p, x_.get(), gain_.get(), bias_.get(), theta_.get(), written.words.get(), way.parallel()),
          "LIF");
    }
    return written;
  }
  std::string name() const override {
    char text[128];
    std::snprintf(text, sizeof text, "LIF [%d, %d, %d] soft %d levels %d state %d", params_.frames,
                  params_.positions, params_.channels, params_.soft_reset, params_.levels, with_state_);
    return text;
  }

 private:
  svf_lif_params params_;
  Tensor<int32_t> x_, gain_, bias_, theta_, before_;
  bool with_state_;
};

class AttentionCase : public Case {
 public:
  // `tokens`: of the one group; 0 for several groups of some tokens.
  AttentionCase(Random& random, bool lif, int tokens = 0) : lif_(lif) {
    const int width = random.one_of({1, 8, 13, 32, 45, 64, 80}), heads = random.between(1, 4);
    params_ = {tokens > 0 ? 1 : random.between(1, 4),
               tokens > 0 ? tokens : random.one_of({1, 2, 16, 31, 33, 64, 70}),
               width * heads,
               heads,
               random.chance(0.5) ? SVF_HAMMING : SVF_DOT,
               random_levels(random)};
    const size_t rows = static_cast<size_t>(params_.groups) * params_.tokens;
    q_ = random_words(random, rows, params_.channels, params_.levels);
    k_ = random_words(random, rows, params_.channels, params_.levels);
    v_ = random_words(random, rows, params_.channels, params_.levels);
    if (lif) stage_ = std::make_unique<Stage>(random, params_.groups, params_.tokens, params_.channels);
    window_ = random.one_of({0, 0, 0, 1, 2, 3, 9});
    if (window_ > 0 && params_.groups == 1)
      before_ = random_integers<int32_t>(random, static_cast<size_t>(width) * width * heads, -500, 500);
  }
  Written run(const Api& api, const Way& way) const override {
    Written written;
    if (window_ > 0) return run_causal(api, way);
    if (lif_) {
      const svf_lif_stage stage = stage_->into(&written);
      require(
          api.attention_lif(&params_, params_.groups, q_.get(), k_.get(), v_.get(), &stage, way.parallel()),
          "attention with LIF");
    } else {
      written.integers =
          Tensor<int32_t>(static_cast<size_t>(params_.groups) * params_.tokens * params_.channels);
      require(api.attention(&params_, q_.get(), k_.get(), v_.get(), written.integers.get(), way.parallel()),
              "attention");
    }
    return written;
  }
  std::string name() const override {
    char text[128];
    std::snprintf(text, sizeof text, "%s attention [%d, %d, %d] heads %d levels %d window %d",
                  params_.kind == SVF_HAMMING ? "hamming" : "dot", params_.groups, params_.tokens,
                  params_.channels, params_.heads, params_.levels, window_);
    return text + (lif_ ? stage_->name() : "");
  }

 private:
  Written run_causal(const Api& api, const Way& way) const {
    Written written;
    svf_lif_stage stage{};
    Tensor<int32_t> summary(before_.size());
    if (lif_)
      stage = stage_->into(&written);
    else
      written.integers =
          Tensor<int32_t>(static_cast<size_t>(params_.groups) * params_.tokens * params_.channels);
    const bool step = before_.size() > 0;
    require(
        api.causal_attention(&params_, window_, q_.get(), k_.get(), v_.get(), step ? before_.get() : nullptr,
                             step ? summary.get() : nullptr, lif_ ? nullptr : written.integers.get(),
                             lif_ ? &stage : nullptr, way.parallel()),
        "causal attention");
    if (step) written.summary = summary;
    return written;
  }

  bool lif_;
  int window_;
  svf_attention_params params_;
  Tensor<int32_t> q_{0}, k_{0}, v_{0}, before_{0};
  std::unique_ptr<Stage> stage_;
};

class LayoutCase : public Case {
 public:
  explicit LayoutCase(Random& random)
      : frames_(random.between(1, 3)),
        channels_(random.one_of({1, 2, 3, 3, 4, 5})),
        positions_(random.one_of({1, 15, 64, 1000, 4096, 5000})),
        x_(random_integers<uint8_t>(random, static_cast<size_t>(frames_) * channels_ * positions_, 0, 255)) {}
  Written run(const Api& api, const Way& way) const override {
    Written written;
    written.bytes = Tensor<int8_t>(x_.size());
    uint8_t* y = reinterpret_cast<uint8_t*>(written.bytes.get());
    require(api.channels_last(frames_, channels_, positions_, x_.get(), y, way.parallel()), "channels last");
    return written;
  }
  std::string name() const override {
    char text[64];
    std::snprintf(text, sizeof text, "channels last [%d, %d, %d]", frames_, channels_, positions_);
    return text;
  }

 private:
  int frames_, channels_, positions_;
  Tensor<uint8_t> x_;
};

inline std::unique_ptr<Case> make_case(int kind, uint64_t seed) {
  Random random(seed);
  switch (kind) {
    case 0:
      return std::make_unique<ConvCase>(random, true, false);
    case 1:
      return std::make_unique<ConvCase>(random, true, true);
    case 2:
      return std::make_unique<ConvCase>(random, false, false);
    case 3:
      return std::make_unique<ConvCase>(random, false, true);
    case 4:
      return std::make_unique<LifCase>(random);
    case 5:
      return std::make_unique<AttentionCase>(random, false);
    case 6:
      return std::make_unique<AttentionCase>(random, true);
    default:
      return std::make_unique<LayoutCase>(random);
  }
}
constexpr int kKinds = 8;

}  // namespace check
}  // namespace svf
#endif
