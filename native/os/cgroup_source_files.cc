#include "os/cgroup_source_files.h"

#include "os/text_scanner.h"

namespace warpgauge {
namespace {

struct IoKey {
  std::string_view name;  // with its equals sign
  uint64_t CgroupIo::*value;
};
constexpr IoKey kIoKeys[] = {
    {"rbytes=", &CgroupIo::read_bytes},
    {"wbytes=", &CgroupIo::written_bytes},
    {"rios=", &CgroupIo::reads},
    {"wios=", &CgroupIo::writes},
    {"dbytes=", &CgroupIo::discarded_bytes},
    {"dios=", &CgroupIo::discards},
};

// The whole of `text` as a number.
bool WholeNumber(std::string_view text, uint64_t* value) {
  const char* const end = text.data() + text.size();
  return ParseU64(text.data(), end, value) == end && !text.empty();
}

// Blanks, tabs, newlines and backslashes of a path stand in octal: \040.
std::string Unescape(std::string_view text) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string result;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] <= '3' && is_octal(text[i + 1]) &&
        is_octal(text[i + 2]) && is_octal(text[i + 3])) {
      result += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                  (text[i + 3] - '0'));
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace

bool ParseCgroupIoLine(std::string_view line, CgroupIo* io) {
  WordScanner words(line);
  const std::string_view device = words.Word();
  const size_t colon = device.find(':');
  uint64_t major = 0;
  uint64_t minor = 0;
  if (colon == std::string_view::npos || !WholeNumber(device.substr(0, colon), &major) ||
      !WholeNumber(device.substr(colon + 1), &minor) || major > UINT32_MAX || minor > UINT32_MAX) {
    return false;
  }
  *io = {};
  io->major = static_cast<uint32_t>(major);
  io->minor = static_cast<uint32_t>(minor);
  while (true) {
    const std::string_view word = words.Word();
    if (word.empty()) return true;
    for (const IoKey& key : kIoKeys) {
      if (word.substr(0, key.name.size()) != key.name) continue;
      uint64_t value = 0;
      if (WholeNumber(word.substr(key.name.size()), &value)) io->*key.value = value;
      break;
    }
  }
}

std::string Cgroup2MountPoint(std::string_view mountinfo) {
  constexpr int kMountPoint = 4;  // after id, parent, device and root
  LineScanner lines(mountinfo);
  std::string_view line;
  while (lines.Next(&line)) {
    const size_t separator = line.find(" - ");
    if (separator == std::string_view::npos) continue;
    WordScanner tail(line.substr(separator + 3));
    if (tail.Word() != "cgroup2") continue;
    WordScanner words(line);
    for (int i = 0; i < kMountPoint; i++) words.Word();
    return Unescape(words.Word());
  }
  return {};
}

std::string_view Cgroup2Path(std::string_view cgroup) {
  constexpr std::string_view kUnified = "0::";
  while (!cgroup.empty()) {
    const size_t end = cgroup.find('\n');
    const std::string_view line = cgroup.substr(0, end);
    if (line.substr(0, kUnified.size()) == kUnified) return line.substr(kUnified.size());
    if (end == std::string_view::npos) break;
    cgroup.remove_prefix(end + 1);
  }
  return {};
}

bool HasWord(std::string_view list, std::string_view word) {
  WordScanner words(list.substr(0, list.find('\n')));
  while (true) {
    const std::string_view one = words.Word();
    if (one.empty()) return false;
    if (one == word) return true;
  }
}

bool ParseHugetlbName(std::string_view file, std::string* size, std::string* prefix) {
  constexpr std::string_view kStart = "hugetlb.";
  constexpr std::string_view kEnd = ".current";
  if (file.substr(0, kStart.size()) != kStart || file.size() <= kStart.size() + kEnd.size() ||
      file.substr(file.size() - kEnd.size()) != kEnd) {
    return false;
  }
  const std::string_view name =
      file.substr(kStart.size(), file.size() - kStart.size() - kEnd.size());
  uint64_t number = 0;
  const char* const end = name.data() + name.size();
  const char* const unit = ParseU64(name.data(), end, &number);
  if (unit == nullptr || end - unit != 2 || unit[1] != 'B') return false;  // and not "2MB.rsvd"
  *size = std::string(name.substr(0, static_cast<size_t>(unit - name.data())));
  *size += static_cast<char>(unit[0] | 0x20);  // "2MB" is "2m"
  *prefix = std::string(kStart) + std::string(name) + ".";
  return true;
}

}  // namespace warpgauge
