#include "os/cpu_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

namespace warpgauge {
namespace {

// One line of sysfs without its newline; empty when the file is not there.
std::string ReadLine(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[64];
  const ssize_t n = read(fd, text, sizeof(text));
  close(fd);
  std::string line(text, n > 0 ? static_cast<size_t>(n) : 0);
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  return line;
}

}  // namespace

uint64_t ParseCacheSize(const std::string& text) {
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc()) return 0;
  if (stop == end) return value;
  if (stop + 1 != end) return 0;
  switch (*stop) {
    case 'K':
      return value << 10;
    case 'M':
      return value << 20;
    case 'G':
      return value << 30;
    default:
      return 0;
  }
}

uint64_t LastLevelCacheBytes(const std::string& root) {
  const std::string base = root + "/sys/devices/system/cpu/cpu0/cache/index";
  uint64_t bytes = 0;
  uint64_t highest = 0;
  // The kernel numbers them without gaps.
  for (int index = 0;; index++) {
    const std::string folder = base + std::to_string(index);
    const uint64_t level = ParseCacheSize(ReadLine(folder + "/level"));
    if (level == 0) return bytes;
    if (level < highest || ReadLine(folder + "/type") == "Instruction") continue;
    const uint64_t size = ParseCacheSize(ReadLine(folder + "/size"));
    if (size == 0) continue;
    highest = level;
    bytes = size;
  }
}

}  // namespace warpgauge
