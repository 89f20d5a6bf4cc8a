#include "json.h"

#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace svf {
namespace {

constexpr int kDeepest = 64;

}  // namespace

nlohmann::json parse_json(std::string_view text) {
  using nlohmann::json;
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kDeepest) throw std::invalid_argument("nested too deeply");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw std::invalid_argument("the key '" + parsed.get<std::string>() + "' occurs twice");
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    const std::string what = error.what();
    const size_t end = what.find("] ");
    throw std::invalid_argument("not JSON: " + (end == std::string::npos ? what : what.substr(end + 2)));
  }
}

Reader::Reader(const nlohmann::json& value, std::string place, const Fault& fault)
    : value_(value), place_(std::move(place)), fault_(fault) {
  if (!value.is_object()) {
    fault_(place_, "an object was expected");
    std::abort();  // `fault` does not return
  }
}

std::string Reader::place(const std::string& key) const { return place_.empty() ? key : place_ + "." + key; }

void Reader::fail(const std::string& key, const std::string& what) const {
  fault_(place(key), what);
  std::abort();
}

const nlohmann::json& Reader::any(const char* key) {
  known_.insert(key);
  const auto found = value_.find(key);
  if (found == value_.end()) fail(key, "is missing");
  return *found;
}

bool Reader::has(const char* key) const {
  const auto found = value_.find(key);
  return found != value_.end() && !found->is_null();
}

std::string Reader::text(const char* key) {
  const nlohmann::json& value = any(key);
  if (!value.is_string()) fail(key, "a string was expected");
  return value.get<std::string>();
}

int64_t Reader::integer(const char* key, int64_t least, int64_t most) {
  const nlohmann::json& value = any(key);
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) &&
                    value.get<int64_t>() >= least && value.get<int64_t>() <= most;
  if (!fits)
    fail(key, "an integer in " + std::to_string(least) + ".." + std::to_string(most) + " was expected");
  return value.get<int64_t>();
}

const nlohmann::json& Reader::array(const char* key) {
  const nlohmann::json& value = any(key);
  if (!value.is_array()) fail(key, "a list was expected");
  return value;
}

const nlohmann::json& Reader::object(const char* key) {
  const nlohmann::json& value = any(key);
  if (!value.is_object()) fail(key, "an object was expected");
  return value;
}

void Reader::finish() const {
  for (const auto& [key, value] : value_.items())
    if (known_.count(key) == 0) fail(key, "is no entry that this svf-run knows");
}

}  // namespace svf
