// How svf-run ends when it cannot go on: one sentence with the file, the value and the fix, and an exit code.
#pragma once

#include <stdexcept>
#include <string>

namespace svf {

// runtimes/runner_schema.py has the same list.
enum class Exit { kOk = 0, kDiffers = 1, kUsage = 2, kBadBundle = 3, kMissing = 4, kMachine = 5 };

// Text on one line of valid UTF-8: it may come from a hostile file, and goes to terminals and logs.
std::string printable(const std::string& text);

class Failure : public std::runtime_error {
 public:
  Failure(Exit code, const std::string& sentence) : std::runtime_error(printable(sentence)), code_(code) {}
  Exit code() const { return code_; }

 private:
  Exit code_;
};

// Why a runtime cannot run here: something that is not installed, or that the bundle should hold and does
// not.
struct Absent {
  std::string reason;
  bool bundle_is_short;
};

[[noreturn]] inline void bad_bundle(const std::string& sentence) {
  throw Failure(Exit::kBadBundle, sentence + "; copy or export the bundle again");
}

}  // namespace svf
