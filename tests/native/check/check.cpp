// Runs every operator of the C API on random shapes, on every kernel set of this machine, and compares what
// it wrote with the reference set byte by byte: svf_check [cases of each operator] [kernel set] Prints one
// line per kernel set and exits with 1 where a byte differs.
#include <algorithm>
#include <string>
#include <vector>

#include "cases.h"

namespace {

using namespace svf::check;

// Fields of 4 and 2 bits against arithmetic on whole numbers; has no kernel sets.
void check_unpacking(Random& random) {
  for (int bits : {4, 2})
    for (int size : {0, 1, 2, 3, 4, 7, 64, 65}) {
      Tensor<uint8_t> packed(static_cast<size_t>(size * bits + 7) / 8);
      Tensor<int8_t> weight(static_cast<size_t>(size));
      std::memset(packed.get(), 0, packed.bytes());
      const int half = 1 << (bits - 1);
      std::vector<int> expected;
      for (int i = 0; i < size; ++i) {
        expected.push_back(random.between(1 - half, half - 1));
        const int field = (expected.back() + 2 * half) % (2 * half);
        packed[static_cast<size_t>(i * bits / 8)] |= static_cast<uint8_t>(field << (i * bits % 8));
      }
      require(svf_unpack_weights(packed.get(), bits, size, weight.get()), "weight unpacking");
      for (int i = 0; i < size; ++i)
        if (weight[static_cast<size_t>(i)] != expected[static_cast<size_t>(i)])
          stop("unpacked weights differ");
    }
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 100;
  const std::string only = argc > 2 ? argv[2] : "";
  if (cases < 1 || argc > 3) {
    std::fprintf(stderr, "usage: svf_check [cases of each operator] [kernel set]\n");
    return 2;
  }
  std::vector<std::string> sets;
  const std::string available = svf_available_isas();
  for (size_t from = 0, to; from < available.size(); from = to + 1) {
    to = std::min(available.find(' ', from), available.size());
    const std::string set = available.substr(from, to - from);
    if (set != "reference" && (only.empty() || set == only)) sets.push_back(set);
  }
  if (sets.empty()) {
    std::fprintf(stderr, "svf_check: there is no kernel set '%s' here: %s\n", only.c_str(),
                 available.c_str());
    return 2;
  }
  Random random(1);
  check_unpacking(random);
  const Way ways[] = {{SVF_AUTO, false, false}, {SVF_EVENT, false, true},  {SVF_DENSE, true, true},
                      {SVF_EVENT, true, false}, {SVF_DENSE, false, false}, {SVF_AUTO, true, true}};
  std::vector<int> runs(sets.size()), differing(sets.size());
  for (int i = 0; i < cases; ++i)
    for (int kind = 0; kind < kKinds; ++kind) {
      const auto test = make_case(kind, static_cast<uint64_t>(i) * kKinds + static_cast<uint64_t>(kind));
      require(svf_set_isa("reference"), "reference");
      const Written expected = test->run(kCore, ways[0]);
      for (size_t s = 0; s < sets.size(); ++s) {
        require(svf_set_isa(sets[s].c_str()), "kernel set");
        for (const Way& way : ways) {
          ++runs[s];
          if (test->run(kCore, way) == expected) continue;
          if (++differing[s] <= 5)
            std::printf("%s differs (density %d, threads %d, prepared %d): %s\n", sets[s].c_str(),
                        way.density, way.threads, way.prepared, test->name().c_str());
        }
      }
    }
  bool bad = false;
  for (size_t s = 0; s < sets.size(); ++s) {
    std::printf("%s: %d runs, %d differ\n", sets[s].c_str(), runs[s], differing[s]);
    bad = bad || differing[s] != 0;
  }
  return bad ? 1 : 0;
}
