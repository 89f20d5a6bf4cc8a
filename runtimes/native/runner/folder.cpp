#include "folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "failure.h"
#include "sha256.h"

namespace svf {
namespace {

constexpr size_t kLongestName = 1024;
constexpr size_t kAlignment = 4096;

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '/')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

bool is_link(int folder, const std::string& name) {
  struct stat status;
  return fstatat(folder, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode);
}

size_t read_part(int file, void* into, size_t size, off_t offset, const std::string& path) {
  ssize_t got;
  do got = pread(file, into, size, offset);
  while (got < 0 && errno == EINTR);
  if (got < 0) throw Failure(Exit::kMachine, path + ": cannot be read (" + std::strerror(errno) + ")");
  return static_cast<size_t>(got);
}

}  // namespace

void Bytes::Free::operator()(uint8_t* data) const { std::free(data); }

Bytes::Bytes(size_t size) : size_(size) {
  void* data = nullptr;
  if (posix_memalign(&data, kAlignment, size ? size : 1) != 0) throw std::bad_alloc();
  data_.reset(static_cast<uint8_t*>(data));
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (number_ >= 0) close(number_);
    number_ = other.release();
  }
  return *this;
}

Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);
}

int Descriptor::release() { return std::exchange(number_, -1); }

bool stays_inside(const std::string& name) {
  if (name.empty() || name.size() > kLongestName) return false;
  for (const char c : name)
    if (c == '\\' || static_cast<unsigned char>(c) < 32 || c == 127) return false;
  for (const std::string& part : parts_of(name))
    if (part.empty() || part == "." || part == "..") return false;
  return true;
}

Folder::Folder(std::string path)
    : path_(std::move(path)), root_(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (root_.get() < 0)
    throw Failure(Exit::kBadBundle, path_ + ": not a bundle folder (" + std::strerror(errno) +
                                        "); make one with `svf-edge export`");
}

bool Folder::holds(const char* name) const {
  struct stat status;
  return fstatat(root_.get(), name, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

Descriptor Folder::open(const std::string& name) const {
  if (!stays_inside(name)) bad_bundle(path_ + ": the path '" + name + "' leaves the bundle");
  const std::vector<std::string> parts = parts_of(name);
  Descriptor step;
  int at = root_.get();
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool last = i + 1 == parts.size();
    // A pipe put in a file's place must not make us wait for its other end.
    const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | (last ? O_NONBLOCK : O_DIRECTORY);
    Descriptor next(openat(at, parts[i].c_str(), flags));
    if (next.get() < 0) {
      const int error = errno;
      if (is_link(at, parts[i]))
        bad_bundle(path(name) + ": is a link or reached over one, which could lead out");
      if (error == ENOENT || error == ENOTDIR) bad_bundle(path(name) + ": is missing");
      throw Failure(Exit::kMachine, path(name) + ": cannot be opened (" + std::strerror(error) + ")");
    }
    step = std::move(next);
    at = step.get();
  }
  struct stat status;
  if (fstat(at, &status) != 0 || !S_ISREG(status.st_mode)) bad_bundle(path(name) + ": not a regular file");
  return step;
}

void make_folder(const std::string& path) {
  if (mkdir(path.c_str(), 0777) != 0 && errno != EEXIST)
    throw Failure(Exit::kMachine, path + ": cannot be made (" + std::strerror(errno) + ")");
}

uint64_t file_size(const Descriptor& file, const std::string& path) {
  struct stat status;
  if (fstat(file.get(), &status) != 0)
    throw Failure(Exit::kMachine, path + ": cannot be read (" + std::strerror(errno) + ")");
  return static_cast<uint64_t>(status.st_size);
}

std::string hash_file(const Descriptor& file, const std::string& path) {
  std::vector<uint8_t> part(1 << 16);
  Sha256 hash;
  off_t offset = 0;
  while (const size_t got = read_part(file.get(), part.data(), part.size(), offset, path)) {
    hash.update(part.data(), got);
    offset += static_cast<off_t>(got);
  }
  return hash.hex();
}

Bytes read_file(const Descriptor& file, size_t size, const std::string& path) {
  Bytes bytes(size);
  for (size_t done = 0; done < size;) {
    const size_t got =
        read_part(file.get(), bytes.data() + done, size - done, static_cast<off_t>(done), path);
    if (got == 0) throw Failure(Exit::kMachine, path + ": became shorter while it was read");
    done += got;
  }
  return bytes;
}

}  // namespace svf
