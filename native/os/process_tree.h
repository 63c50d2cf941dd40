#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace warpgauge {

// The threads of a process, ascending; false when the process is gone. `root` is put before
// "/proc".
bool ListTasks(const std::string& root, pid_t pid, std::vector<pid_t>* tids);

// When a process started, in clock ticks since boot (field 22 of its stat file): with the pid it
// names one process for as long as the machine is up. 0 when it is gone.
uint64_t StartTicks(const std::string& root, pid_t pid);

// A process and its descendants. A descendant stays in the tree when its parent ends before it:
// once found it is followed until it is gone itself. One thread at a time.
class ProcessTree {
 public:
  ProcessTree(std::string root, pid_t pid) : root_(std::move(root)), pid_(pid) {}

  // Looks again; the pids in the order in which they were found, the first one first. Costs some
  // microseconds per thread of the tree.
  const std::vector<pid_t>& List();
  // As on a kernel that does not list the children of a thread; tests.
  void set_must_scan(bool must_scan) { must_scan_ = must_scan; }

 private:
  struct Member {
    pid_t pid;
    uint64_t start_ticks;
  };
  void Add(pid_t pid);
  void AddChildren(pid_t pid);
  void AddByScan();

  std::string root_;
  pid_t pid_;
  // A kernel without CONFIG_PROC_CHILDREN: every process of the machine is asked for its parent.
  bool must_scan_ = false;
  std::vector<Member> members_;
  std::vector<pid_t> pids_;
  std::vector<pid_t> tids_;
};

}  // namespace warpgauge
