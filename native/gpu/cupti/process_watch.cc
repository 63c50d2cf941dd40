#include "gpu/cupti/process_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace warpgauge {
namespace {

// Fields of stat and the head of status fit easily.
struct ProcText {
  char bytes[4096];
  size_t size = 0;
  [[nodiscard]] std::string_view view() const { return {bytes, size}; }
};

bool ReadProc(uint32_t pid, const char* file, ProcText* text) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%u/%s", pid, file);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t got = read(fd, text->bytes, sizeof text->bytes);
  close(fd);
  text->size = got > 0 ? static_cast<size_t>(got) : 0;
  return got > 0;
}

bool Started(uint32_t pid, uint64_t start_ticks) {
  ProcText stat;
  return ReadProc(pid, "stat", &stat) && StartTicksOf(stat.view()) == start_ticks;
}

uint64_t NumberAt(std::string_view text, size_t* at) {
  uint64_t number = 0;
  while (*at < text.size() && text[*at] >= '0' && text[*at] <= '9') {
    number = number * 10 + static_cast<uint64_t>(text[(*at)++] - '0');
  }
  return number;
}

}  // namespace

uint64_t StartTicksOf(std::string_view stat) {
  // The command stands in brackets and may hold anything, also brackets: the last one ends it.
  const size_t bracket = stat.rfind(')');
  if (bracket == std::string_view::npos) return 0;
  size_t at = bracket + 1;
  for (int field = 3; field <= 22; field++) {
    if (at >= stat.size() || stat[at] != ' ') return 0;
    at++;
    if (field == 22) break;
    at = stat.find(' ', at);
    if (at == std::string_view::npos) return 0;
  }
  return NumberAt(stat, &at);
}

uint64_t InnermostPidOf(std::string_view status) {
  constexpr std::string_view kLabel = "\nNSpid:";
  size_t at = status.find(kLabel);
  if (at == std::string_view::npos) return 0;
  at += kLabel.size();
  uint64_t last = 0;
  while (at < status.size() && status[at] != '\n') {
    if (status[at] >= '0' && status[at] <= '9') {
      last = NumberAt(status, &at);
    } else {
      at++;
    }
  }
  return last;
}

ProcessWatch::~ProcessWatch() {
  if (pidfd_ >= 0) close(pidfd_);
}

uint32_t PidNamespaceOf(uint32_t pid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%u/ns/pid", pid);
  char link[32];
  const ssize_t got = readlink(path, link, sizeof link);
  const std::string_view text(link, got > 0 ? static_cast<size_t>(got) : 0);
  size_t at = text.find('[');
  return at++ == std::string_view::npos ? 0 : static_cast<uint32_t>(NumberAt(text, &at));
}

void ProcessWatch::Find(uint32_t pid, uint64_t start_ticks, uint32_t pid_namespace) {
  if (pidfd_ >= 0) close(pidfd_);
  pidfd_ = -1;
  pid_ = 0;
  has_ended_ = false;
  start_ticks_ = start_ticks;
  if (start_ticks == 0 || pid == 0 || pid > INT32_MAX) return;
  // Whether `other` is the one; of those that may be, because we may not ask, the first.
  const auto is_it = [&](uint32_t other) {
    ProcText status;
    if (!Started(other, start_ticks) || !ReadProc(other, "status", &status)) return false;
    const uint64_t innermost = InnermostPidOf(status.view());
    if (innermost != pid && (innermost != 0 || other != pid)) return false;
    const uint32_t inode = pid_namespace == 0 ? 0 : PidNamespaceOf(other);
    if (inode != 0 && inode != pid_namespace) return false;
    if (pid_ == 0) pid_ = other;
    if (inode != 0 || pid_namespace == 0) pid_ = other;
    return inode != 0 || pid_namespace == 0;
  };
  if (!is_it(pid)) {
    if (DIR* folder = opendir("/proc")) {
      while (const dirent* entry = readdir(folder)) {
        const auto other = static_cast<uint32_t>(std::strtoul(entry->d_name, nullptr, 10));
        if (other != 0 && other != pid && is_it(other)) break;
      }
      closedir(folder);
    }
  }
  if (pid_ == 0) {
    // All that we start stays visible to us, also in pid namespaces of its own: it has ended,
    // unless this /proc hides processes of others.
    ProcText stat;
    has_ended_ = ReadProc(1, "stat", &stat) && StartTicksOf(stat.view()) != start_ticks;
    if (has_ended_) pid_ = pid;
    return;
  }
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, static_cast<pid_t>(pid_), 0));
  // Between the two looks it may have become another one.
  if (!Started(pid_, start_ticks)) has_ended_ = true;
}

bool ProcessWatch::HasEnded() {
  if (has_ended_ || pid_ == 0) return has_ended_;
  if (pidfd_ < 0) {  // before Linux 5.3, or too few descriptors
    has_ended_ = !Started(pid_, start_ticks_);
    return has_ended_;
  }
  pollfd poll_one{pidfd_, POLLIN, 0};
  has_ended_ = poll(&poll_one, 1, 0) > 0;
  return has_ended_;
}

}  // namespace warpgauge
