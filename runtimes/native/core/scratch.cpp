// Scratch memory of the operators, counted.
#include <atomic>
#include <cstdlib>

#include "kernels.h"

namespace svf {
namespace {

std::atomic<size_t> held{0}, peak{0};

}  // namespace

void* allocate_scratch(size_t bytes) {
  if (bytes > SIZE_MAX - 63) return nullptr;
  void* memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
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
  std::free(memory);
}

}  // namespace svf

extern "C" {

size_t svf_scratch_peak(void) { return svf::peak.load(std::memory_order_relaxed); }

void svf_reset_scratch_peak(void) {
  svf::peak.store(svf::held.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

}  // extern "C"
