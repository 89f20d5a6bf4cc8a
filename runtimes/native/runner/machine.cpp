#include "machine.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <sstream>

namespace svf {
namespace {

constexpr char kFrequency[] = "/sys/devices/system/cpu/cpu0/cpufreq/";

std::optional<std::string> line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!file || !std::getline(file, line, '\0')) return std::nullopt;
  const size_t end = line.find_last_not_of(" \n\r\t");
  return line.substr(0, end == std::string::npos ? 0 : end + 1);
}

// The first entry `key : value` of a file of such lines.
std::optional<std::string> entry_of(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t end = line.find_last_not_of(" \t", colon ? colon - 1 : 0);
    if (line.substr(0, end + 1) != key) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return std::nullopt;
}

int64_t kilobytes_of(const char* key) {
  const auto value = entry_of("/proc/self/status", key);
  return value ? 1024 * std::strtoll(value->c_str(), nullptr, 10) : 0;
}

nlohmann::json text_or_null(const std::optional<std::string>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

}  // namespace

const char* platform() { return SVF_PLATFORM; }

bool emulated(bool told) {
  if (told) return true;
#if defined(__aarch64__) || defined(__arm__)
  // User-mode emulation answers uname as the emulated machine would; these come from the real kernel.
  const auto kernel = line_of("/proc/sys/kernel/arch");
  if (kernel) return kernel->rfind("aarch64", 0) != 0 && kernel->rfind("arm", 0) != 0;
  return access("/sys/devices/system/cpu/cpu0/microcode", F_OK) == 0 ||
         entry_of("/proc/cpuinfo", "vendor_id").has_value();
#elif defined(__x86_64__)
  const auto kernel = line_of("/proc/sys/kernel/arch");
  return kernel && *kernel != "x86_64";
#else
  return false;
#endif
}

nlohmann::json describe_machine(bool emulated) {
  auto cpu = entry_of("/proc/cpuinfo", "model name");
  if (!cpu) cpu = line_of("/proc/device-tree/model");
  if (!cpu) cpu = entry_of("/proc/cpuinfo", "Hardware");
  cpu_set_t set;
  nlohmann::json affinity = nlohmann::json::array();
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set)) affinity.push_back(i);
  utsname name{};
  uname(&name);
  return {{"platform", platform()},
          {"cpu", cpu.value_or("unknown")},
          {"cores", sysconf(_SC_NPROCESSORS_ONLN)},
          {"affinity", affinity},
          {"governor", text_or_null(line_of(std::string(kFrequency) + "scaling_governor"))},
          {"system", std::string(name.sysname) + " " + name.release + " " + name.machine},
          {"emulated", emulated}};
}

std::optional<double> clock_mhz() {
  if (const auto text = line_of(std::string(kFrequency) + "scaling_cur_freq"))
    return std::strtod(text->c_str(), nullptr) / 1000;
  if (const auto text = entry_of("/proc/cpuinfo", "cpu MHz")) return std::strtod(text->c_str(), nullptr);
  return std::nullopt;
}

std::array<double, 3> load_average() {
  std::array<double, 3> load{};
  std::ifstream file("/proc/loadavg");
  file >> load[0] >> load[1] >> load[2];
  return load;
}

int64_t peak_memory() { return kilobytes_of("VmHWM"); }
int64_t resident_memory() { return kilobytes_of("VmRSS"); }

std::string timestamp() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+00:00", &parts);
  return text;
}

}  // namespace svf
