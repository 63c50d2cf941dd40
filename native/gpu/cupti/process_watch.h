#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace warpgauge {

// Field 22 of /proc/PID/stat; 0 when the text is no such line.
uint64_t StartTicksOf(std::string_view stat);
// The last number of the line NSpid of /proc/PID/status: the pid in the innermost namespace; 0 when
// there is none.
uint64_t InnermostPidOf(std::string_view status);
// The inode of the pid namespace that a process is in; 0: it has ended, or is not ours to ask.
uint32_t PidNamespaceOf(uint32_t pid);

// A process that said its pid and start: found in our own pid namespace, and watched until it ends.
// A pid alone would be another process one day. One thread.
class ProcessWatch {
 public:
  ProcessWatch() = default;
  ~ProcessWatch();
  ProcessWatch(const ProcessWatch&) = delete;
  ProcessWatch& operator=(const ProcessWatch&) = delete;

  // Looks for the process that calls itself `pid` and started `start_ticks` after boot: under that
  // pid, else as the innermost pid of any process. Of several, which live in pid namespaces of
  // their own, the one in `pid_namespace` (an inode; 0: not known). Opens files: for a new process
  // only.
  void Find(uint32_t pid, uint64_t start_ticks, uint32_t pid_namespace);
  // Its pid here; as it said it for one that had ended before it was looked for; 0: not known, for
  // this /proc hides it.
  [[nodiscard]] uint32_t pid() const { return pid_; }
  // True once it has ended. Of one that /proc hides nothing is known: false.
  bool HasEnded();

 private:
  uint32_t pid_ = 0;
  uint64_t start_ticks_ = 0;
  int pidfd_ = -1;
  bool has_ended_ = false;
};

}  // namespace warpgauge
