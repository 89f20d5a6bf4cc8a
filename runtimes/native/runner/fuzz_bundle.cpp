// libFuzzer harness of all that reads a bundle: the manifest, tensor files, and opening a folder of them.
//
// The first byte of an input says what the rest is: a manifest, a tensor file, or the manifest of a folder
// whose files are there, so that parsing goes on to paths, sizes and hashes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "bundle.h"
#include "failure.h"
#include "manifest.h"
#include "sha256.h"
#include "tensorfile.h"

namespace {

std::string scratch_folder() {
  const char* base = std::getenv("TMPDIR");
  std::string path = std::string(base == nullptr ? "/tmp" : base) + "/svf-fuzz-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) std::abort();
  return path;
}

void write_file(const std::string& path, const void* data, size_t size) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || write(file, data, size) != static_cast<ssize_t>(size) || close(file) != 0) std::abort();
}

// A folder with a link out of it, a subfolder and a file, and `manifest` for a manifest. The text @SHA256@ in
// it becomes the file's digest, and @LENGTH@ its size, so that mutations reach what lies behind these checks.
void open_folder(std::string manifest, const std::string& content) {
  static const std::string folder = scratch_folder();
  const auto fill = [&](const std::string& mark, const std::string& value) {
    for (size_t at; (at = manifest.find(mark)) != std::string::npos;)
      manifest.replace(at, mark.size(), value);
  };
  fill("@SHA256@", svf::sha256(content.data(), content.size()));
  fill("@LENGTH@", std::to_string(content.size()));
  mkdir((folder + "/golden").c_str(), 0700);
  if (symlink("/etc", (folder + "/link").c_str()) != 0 && errno != EEXIST) std::abort();
  write_file(folder + "/golden/0.safetensors", content.data(), content.size());
  write_file(folder + "/manifest.json", manifest.data(), manifest.size());
  const svf::Bundle bundle(folder);
  for (const svf::Golden& golden : bundle.manifest().golden) bundle.golden(golden);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] == 'm') {
      svf::parse_manifest(rest, "manifest.json");
    } else if (data[0] == 't') {
      for (const auto& [name, tensor] : svf::parse_tensors(data + 1, size - 1))
        for (size_t i = 0; i < tensor.bytes; i += 4096)
          static_cast<void>(*(volatile const uint8_t*)(tensor.data + i));
    } else if (data[0] == 'b') {
      const size_t end = rest.find('\0');  // the manifest, a zero byte, the file
      if (end != std::string::npos) open_folder(rest.substr(0, end), rest.substr(end + 1));
    }
  } catch (const svf::Failure&) {
  } catch (const std::invalid_argument&) {
  }
  return 0;
}

#ifdef SVF_REPLAY
// Without libFuzzer: runs the files it is given.
int main(int count, char** paths) {
  for (int i = 1; i < count; ++i) {
    std::FILE* file = std::fopen(paths[i], "rb");
    if (file == nullptr) return 2;
    std::string input;
    char part[4096];
    for (size_t got; (got = std::fread(part, 1, sizeof part, file)) > 0;) input.append(part, got);
    std::fclose(file);
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
  return 0;
}
#endif
