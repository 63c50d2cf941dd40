#include "os/task_list.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

namespace warpgauge {
namespace {

std::vector<pid_t> NumbersIn(const std::string& folder) {
  std::vector<pid_t> numbers;
  DIR* entries = opendir(folder.c_str());
  if (entries == nullptr) return numbers;
  while (const dirent* entry = readdir(entries)) {
    const char* const end = entry->d_name + std::strlen(entry->d_name);
    pid_t number = 0;
    const auto [stop, error] = std::from_chars(entry->d_name, end, number);
    if (error == std::errc() && stop == end && number > 0) numbers.push_back(number);
  }
  closedir(entries);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// From the start of an open stat file.
bool ReadStat(int fd, TaskStat* stat) {
  static const int64_t kTicks = sysconf(_SC_CLK_TCK);
  char buffer[1024];
  const ssize_t size = pread(fd, buffer, sizeof(buffer), 0);
  return size > 0 && ParseTaskStat({buffer, static_cast<size_t>(size)}, kTicks, stat);
}

}  // namespace

std::vector<pid_t> ListTasks(pid_t pid) {
  return NumbersIn("/proc/" + std::to_string(pid) + "/task");
}

std::vector<pid_t> ListProcessTree(pid_t pid) {
  std::vector<std::pair<pid_t, pid_t>> parents;  // parent, child
  bool found = false;
  for (const pid_t each : NumbersIn("/proc")) {
    TaskStat stat;
    if (!ReadTaskStat(each, each, &stat)) continue;
    parents.emplace_back(stat.parent, each);
    found = found || each == pid;
  }
  std::vector<pid_t> tree;
  if (!found) return tree;
  std::sort(parents.begin(), parents.end());
  tree.push_back(pid);
  for (size_t i = 0; i < tree.size(); i++) {
    auto child = std::lower_bound(parents.begin(), parents.end(), std::pair{tree[i], pid_t{0}});
    for (; child != parents.end() && child->first == tree[i]; ++child) {
      tree.push_back(child->second);
    }
  }
  std::sort(tree.begin(), tree.end());
  return tree;
}

bool ParseTaskStat(std::string_view text, int64_t ticks_per_second, TaskStat* stat) {
  const size_t bracket = text.rfind(')');
  if (bracket == std::string_view::npos || ticks_per_second <= 0) return false;
  // Behind the command: state is field 3, the parent 4, the start 22.
  text.remove_prefix(bracket + 1);
  TaskStat result;
  for (int field = 3; field <= 22; field++) {
    const size_t from = text.find_first_not_of(" \n");
    if (from == std::string_view::npos) return false;
    text.remove_prefix(from);
    const std::string_view word = text.substr(0, text.find_first_of(" \n"));
    text.remove_prefix(word.size());
    const char* const end = word.data() + word.size();
    if (field == 3) result.state = word[0];
    if (field == 4) {
      const auto [stop, error] = std::from_chars(word.data(), end, result.parent);
      if (error != std::errc() || stop != end) return false;
    }
    if (field == 22) {
      uint64_t ticks = 0;
      const auto [stop, error] = std::from_chars(word.data(), end, ticks);
      if (error != std::errc() || stop != end) return false;
      const auto rate = static_cast<uint64_t>(ticks_per_second);
      result.start_ns = ticks / rate * 1000000000 + ticks % rate * 1000000000 / rate;
    }
  }
  *stat = result;
  return true;
}

bool ReadTaskStat(pid_t pid, pid_t tid, TaskStat* stat) {
  const std::string path =
      "/proc/" + std::to_string(pid) + "/task/" + std::to_string(tid) + "/stat";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool read = ReadStat(fd, stat);
  close(fd);
  return read;
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
    Status status("ERR_SYSCALL", path + ": " + std::strerror(errno));
    if (errno == EMFILE) status = std::move(status).WithFix("ulimit -n 1048576");
    return std::move(status).WithSource(path, errno);
  }
  if (watch.fd_ < 0 || watch.IsGone()) {
    return Status(
        "ERR_GONE",
        "Expected a running task but there is none with the number " + std::to_string(pid));
  }
  return watch;
}

bool TaskWatch::IsGone() const {
  TaskStat stat;
  if (!ReadStat(fd_, &stat)) return true;
  if (stat.state != 'Z' && stat.state != 'X') return false;
  // The first thread may have ended before the others.
  return ListTasks(pid_).size() <= 1;
}

}  // namespace warpgauge
