#include "dot_neon.h"
// (the vector types come first)
#include "attention.h"
#include "dense_conv.h"
#include "layout.h"
#include "lif.h"
#include "spike_conv.h"
#include "weights.h"

namespace svf {

const KernelSet kNeonI8mmKernels = {"neon-i8mm", spike_conv2d,  conv2d,       lif,
                                    attention,   channels_last, weights_size, prepare_weights};

}  // namespace svf
