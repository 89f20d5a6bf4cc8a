// What the machine says about itself, and what this process has used.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace svf {

// `linux-aarch64` and so on, as bundles spell it.
const char* platform();

// Whether an emulator translates this program for another CPU; `told` says so from outside. Its times mean
// nothing.
bool emulated(bool told);

nlohmann::json describe_machine(bool emulated);
std::optional<double> clock_mhz();
std::array<double, 3> load_average();
int64_t peak_memory();
int64_t resident_memory();
// Time now, such as 2026-01-31T12:00:00+00:00.
std::string timestamp();

}  // namespace svf
