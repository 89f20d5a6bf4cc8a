#include "shim.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#if defined(SVF_SHIM_THREADS)
#include <condition_variable>
#include <thread>
#else
#include <ucontext.h>

#include <csetjmp>
#include <memory>
#endif

namespace shim {

Device device;
bool backwards = false;
std::string dropped;

namespace {

constexpr size_t kSharedBytes = 48 << 10;
constexpr int kPattern = 0xa5;
constexpr unsigned kWarp = 32;
alignas(16) unsigned char shared_memory[kSharedBytes];

std::vector<std::string>& known_sites() {
  static std::vector<std::string> names;
  return names;
}
std::mutex sites_lock;

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "shim: %s\n", what);
  std::abort();
}

struct Thread;
thread_local Thread* current = nullptr;

#if defined(SVF_SHIM_THREADS)

// Threads meet at a gate: the last one does something for all, then all go on.
class Gate {
 public:
  explicit Gate(unsigned count) : count_(count) {}
  template <typename Last>
  void pass(const Last& last) {
    std::unique_lock<std::mutex> lock(mutex_);
    const unsigned turn = turn_;
    if (++here_ == count_) {
      last();
      here_ = 0;
      ++turn_;
      all_here_.notify_all();
    } else {
      all_here_.wait(lock, [&] { return turn_ != turn; });
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_here_;
  unsigned count_, here_ = 0, turn_ = 0;
};

#else

class Gate {
 public:
  explicit Gate(unsigned count) : count_(count) {}
  template <typename Last>
  void pass(const Last& last);

 private:
  friend struct Thread;
  unsigned count_, here_ = 0, turn_ = 0;
};

#endif

struct Warp {
  Gate gate{kWarp};
  void* sent[kWarp] = {};
};

struct Thread {
  Place place;
  Gate* block = nullptr;
  Warp* warp = nullptr;
#if !defined(SVF_SHIM_THREADS)
  const Gate* waits = nullptr;  // for this gate's next turn
  unsigned turn = 0;
  bool done = false;

  bool ready() const { return !done && (waits == nullptr || waits->turn_ != turn); }
#endif
};

void set_block(Place& place, unsigned block) {
  const dim3& grid = place.blocks;
  place.block = dim3(block % grid.x, block / grid.x % grid.y, block / grid.x / grid.y);
}

void poison() { std::memset(shared_memory, kPattern, sizeof shared_memory); }

#if defined(SVF_SHIM_THREADS)

void run_blocks(std::vector<Thread>& threads, Gate& block, unsigned blocks,
                const std::function<void()>& kernel) {
  std::vector<std::thread> running;
  for (Thread& thread : threads)
    running.emplace_back([&thread, &block, blocks, &kernel] {
      current = &thread;
      for (unsigned b = 0; b < blocks; ++b) {
        block.pass(poison);
        set_block(thread.place, b);
        kernel();
      }
    });
  for (std::thread& thread : running) thread.join();
}

#else

// A stack on which one thread after the other runs. Only its first entry goes through ucontext, which calls
// the system each time.
struct Fiber {
  static constexpr size_t kStack = 32 << 10;
  bool started = false;
  jmp_buf here;
  ucontext_t first;
  std::unique_ptr<char[]> stack{new char[kStack]};
};

jmp_buf scheduler;
std::vector<std::unique_ptr<Fiber> > fibers;
const std::function<void()>* running_kernel;

// Back to the scheduler, until it comes here again.
void leave() {
  if (_setjmp(fibers[current->place.thread.x]->here) == 0) _longjmp(scheduler, 1);
}

template <typename Last>
void Gate::pass(const Last& last) {
  if (++here_ == count_) {
    last();
    here_ = 0;
    ++turn_;
    return;
  }
  current->waits = this;
  current->turn = turn_;
  leave();
  current->waits = nullptr;
}

void enter() {
  for (;;) {
    (*running_kernel)();
    current->done = true;
    leave();
  }
}

void resume(Thread& thread) {
  current = &thread;
  if (_setjmp(scheduler) != 0) return;
  Fiber& fiber = *fibers[thread.place.thread.x];
  if (fiber.started) _longjmp(fiber.here, 1);
  fiber.started = true;
  getcontext(&fiber.first);
  fiber.first.uc_stack.ss_sp = fiber.stack.get();
  fiber.first.uc_stack.ss_size = Fiber::kStack;
  makecontext(&fiber.first, enter, 0);
  setcontext(&fiber.first);
}

void run_blocks(std::vector<Thread>& threads, Gate&, unsigned blocks, const std::function<void()>& kernel) {
  while (fibers.size() < threads.size()) fibers.push_back(std::make_unique<Fiber>());
  running_kernel = &kernel;
  for (unsigned b = 0; b < blocks; ++b) {
    poison();
    for (Thread& thread : threads) {
      set_block(thread.place, b);
      thread.done = false;
    }
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
}

#endif

}  // namespace

const Place& place() { return current->place; }

void run(dim3 grid, unsigned count, const std::function<void()>& kernel) {
  if (count % kWarp != 0) stop("a block is not a number of whole warps");
  std::vector<Thread> threads(count);
  std::vector<Warp> warps(count / kWarp);
  Gate block(count);
  for (unsigned i = 0; i < count; ++i) {
    threads[i].place = {dim3(i, 0, 0), dim3(0, 0, 0), dim3(count), grid};
    threads[i].block = &block;
    threads[i].warp = &warps[i / kWarp];
  }
  run_blocks(threads, block, grid.x * grid.y * grid.z, kernel);
}

int site(const char* file, int line) {
  const char* slash = std::strrchr(file, '/');
  const std::string name = std::string(slash == nullptr ? file : slash + 1) + ":" + std::to_string(line);
  const std::lock_guard<std::mutex> lock(sites_lock);
  std::vector<std::string>& names = known_sites();
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<int>(i);
  names.push_back(name);
  return static_cast<int>(names.size()) - 1;
}

std::vector<std::string> sites() {
  const std::lock_guard<std::mutex> lock(sites_lock);
  return known_sites();
}

void barrier(int site) {
  if (!dropped.empty()) {
    const std::lock_guard<std::mutex> lock(sites_lock);
    if (known_sites()[static_cast<size_t>(site)] == dropped) return;
  }
  current->block->pass([] {});
}

void* shared(size_t bytes) {
  if (bytes > kSharedBytes) stop("a kernel wants more shared memory than 48 kB");
  return shared_memory;
}

void meet(void* sent, void (*together)(void* const sent[32])) {
  Warp& warp = *current->warp;
  // Lanes write apart from each other; the gate orders them.
  warp.sent[current->place.thread.x % kWarp] = sent;
  warp.gate.pass([&] { together(warp.sent); });
}

}  // namespace shim
