#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace warpgauge {

// The tasks of processes, from /proc. Always the /proc of this process' own pid namespace: whoever
// asks hands the numbers to system calls.

// The threads of `pid` at this moment, sorted; empty when there is no such process. A thread that
// comes or goes meanwhile may be missing: list again until two lists agree.
std::vector<pid_t> ListTasks(pid_t pid);

// `pid` and its descendants at this moment, sorted; empty when there is no such process.
// Descendants whose parent has ended belong to another process by then and are not found.
std::vector<pid_t> ListProcessTree(pid_t pid);

struct TaskStat {
  char state = '?';  // Z, X: ended
  pid_t parent = 0;
  uint64_t start_ns = 0;  // since boot, in steps of one clock tick (10 ms as a rule)
};
// The content of /proc/PID/stat or /proc/PID/task/TID/stat. False when it is no such line; the
// command in it may hold anything, brackets and newlines too.
bool ParseTaskStat(std::string_view text, int64_t ticks_per_second, TaskStat* stat);

// False when there is no such task.
bool ReadTaskStat(pid_t pid, pid_t tid, TaskStat* stat);

// Tells when a process or thread has ended, by the file it was opened with: a new task that gets
// the same number is not taken for it. Move-only.
class TaskWatch {
 public:
  TaskWatch() = default;
  TaskWatch(TaskWatch&& other) noexcept;
  TaskWatch& operator=(TaskWatch&& other) noexcept;
  TaskWatch(const TaskWatch&) = delete;
  TaskWatch& operator=(const TaskWatch&) = delete;
  ~TaskWatch();

  // ERR_GONE when there is no such task, ERR_SYSCALL when its file does not open.
  static Result<TaskWatch> Open(pid_t pid);
  // Gone, or a zombie without other threads. One system call and no allocation while it runs.
  [[nodiscard]] bool IsGone() const;

 private:
  int fd_ = -1;
  pid_t pid_ = 0;
};

}  // namespace warpgauge
