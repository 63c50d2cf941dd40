#pragma once

#include <linux/perf_event.h>
#include <sys/types.h>

#include <cstdint>
#include <utility>

#include "core/status.h"

namespace warpgauge {

// The descriptor of one perf event; closed with its owner. Move-only.
class PerfEventFd {
 public:
  PerfEventFd() = default;
  explicit PerfEventFd(int fd) : fd_(fd) {}
  PerfEventFd(PerfEventFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  PerfEventFd& operator=(PerfEventFd&& other) noexcept;
  PerfEventFd(const PerfEventFd&) = delete;
  PerfEventFd& operator=(const PerfEventFd&) = delete;
  ~PerfEventFd();

  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// What an event counts, as perf_event_open(2) takes it.
struct PerfEventTarget {
  // A task, 0 for the calling one, -1 for all tasks of `cpu`, or with `is_cgroup` the descriptor of
  // a cgroup folder.
  pid_t pid = 0;
  int cpu = -1;  // -1: every CPU, for tasks only
  bool is_cgroup = false;
};

// The one way to open an event: every other file comes through here. `group` is the descriptor of
// the leader, -1 for none. Fails with the errno as the status number and
//   ERR_PERMISSION   the paranoid level, a missing capability or a container's seccomp profile
//   ERR_GONE         no such task
//   ERR_UNAVAILABLE  this kernel, CPU or hypervisor has no such event (ENOENT, EOPNOTSUPP, ...)
//   ERR_SYSCALL      anything else; EMFILE names `ulimit -n`
Result<PerfEventFd> OpenPerfEvent(const perf_event_attr& attr,
                                  const PerfEventTarget& target,
                                  int group = -1);

// An attribute of this type and config with nothing else set.
perf_event_attr MakePerfEventAttr(uint32_t type, uint64_t config);

// One perf event that counts the thread that opened it, from the moment of opening. Move-only;
// opened, read and destroyed on the counted thread. Children and other threads are not counted:
// `inherit` would add their faults, and makes each read dearer with every thread.
//
// A software page-fault count misses what the kernel faults in for pinning and
// population (get_user_pages): getrusage(RUSAGE_THREAD) sees those, and the difference
// of the two tells them apart.
class PerfCounter {
 public:
  // `type` and `config` as in perf_event_attr. Fails as OpenPerfEvent does. Counting the kernel
  // needs CAP_PERFMON or kernel.perf_event_paranoid <= 1.
  static Result<PerfCounter> OpenForThread(uint32_t type, uint64_t config, bool exclude_kernel);

  // Cumulative count since opening. One system call, no allocation. false: not open, or the read
  // failed (the event was in an error state); `*value` is then untouched.
  [[nodiscard]] bool Read(uint64_t* value);

  [[nodiscard]] bool is_open() const { return fd_.is_open(); }
  // As of the last Read, ns. Running below enabled: the counter was multiplexed and its value is
  // not the whole count. It is not scaled up here, because an estimate is no count.
  [[nodiscard]] uint64_t time_enabled_ns() const { return time_enabled_ns_; }
  [[nodiscard]] uint64_t time_running_ns() const { return time_running_ns_; }

 private:
  PerfEventFd fd_;
  uint64_t time_enabled_ns_ = 0;
  uint64_t time_running_ns_ = 0;
};

// Software page faults of this thread: kernel and user where allowed, else user only. `*scope`
// becomes "user+kernel", "user", or nullptr when neither opens (the status is that of the user-only
// attempt). User only misses the faults of kernel copies, such as read(2) into an untouched buffer.
Result<PerfCounter> OpenPageFaults(const char** scope);

// Data-TLB load misses of this thread, user and kernel where allowed, else user only. Many virtual
// machines have none (ENOENT). `*scope` as above.
Result<PerfCounter> OpenDtlbLoadMisses(const char** scope);

}  // namespace warpgauge
