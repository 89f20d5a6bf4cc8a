#include "options.h"

#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdlib>

#include "failure.h"

namespace svf {

const char kHelp[] = R"(svf-run: tests and times a bundle of svf-edge on the device it runs on

  svf-run info                    what this program is and where it runs
  svf-run check BUNDLE            hold every file against its hash; say which runtimes can run here
  svf-run parity BUNDLE           run the golden clips; compare every layer's spikes and every output
  svf-run bench BUNDLE            measure cold start and latency of the first golden clip
  svf-run profile BUNDLE          what every operator of a graph takes on that clip, by the runtime's own profiler

  --runtime NAME    one runtime instead of all; repeat for several. It must run, or the command fails:
                    'executorch packed', 'executorch portable', 'onnxruntime packed',
                    'onnxruntime packed, no library', 'onnxruntime portable'
  --threads N       threads of each runtime (1)
  --spikes FOLDER   parity: write the packed spikes of layers that differ here
  --traces FOLDER   profile: where the runtimes put their own profiles (ETDump, and ONNX Runtime's JSON)
  --runs N          bench, profile: timed runs of each runtime (100); in bench, in five turns
  --seconds S       bench, profile: stop a runtime's timed runs after this long (20)
  --warm-up N       bench, profile: runs that do not count, before each turn (3)
  --emulated        this machine is an emulator, so measure no times (found out without it in most cases)

The result is one JSON document on standard output. A failure is one sentence on standard error and an exit code:
0 equal, or measured; 1 differs or failed; 2 wrong command line; 3 the bundle is damaged, hostile or of another
version; 4 a library or runtime is missing; 5 the machine failed (memory, disk).

Example: svf-run parity bundle --runtime 'executorch packed' --threads 4
)";

namespace {

[[noreturn]] void usage(const std::string& sentence) {
  throw Failure(Exit::kUsage, sentence + "; svf-run --help shows how it is used");
}

int count(const std::string& option, const std::string& text, int least) {
  char* end = nullptr;
  errno = 0;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0 || value < least || value > 1000000)
    usage(option + " is '" + text + "', an integer of at least " + std::to_string(least) + " was expected");
  return static_cast<int>(value);
}

double duration(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value > 0) || !std::isfinite(value))
    usage(option + " is '" + text + "', a number of seconds above 0 was expected");
  return value;
}

}  // namespace

Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  for (const std::string& argument : arguments)
    if (argument == "--help" || argument == "-h" || argument == "help") options.command = "help";
  if (options.command == "help") return options;
  if (arguments.empty()) usage("no command was given");
  options.command = arguments[0];
  const bool parity = options.command == "parity", profile = options.command == "profile";
  const bool bench = options.command == "bench" || profile;
  if (!parity && !bench && options.command != "info" && options.command != "check")
    usage("'" + options.command + "' is no command of svf-run");
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const auto value = [&]() -> const std::string& {
      if (i + 1 == arguments.size()) usage(argument + " needs a value");
      return arguments[++i];
    };
    if (argument == "--emulated")
      options.bench.emulated = true;
    else if (argument == "--runtime" && (parity || bench))
      options.runtimes.push_back(&find_variant(value()));
    else if (argument == "--threads" && (parity || bench))
      options.bench.threads = count(argument, value(), 1);
    else if (argument == "--spikes" && parity)
      options.spikes = value();
    else if (argument == "--traces" && profile)
      options.traces = value();
    else if (argument == "--runs" && bench)
      options.bench.runs = count(argument, value(), 1);
    else if (argument == "--seconds" && bench)
      options.bench.seconds = duration(argument, value());
    else if (argument == "--warm-up" && bench)
      options.bench.warm_up = count(argument, value(), 0);
    else if (argument.rfind("-", 0) == 0)
      usage("'" + argument + "' is no option of svf-run " + options.command);
    else if (options.bundle.empty() && options.command != "info" && !argument.empty())
      options.bundle = argument;
    else
      usage("'" + argument + "' is one argument too many");
  }
  if (options.bundle.empty() && options.command != "info") usage("no bundle folder was given");
  if (profile && options.traces.empty()) usage("profile needs --traces FOLDER");
  return options;
}

}  // namespace svf
