#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "core/status.h"
#include "os/process_tree.h"

namespace warpgauge {

// The tasks that system calls are asked about: always of the /proc of this process' own pid
// namespace, because that is what the kernel takes their numbers for.
struct Task {
  pid_t pid = 0;
  pid_t tid = 0;
  // Tidy 14 takes the 0 inside a defaulted comparison for a null pointer.
  auto operator<=>(const Task&) const = default;  // NOLINT(modernize-use-nullptr)
};

// All threads of a process at this moment, sorted; with `tree` those of its descendants too. Empty
// when it is gone. A thread that comes or goes meanwhile may be missing: list again until two lists
// agree.
std::vector<Task> ListThreads(pid_t pid, ProcessTree* tree = nullptr);

// When a thread started, ns since boot in steps of a clock tick (10 ms as a rule); 0: it is gone.
uint64_t ThreadStartNs(const Task& task);

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
