#pragma once

#include <cstdint>

#include "core/status.h"

namespace warpgauge {

// One perf event that counts the thread that opened it, from the moment of opening. Owns the
// descriptor; move-only; opened, read and destroyed on the counted thread. Children and
// other threads are not counted: `inherit` would add their faults, and makes each read
// dearer with every thread.
//
// A software page-fault count misses what the kernel faults in for pinning and
// population (get_user_pages): getrusage(RUSAGE_THREAD) sees those, and the difference
// of the two tells them apart.
class PerfCounter {
 public:
  PerfCounter() = default;
  PerfCounter(PerfCounter&& other) noexcept;
  PerfCounter& operator=(PerfCounter&& other) noexcept;
  PerfCounter(const PerfCounter&) = delete;
  PerfCounter& operator=(const PerfCounter&) = delete;
  ~PerfCounter();

  // `type` and `config` as in perf_event_attr. Fails with ERR_PERMISSION (paranoid level, container
  // seccomp profile) or ERR_SYSCALL (ENOENT: this CPU or hypervisor has no such event); the errno
  // is the status number. Counting the kernel needs CAP_PERFMON or kernel.perf_event_paranoid <= 1.
  static Result<PerfCounter> OpenForThread(uint32_t type, uint64_t config, bool exclude_kernel);

  // Cumulative count since opening. One system call, no allocation. false: not open, or the read
  // failed (the event was in an error state); `*value` is then untouched.
  [[nodiscard]] bool Read(uint64_t* value);

  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  // As of the last Read, ns. Running below enabled: the counter was multiplexed and its value is
  // not the whole count. It is not scaled up here, because an estimate is no count.
  [[nodiscard]] uint64_t time_enabled_ns() const { return time_enabled_ns_; }
  [[nodiscard]] uint64_t time_running_ns() const { return time_running_ns_; }

 private:
  int fd_ = -1;
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
