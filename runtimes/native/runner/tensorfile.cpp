#include "tensorfile.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "json.h"

namespace svf {
namespace {

constexpr uint64_t kLargestHeader = 1 << 20;
constexpr size_t kMostAxes = 8;

const std::map<std::string, uint64_t> kWidths = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
    {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"F64", 8},     {"I64", 8}, {"U64", 8}};

[[noreturn]] void fault(const std::string& place, const std::string& what) {
  throw std::invalid_argument(place.empty() ? what : place + ": " + what);
}

uint64_t size_at(const nlohmann::json& list, size_t index, Reader& entry, const char* key) {
  const nlohmann::json& value = list[index];
  if (!value.is_number_unsigned()) entry.fail(key, "sizes of at least 0 were expected");
  return value.get<uint64_t>();
}

}  // namespace

std::map<std::string, TensorView> parse_tensors(const uint8_t* data, size_t size) {
  if (size < 8) fault("", "shorter than a header");
  uint64_t header = 0;
  for (int i = 7; i >= 0; --i) header = header << 8 | data[i];
  if (header > kLargestHeader || header > size - 8) fault("", "the header does not fit into the file");
  const auto root = parse_json({reinterpret_cast<const char*>(data) + 8, static_cast<size_t>(header)});
  if (!root.is_object()) fault("", "the header is no object");
  const uint8_t* tensors = data + 8 + header;
  const uint64_t room = size - 8 - header;

  const Reader::Fault faults = fault;
  std::map<std::string, TensorView> found;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const auto& [name, value] : root.items()) {
    if (name == "__metadata__") continue;
    Reader entry(value, name, faults);
    TensorView view{entry.text("dtype"), {}, nullptr, 0};
    const auto width = kWidths.find(view.dtype);
    if (width == kWidths.end()) entry.fail("dtype", "'" + view.dtype + "' is not known");
    const nlohmann::json& shape = entry.array("shape");
    if (shape.size() > kMostAxes) entry.fail("shape", "too many axes");
    uint64_t bytes = width->second;
    for (size_t i = 0; i < shape.size(); ++i) {
      const uint64_t length = size_at(shape, i, entry, "shape");
      if (length > room || (length != 0 && bytes > room / length))
        entry.fail("shape", "larger than the file");
      bytes *= length;
      view.shape.push_back(static_cast<int64_t>(length));
    }
    const nlohmann::json& offsets = entry.array("data_offsets");
    if (offsets.size() != 2) entry.fail("data_offsets", "two offsets were expected");
    const uint64_t begin = size_at(offsets, 0, entry, "data_offsets"),
                   end = size_at(offsets, 1, entry, "data_offsets");
    if (begin > end || end > room) entry.fail("data_offsets", "outside the file");
    if (end - begin != bytes) entry.fail("data_offsets", "do not fit the shape");
    entry.finish();
    view.data = tensors + begin;
    view.bytes = static_cast<size_t>(bytes);
    ranges.emplace_back(begin, end);
    found.emplace(name, std::move(view));
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t reached = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin != reached) fault("", "tensors overlap or leave gaps");
    reached = end;
  }
  if (reached != room) fault("", "there are bytes that belong to no tensor");
  return found;
}

}  // namespace svf
