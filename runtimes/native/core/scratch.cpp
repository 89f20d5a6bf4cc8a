// Scratch memory of the operators, counted. Every thread keeps one piece of memory from call to call, as
// large as the most that it ever held at one time, so that an operator neither waits for the allocator nor
// for new pages.
#include <atomic>
#include <cstdlib>

#include "kernels.h"

namespace svf {
namespace {

std::atomic<size_t> held{0}, peak{0};

size_t rounded(size_t bytes) { return (bytes / 64 + 1) * 64; }  // never zero

// Blocks lie one behind the other. One that is released below others is free as soon as those are.
class Stack {
 public:
  Stack() = default;
  ~Stack() { std::free(memory_); }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  void* allocate(size_t bytes) {
    wanted_ += bytes;
    if (wanted_ > most_) most_ = wanted_;
    if (blocks_ == 0 && most_ > size_) grow();
    if (blocks_ == kBlocks || bytes > size_ - used_) {
      void* memory = std::aligned_alloc(64, bytes);
      if (memory == nullptr) most_ = wanted_ -= bytes;
      return memory;
    }
    block_[blocks_++] = {used_, false};
    used_ += bytes;
    return memory_ + block_[blocks_ - 1].begin;
  }

  void release(void* memory, size_t bytes) {
    wanted_ -= bytes;
    char* const place = static_cast<char*>(memory);
    if (memory_ == nullptr || place < memory_ || place >= memory_ + size_) return std::free(memory);
    const size_t begin = static_cast<size_t>(place - memory_);
    int i = blocks_ - 1;
    while (block_[i].begin != begin) --i;
    block_[i].free = true;
    while (blocks_ > 0 && block_[blocks_ - 1].free) used_ = block_[--blocks_].begin;
  }

 private:
  static constexpr int kBlocks = 64;
  struct Block {
    size_t begin;
    bool free;
  };

  void grow() {
    std::free(memory_);
    memory_ = static_cast<char*>(std::aligned_alloc(64, most_));
    size_ = most_ = memory_ == nullptr ? 0 : most_;
  }

  char* memory_ = nullptr;
  size_t size_ = 0, used_ = 0;    // of memory_
  size_t wanted_ = 0, most_ = 0;  // held by this thread, here and elsewhere
  int blocks_ = 0;
  Block block_[kBlocks];
};

thread_local Stack stack;

}  // namespace

void* allocate_scratch(size_t bytes) {
  if (bytes > SIZE_MAX - 64) return nullptr;
#if defined(SVF_SANITIZE)  // a block of its own, so that what is read or written beside it is found
  void* memory = std::aligned_alloc(64, rounded(bytes));
#else
  void* memory = stack.allocate(rounded(bytes));
#endif
  if (memory == nullptr) return nullptr;
  const size_t now = held.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  size_t most = peak.load(std::memory_order_relaxed);
  while (now > most && !peak.compare_exchange_weak(most, now, std::memory_order_relaxed)) {
  }
  return memory;
}

void release_scratch(void* memory, size_t bytes) {
  if (memory == nullptr) return;
  held.fetch_sub(bytes, std::memory_order_relaxed);
#if defined(SVF_SANITIZE)
  std::free(memory);
#else
  stack.release(memory, rounded(bytes));
#endif
}

}  // namespace svf

extern "C" {

size_t svf_scratch_peak(void) { return svf::peak.load(std::memory_order_relaxed); }

void svf_reset_scratch_peak(void) {
  svf::peak.store(svf::held.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

}  // extern "C"
