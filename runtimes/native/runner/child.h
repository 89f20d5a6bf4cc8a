// Work in a process of its own, so that a runtime which crashes or runs out of memory takes nothing with it.
#pragma once

#include <sys/types.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "folder.h"

namespace svf {

// The child's end: one line of JSON each way.
class Channel {
 public:
  Channel(Descriptor requests, Descriptor replies)
      : requests_(std::move(requests)), replies_(std::move(replies)) {}
  void send(const nlohmann::json& message);
  // Nothing once the other end is closed.
  std::optional<nlohmann::json> receive();

 private:
  Descriptor requests_, replies_;
  std::string buffer_;
};

class Child {
 public:
  // Forks. What the child prints goes to no terminal; only its last line is kept, to be told when it dies.
  explicit Child(const std::function<void(Channel&)>& work);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  void send(const nlohmann::json& message) { channel_->send(message); }
  // The next reply. Throws Absent or ChildFailed, as the child's work did, or because it died.
  nlohmann::json receive();

 private:
  pid_t process_ = -1;
  Descriptor log_;
  std::optional<Channel> channel_;
};

struct ChildFailed {
  std::string sentence;
};

// In the child: sends what `work` returns, or what it threw. Whether it returned.
bool answer(Channel& channel, const std::function<nlohmann::json()>& work);

}  // namespace svf
