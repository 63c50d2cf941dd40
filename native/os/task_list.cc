#include "os/task_list.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "os/proc_files.h"

namespace warpgauge {
namespace {

// From the start of an open stat file; the command's name stays in `buffer`.
bool ReadStat(int fd, char* buffer, size_t bytes, ProcStat* stat) {
  const ssize_t size = pread(fd, buffer, bytes, 0);
  return size > 0 && ParseProcStat({buffer, static_cast<size_t>(size)}, stat);
}

}  // namespace

std::vector<Task> ListThreads(pid_t pid, ProcessTree* tree) {
  const std::vector<pid_t> pids = tree == nullptr ? std::vector<pid_t>{pid} : tree->List();
  std::vector<Task> tasks;
  std::vector<pid_t> tids;
  for (const pid_t each : pids) {
    if (!ListTasks("", each, &tids)) continue;
    for (const pid_t tid : tids) tasks.push_back({each, tid});
  }
  std::sort(tasks.begin(), tasks.end());
  return tasks;
}

uint64_t ThreadStartNs(const Task& task) {
  const std::string path =
      "/proc/" + std::to_string(task.pid) + "/task/" + std::to_string(task.tid) + "/stat";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char buffer[1024];
  ProcStat stat;
  const bool is_read = ReadStat(fd, buffer, sizeof(buffer), &stat);
  close(fd);
  static const auto kTicks = static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
  if (!is_read || stat.start_ticks == kMissing) return 0;
  return stat.start_ticks / kTicks * 1000000000 + stat.start_ticks % kTicks * 1000000000 / kTicks;
}

TaskWatch::TaskWatch(TaskWatch&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), pid_(other.pid_) {}

TaskWatch& TaskWatch::operator=(TaskWatch&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = std::exchange(other.fd_, -1);
    pid_ = other.pid_;
  }
  return *this;
}

TaskWatch::~TaskWatch() {
  if (fd_ >= 0) close(fd_);
}

Result<TaskWatch> TaskWatch::Open(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  TaskWatch watch;
  watch.pid_ = pid;
  watch.fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (watch.fd_ < 0 && errno != ENOENT && errno != ESRCH) {
    const int error = errno;
    return Status("ERR_SYSCALL", path + ": " + std::strerror(error))
        .WithFix(error == EMFILE ? "ulimit -n 1048576" : "")
        .WithSource(path, error);
  }
  if (watch.fd_ < 0 || watch.IsGone()) {
    return Status(
               "ERR_GONE",
               "Expected a running task but there is none with the number " + std::to_string(pid))
        .WithFix("ps -e -o pid,args");
  }
  return watch;
}

bool TaskWatch::IsGone() const {
  char buffer[1024];
  ProcStat stat;
  if (!ReadStat(fd_, buffer, sizeof(buffer), &stat)) return true;
  if (stat.state != 'Z' && stat.state != 'X') return false;
  // The first thread may have ended before the others.
  return ListThreads(pid_).size() <= 1;
}

}  // namespace warpgauge
