// What check.cpp needs of the shim.
#pragma once

#include "shim.h"

namespace svf {
namespace check {

inline void finish() {}
inline void turn_around(bool backwards) { shim::backwards = backwards; }
inline void drop(const std::string& site) { shim::dropped = site; }
inline std::vector<std::string> sites() { return shim::sites(); }

}  // namespace check
}  // namespace svf
