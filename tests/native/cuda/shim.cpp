#include "shim.h"

#include <ucontext.h>

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#if defined(SVF_SHIM_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace shim {

Device device;
bool backwards = false;
std::string dropped;

namespace {

constexpr size_t kSharedBytes = 16 << 10;  // a GPU has 48 kB
constexpr int kPattern = 0xa5;
constexpr unsigned kWarp = 32;

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "shim: %s\n", what);
  std::abort();
}

// What ThreadSanitizer is told: which fiber runs, and that one waited for another. It sees threads of
// different blocks as unordered, since each block has shared memory of its own.
#if defined(SVF_SHIM_TSAN)
constexpr bool kWatched = true;
void released(void* by) { __tsan_release(by); }
void acquired(void* from) { __tsan_acquire(from); }
#else
constexpr bool kWatched = false;
void released(void*) {}
void acquired(void*) {}
#endif

// A stack on which one thread after the other runs. Only its first entry goes through ucontext, which calls
// the system each time.
struct Fiber {
  static constexpr size_t kStack = 64 << 10;
  bool started = false;
  jmp_buf here;
  ucontext_t first;
  std::unique_ptr<char[]> stack{new char[kStack]};
#if defined(SVF_SHIM_TSAN)
  void* known = __tsan_create_fiber(0);
#endif
};

// Threads meet at a gate: the last one does something for all, then all go on.
class Gate {
 public:
  explicit Gate(unsigned count) : count_(count) {}
  template <typename Last>
  void pass(const Last& last);
  unsigned turn() const { return turn_; }

 private:
  unsigned count_, here_ = 0, turn_ = 0;
  // What the sanitizer knows two turns by: who is at the next gate already must not seem to come before those
  // that have not left this one.
  char known_[2] = {};
};

struct Warp {
  Gate gate{kWarp};
  void* sent[kWarp] = {};
};

struct Thread {
  Place place;
  Gate* block = nullptr;
  Warp* warp = nullptr;
  const Gate* waits = nullptr;  // for this gate's next turn
  unsigned turn = 0;
  bool done = false;

  bool ready() const { return !done && (waits == nullptr || waits->turn() != turn); }
};

Thread* current = nullptr;
jmp_buf scheduler;
std::vector<std::unique_ptr<Fiber>> fibers;
const std::function<void()>* running_kernel;
std::unique_ptr<unsigned char[]> shared_memory;
std::vector<std::string> known_sites;
int started_launch, ended_launch;  // what fibers and the scheduler wait for

#if defined(SVF_SHIM_TSAN)
void* scheduler_fiber;
void told_switch(void* fiber) { __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync); }
#endif

Fiber& fiber_of(const Thread& thread) { return *fibers[thread.place.thread.x]; }

// Back to the scheduler, until it comes here again.
void leave() {
  if (_setjmp(fiber_of(*current).here) != 0) return;
#if defined(SVF_SHIM_TSAN)
  told_switch(scheduler_fiber);
#endif
  _longjmp(scheduler, 1);
}

template <typename Last>
void Gate::pass(const Last& last) {
  char* known = &known_[turn_ % 2];
  released(known);
  if (++here_ == count_) {
    acquired(known);
    last();
    released(known);
    here_ = 0;
    ++turn_;
    return;
  }
  current->waits = this;
  current->turn = turn_;
  leave();
  current->waits = nullptr;
  acquired(known);
}

void enter() {
  for (;;) {
    acquired(&started_launch);
    (*running_kernel)();
    released(&ended_launch);
    current->done = true;
    leave();
  }
}

void resume(Thread& thread) {
  current = &thread;
  if (_setjmp(scheduler) != 0) return;
  Fiber& fiber = fiber_of(thread);
  const bool started = fiber.started;
  if (!started) {
    fiber.started = true;
    getcontext(&fiber.first);
    fiber.first.uc_stack.ss_sp = fiber.stack.get();
    fiber.first.uc_stack.ss_size = Fiber::kStack;
    makecontext(&fiber.first, enter, 0);
  }
#if defined(SVF_SHIM_TSAN)
  told_switch(fiber.known);
#endif
  if (started) _longjmp(fiber.here, 1);
  setcontext(&fiber.first);
}

void run_block(std::vector<Thread>& threads) {
  for (size_t left = threads.size(); left > 0;) {
    bool moved = false;
    for (size_t i = 0; i < threads.size(); ++i) {
      Thread& thread = threads[backwards ? threads.size() - 1 - i : i];
      if (!thread.ready()) continue;
      moved = true;
      resume(thread);
      left -= thread.done ? 1 : 0;
    }
    if (!moved) stop("threads wait at a barrier that others of their block or warp never reach");
  }
}

}  // namespace

const Place& place() { return current->place; }

void run(dim3 grid, unsigned count, const std::function<void()>& kernel) {
  if (count % kWarp != 0) stop("a block is not a number of whole warps");
#if defined(SVF_SHIM_TSAN)
  scheduler_fiber = __tsan_get_current_fiber();
#endif
  while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
  std::vector<Warp> warps(count / kWarp);
  Gate block(count);
  std::vector<Thread> threads(count);
  std::vector<std::unique_ptr<unsigned char[]>> used;
  running_kernel = &kernel;
  released(&started_launch);
  for (unsigned b = 0; b < grid.x * grid.y * grid.z; ++b) {
    if (kWatched) used.push_back(std::move(shared_memory));  // until all have ended
    if (shared_memory == nullptr) shared_memory.reset(new unsigned char[kSharedBytes]);
    std::memset(shared_memory.get(), kPattern, kSharedBytes);
    released(&started_launch);
    for (unsigned i = 0; i < count; ++i) {
      threads[i] = Thread{};
      threads[i].place = {dim3(i), dim3(b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y), dim3(count),
                          grid};
      threads[i].block = &block;
      threads[i].warp = &warps[i / kWarp];
    }
    run_block(threads);
  }
  acquired(&ended_launch);
}

int site(const char* file, int line) {
  const char* slash = std::strrchr(file, '/');
  const std::string name = std::string(slash == nullptr ? file : slash + 1) + ":" + std::to_string(line);
  for (size_t i = 0; i < known_sites.size(); ++i)
    if (known_sites[i] == name) return static_cast<int>(i);
  known_sites.push_back(name);
  return static_cast<int>(known_sites.size()) - 1;
}

std::vector<std::string> sites() { return known_sites; }

void barrier(int site) {
  if (!dropped.empty() && known_sites[static_cast<size_t>(site)] == dropped) return;
  current->block->pass([] {});
}

void* shared(size_t bytes) {
  if (bytes > kSharedBytes) stop("a kernel wants more shared memory than is here");
  return shared_memory.get();
}

void meet(void* sent, void (*together)(void* const sent[32])) {
  Warp& warp = *current->warp;
  warp.sent[current->place.thread.x % kWarp] = sent;
  warp.gate.pass([&] { together(warp.sent); });
}

}  // namespace shim
