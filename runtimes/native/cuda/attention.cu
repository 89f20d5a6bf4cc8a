#include "attention_kernels.h"
#include "attention_products.h"
#include "choice.h"
#include "launch.h"
#include "lif.h"
#include "svf_cuda.h"

namespace svf {
namespace {

AttentionShape shape_of(const AttentionArgs& a) {
  return {a.groups, a.tokens, a.channels, a.heads, a.levels};
}

// Where the parts of the workspace lie.
struct Scratch {
  uint32_t* columns;
  int32_t* summary;
  int32_t* result;

  Scratch(AttentionShape shape, void* workspace)
      : columns(static_cast<uint32_t*>(workspace)),
        summary(reinterpret_cast<int32_t*>(columns + 2 * shape.column_count())),
        result(summary + shape.summary_count()) {}
};

// Bytes of a summary's entries: every token adds at most a value times a key, which Hamming counts as 2 S
// - 1.
int entry_bytes(const AttentionArgs& a) {
  if (a.before != nullptr) return 4;  // whose frames are not known here
  const int64_t frames = a.window < a.groups ? a.window : a.groups;
  const int64_t tokens = static_cast<int64_t>(a.tokens) * (a.window > 0 ? frames : 1);
  const int64_t key = a.hamming ? 2 * a.levels - 1 : a.levels;
  return summary_bytes(tokens * a.levels * key);
}

template <bool kHamming>
void attend(const AttentionArgs& a, const Scratch& scratch, int32_t* y, void* stream) {
  const AttentionShape shape = shape_of(a);
  const KernelChoice choice = kernel_choice();
  const auto words = [](const int32_t* pointer) { return reinterpret_cast<const uint32_t*>(pointer); };
  // A thread an element, or a warp a tile.
  const auto elements = [&](auto kernel, int64_t count, const auto&... arguments) {
    launch(kernel, blocks_for(count, kAttentionThreads), kAttentionThreads, stream, shape, arguments...);
  };
  const auto tiles = [&](auto kernel, int64_t count, const auto&... arguments) {
    launch(kernel, blocks_for(count, kAttentionWarps), kAttentionWarps * kWarp, stream, shape, arguments...);
  };
  const auto parts = [](int64_t size, int64_t of) { return (size + of - 1) / of; };
  const int64_t heads = shape.groups * shape.heads, width = shape.width();
  if (choice == KernelChoice::kSimple)
    elements(columns_kernel, 2 * shape.column_count(), words(a.k), words(a.v), scratch.columns);
  else
    tiles(turn_kernel, 2 * shape.digits() * shape.groups * shape.blocks() * shape.words(), words(a.k),
          words(a.v), scratch.columns);
  if (choice == KernelChoice::kBinary)
    tiles(count_kernel<kHamming>, heads * parts(width, 16) * parts(width, 8), scratch.columns,
          scratch.summary);
  else
    elements(summary_kernel<kHamming>, shape.summary_count(), scratch.columns, scratch.summary);
  if (a.window > 0)
    elements(window_kernel, shape.summary_count() / shape.groups, a.window, a.before, a.summary,
             scratch.summary);
  if (choice == KernelChoice::kSimple)
    elements(output_kernel<kHamming>, shape.output_count(), words(a.q), scratch.summary, y);
  else
    tiles(apply_kernel<kHamming>, heads * parts(width, 32) * parts(shape.tokens, 16 * kTokenTiles),
          words(a.q), scratch.summary, entry_bytes(a), y);
}

svf_status run(const AttentionArgs& a, void* workspace, void* stream) {
  if (svf_status status = check_tensors("attention's scratch memory", {workspace})) return status;
  const Scratch scratch(shape_of(a), workspace);
  int32_t* y = a.lif != nullptr ? scratch.result : a.y;
  a.hamming ? attend<true>(a, scratch, y, stream) : attend<false>(a, scratch, y, stream);
  if (a.lif != nullptr) {
    const int positions = static_cast<int>(static_cast<int64_t>(a.groups) * a.tokens / a.frames);
    return launch_stage(*a.lif, a.frames, positions, a.channels, y, stream);
  }
  return launched();
}

AttentionArgs arguments(const int32_t* q, const int32_t* k, const int32_t* v) {
  AttentionArgs args{};
  args.q = q;
  args.k = k;
  args.v = v;
  return args;
}

}  // namespace
}  // namespace svf

size_t svf_cuda_attention_workspace(const svf_attention_params* params, int32_t staged) {
  if (params->heads < 1 || params->levels < 1) return 0;  // the operator says what is wrong
  const svf::AttentionShape shape{params->groups, params->tokens, params->channels, params->heads,
                                  params->levels};
  return sizeof(int32_t) * static_cast<size_t>(2 * shape.column_count() + shape.summary_count() +
                                               (staged != 0 ? shape.output_count() : 0));
}

svf_status svf_cuda_attention(const svf_attention_params* params, const int32_t* q, const int32_t* k,
                              const int32_t* v, int32_t* y, void* workspace, void* stream) {
  svf::AttentionArgs args = svf::arguments(q, k, v);
  args.y = y;
  if (svf_status status = svf::check_attention(params, false, &args)) return status;
  return svf::run(args, workspace, stream);
}

svf_status svf_cuda_attention_lif(const svf_attention_params* params, int32_t frames, const int32_t* q,
                                  const int32_t* k, const int32_t* v, const svf_lif_stage* lif,
                                  void* workspace, void* stream) {
  svf::AttentionArgs args = svf::arguments(q, k, v);
  args.lif = lif;
  args.frames = frames;
  if (svf_status status = svf::check_attention(params, true, &args)) return status;
  return svf::run(args, workspace, stream);
}

svf_status svf_cuda_causal_attention(const svf_attention_params* params, int32_t window, const int32_t* q,
                                     const int32_t* k, const int32_t* v, const int32_t* before,
                                     int32_t* summary, int32_t* y, const svf_lif_stage* lif, void* workspace,
                                     void* stream) {
  svf::AttentionArgs args = svf::arguments(q, k, v);
  args.y = y;
  args.lif = lif;
  args.window = window;
  args.before = before;
  args.summary = summary;
  if (svf_status status = svf::check_causal_attention(params, &args)) return status;
  return svf::run(args, workspace, stream);
}
