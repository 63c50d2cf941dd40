#include "os/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "os/proc_files.h"

namespace warpgauge {
namespace {

// Names of a folder that are numbers, ascending; false when it cannot be opened.
bool ListNumbers(const std::string& folder, std::vector<pid_t>* numbers) {
  numbers->clear();
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) return false;
  while (const dirent64* entry = readdir64(dir)) {
    pid_t number = 0;
    const char* end = entry->d_name + std::strlen(entry->d_name);
    const auto [at, error] = std::from_chars(entry->d_name, end, number);
    if (error == std::errc() && at == end) numbers->push_back(number);
  }
  closedir(dir);
  std::sort(numbers->begin(), numbers->end());
  return true;
}

// The start of a small file; empty when it cannot be read, with errno.
std::string_view ReadStart(const std::string& path, char* buffer, size_t bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t n = read(fd, buffer, bytes);
  const int error = errno;
  close(fd);
  errno = error;
  return n > 0 ? std::string_view(buffer, static_cast<size_t>(n)) : std::string_view();
}

bool ReadStat(const std::string& root, pid_t pid, ProcStat* stat) {
  char buffer[1024];
  const std::string path = root + "/proc/" + std::to_string(pid) + "/stat";
  return ParseProcStat(ReadStart(path, buffer, sizeof(buffer)), stat);
}

}  // namespace

bool ListTasks(const std::string& root, pid_t pid, std::vector<pid_t>* tids) {
  return ListNumbers(root + "/proc/" + std::to_string(pid) + "/task", tids) && !tids->empty();
}

uint64_t StartTicks(const std::string& root, pid_t pid) {
  ProcStat stat;
  return ReadStat(root, pid, &stat) ? stat.start_ticks : 0;
}

void ProcessTree::Add(pid_t pid) {
  for (const Member& member : members_) {
    if (member.pid == pid) return;
  }
  const uint64_t start_ticks = StartTicks(root_, pid);
  if (start_ticks != 0) members_.push_back({pid, start_ticks});
}

// Children hang on the thread that made them, so every thread is asked.
void ProcessTree::AddChildren(pid_t pid) {
  const std::string tasks = root_ + "/proc/" + std::to_string(pid) + "/task";
  if (!ListNumbers(tasks, &tids_)) return;
  char buffer[16 * 1024];
  for (const pid_t tid : tids_) {
    const std::string path = tasks + "/" + std::to_string(tid) + "/children";
    errno = 0;
    std::string_view text = ReadStart(path, buffer, sizeof(buffer));
    if (text.empty() && errno == ENOENT &&
        access((tasks + "/" + std::to_string(tid)).c_str(), F_OK) == 0) {
      must_scan_ = true;
      return;
    }
    // "12 34 ": a number without its blank would be torn.
    while (true) {
      const size_t blank = text.find(' ');
      if (blank == std::string_view::npos) break;
      pid_t child = 0;
      const auto [at, error] = std::from_chars(text.data(), text.data() + blank, child);
      if (error == std::errc() && at == text.data() + blank) Add(child);
      text.remove_prefix(blank + 1);
    }
  }
}

void ProcessTree::AddByScan() {
  std::vector<pid_t> all;
  ListNumbers(root_ + "/proc", &all);
  std::vector<std::pair<pid_t, pid_t>> parents;  // child, parent
  for (const pid_t pid : all) {
    ProcStat stat;
    if (ReadStat(root_, pid, &stat)) parents.emplace_back(pid, static_cast<pid_t>(stat.parent_pid));
  }
  // By index, because Add makes it longer.
  for (size_t i = 0; i < members_.size(); i++) {  // NOLINT(modernize-loop-convert)
    for (const auto& [child, parent] : parents) {
      if (parent == members_[i].pid) Add(child);
    }
  }
}

const std::vector<pid_t>& ProcessTree::List() {
  std::erase_if(members_, [this](const Member& member) {
    return StartTicks(root_, member.pid) != member.start_ticks;
  });
  if (members_.empty()) Add(pid_);
  // The list grows while it is walked: children of children are found in the same pass.
  for (size_t i = 0; i < members_.size() && !must_scan_; i++) AddChildren(members_[i].pid);
  if (must_scan_) AddByScan();
  pids_.clear();
  for (const Member& member : members_) pids_.push_back(member.pid);
  return pids_;
}

}  // namespace warpgauge
