// Launches packed attention on a CUDA stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "attention.h"

namespace svf {

// Bytes of scratch memory that `launch_attention` needs.
size_t attention_workspace(AttentionShape shape);

// q, k, v: device words [L, G, N, ceil(C / 32)]; o: device int32 [G, N, C]. Asynchronous; returns the launch
// status.
cudaError_t launch_attention(AttentionShape shape, bool hamming, const void* q, const void* k, const void* v,
                             void* o, void* workspace, cudaStream_t stream);

}  // namespace svf
