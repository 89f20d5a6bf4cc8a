#include "child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include "failure.h"

namespace svf {
namespace {

constexpr size_t kLongestLog = 4096;

void pipe_into(Descriptor& from, Descriptor& to) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    throw Failure(Exit::kMachine,
                  std::string("no pipe to a process of our own (") + std::strerror(errno) + ")");
  from = Descriptor(ends[0]);
  to = Descriptor(ends[1]);
}

std::string last_line(const Descriptor& log) {
  const off_t end = lseek(log.get(), 0, SEEK_END);
  if (end <= 0) return "";
  std::string text(std::min<size_t>(static_cast<size_t>(end), kLongestLog), '\0');
  const ssize_t got = pread(log.get(), text.data(), text.size(), end - static_cast<off_t>(text.size()));
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  text.resize(text.find_last_not_of(" \n") + 1);
  const size_t line = text.find_last_of('\n');
  return line == std::string::npos ? text : text.substr(line + 1);
}

}  // namespace

void Channel::send(const nlohmann::json& message) {
  const std::string line = message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t sent = write(replies_.get(), line.data() + done, line.size() - done);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return;  // the other end is gone, which reading will tell
    done += static_cast<size_t>(sent);
  }
}

std::optional<nlohmann::json> Channel::receive() {
  size_t end;
  while ((end = buffer_.find('\n')) == std::string::npos) {
    char part[4096];
    const ssize_t got = read(requests_.get(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    buffer_.append(part, static_cast<size_t>(got));
  }
  const auto message = nlohmann::json::parse(buffer_.substr(0, end));
  buffer_.erase(0, end + 1);
  return message;
}

Child::Child(const std::function<void(Channel&)>& work) {
  Descriptor requests, to_child, replies, to_parent;
  pipe_into(requests, to_child);
  pipe_into(replies, to_parent);
  log_ = Descriptor(memfd_create("svf-run", MFD_CLOEXEC));
  signal(SIGPIPE, SIG_IGN);
  std::fflush(nullptr);
  process_ = fork();
  if (process_ < 0)
    throw Failure(Exit::kMachine, std::string("no process of our own (") + std::strerror(errno) + ")");
  if (process_ == 0) {
    // Runtimes print what they like; standard output is for the document alone.
    dup2(log_.get(), 1);
    dup2(log_.get(), 2);
    to_child = Descriptor();
    replies = Descriptor();
    {
      Channel channel(std::move(requests), std::move(to_parent));
      work(channel);
    }
    std::fflush(nullptr);
    _exit(0);  // the destructors of half a dozen libraries have nothing left to do
  }
  channel_.emplace(std::move(replies), std::move(to_child));
}

Child::~Child() {
  if (process_ <= 0) return;
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
}

nlohmann::json Child::receive() {
  if (auto reply = channel_->receive()) {
    if (reply->contains("absent")) throw Absent{(*reply)["absent"], (*reply)["bundle_is_short"]};
    if (reply->contains("failed")) throw ChildFailed{(*reply)["failed"]};
    return *reply;
  }
  int status = 0;
  waitpid(process_, &status, 0);
  process_ = -1;
  std::string how = WIFSIGNALED(status)
                        ? std::string("was killed by signal ") + std::to_string(WTERMSIG(status)) + " (" +
                              strsignal(WTERMSIG(status)) + ")"
                        : "ended with exit code " + std::to_string(WEXITSTATUS(status));
  const std::string line = last_line(log_);
  throw ChildFailed{"its process " + how + (line.empty() ? "" : ": " + line)};
}

bool answer(Channel& channel, const std::function<nlohmann::json()>& work) {
  try {
    channel.send(work());
    return true;
  } catch (const Absent& absent) {
    channel.send({{"absent", absent.reason}, {"bundle_is_short", absent.bundle_is_short}});
  } catch (const std::bad_alloc&) {
    channel.send({{"failed", "there is not enough memory for it on this machine"}});
  } catch (const std::exception& error) {
    channel.send({{"failed", error.what()}});
  }
  return false;
}

}  // namespace svf
