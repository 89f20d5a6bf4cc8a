// JSON from untrusted bytes, and strict reading of it.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>

namespace svf {

// Parses a whole text. Refuses deep nesting and keys that occur twice, which readers take differently.
// Throws std::invalid_argument with a short reason.
nlohmann::json parse_json(std::string_view text);

// Reads an object of known keys; every fault is given to `fault` with the place, which must not return.
class Reader {
 public:
  using Fault = std::function<void(const std::string& place, const std::string& what)>;

  Reader(const nlohmann::json& value, std::string place, const Fault& fault);

  std::string text(const char* key);
  int64_t integer(const char* key, int64_t least, int64_t most);
  const nlohmann::json& array(const char* key);
  const nlohmann::json& object(const char* key);
  const nlohmann::json& any(const char* key);
  bool has(const char* key) const;  // there, and not null
  // Takes note of a key that may be absent.
  void optional(const char* key) { known_.insert(key); }
  // Faults on keys that nothing was read from.
  void finish() const;

  std::string place(const std::string& key) const;
  [[noreturn]] void fail(const std::string& key, const std::string& what) const;

 private:
  const nlohmann::json& value_;
  std::string place_;
  const Fault& fault_;
  std::set<std::string> known_;
};

}  // namespace svf
