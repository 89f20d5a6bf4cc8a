// Prepared weights of every convolution of a kernel set.
#ifndef SVF_WEIGHTS_H
#define SVF_WEIGHTS_H

#include "kernels.h"

namespace svf {
namespace {

size_t weights_size(const Conv&, bool) { return 0; }

void prepare_weights(const Conv&, bool, const int8_t*, void*) {}

}  // namespace
}  // namespace svf
#endif
