// Reading files below one folder, and nowhere else: names that lead out of it and links are refused.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace svf {

// Bytes of a file, at an address that suits every graph format (constants in it are used in place).
class Bytes {
 public:
  explicit Bytes(size_t size);
  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(uint8_t* data) const;
  };
  std::unique_ptr<uint8_t, Free> data_;
  size_t size_;
};

// An open file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const { return number_; }
  int release();

 private:
  int number_;
};

// Whether `name` is a plain relative POSIX path: no "..", ".", empty part, backslash or control character in
// it.
bool stays_inside(const std::string& name);

class Folder {
 public:
  // Failure (bad bundle) when `path` is no folder.
  explicit Folder(std::string path);

  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  // Whether there is anything called `name` directly in the folder.
  bool holds(const char* name) const;
  // Opens the regular file `name`. Failure (bad bundle) when it is missing, a link, or reached over one.
  Descriptor open(const std::string& name) const;

 private:
  std::string path_;
  Descriptor root_;
};

// A folder for results. Failure (machine) when there is none and it cannot be made.
void make_folder(const std::string& path);

uint64_t file_size(const Descriptor& file, const std::string& path);
// SHA-256 of a whole file, read in small parts.
std::string hash_file(const Descriptor& file, const std::string& path);
// The first `size` bytes. Failure (machine) when the file is shorter or cannot be read.
Bytes read_file(const Descriptor& file, size_t size, const std::string& path);

}  // namespace svf
