#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "os/perf_event.h"

namespace warpgauge {

// Counts the page faults of one process by perf: of every thread there is and that it makes later
// (not of children of fork), from the moment of opening. Linux 5.13 and later, because earlier
// kernels cannot follow threads without following children.
//
// The kernel counts a fault in getrusage first and, if it has the registers of an instruction that
// faulted, in perf right after it: so what getrusage has more are faults taken on behalf of the
// process inside the kernel, by MADV_POPULATE, mlock or pinning (get_user_pages).
//
// One thread at a time. A reading costs about 0.5 us per thread that was there at opening.
class ProcessFaultCounter {
 public:
  // False, with why() in the words of the `state` table, where perf does not count all of them:
  // "no_permission", "needs_linux_5.13", "too_many_threads", "tasks_unstable", "gone",
  // "not_supported". A counter of user faults only would call those of read(2) unseen.
  bool Open(pid_t pid, size_t most_tasks);
  [[nodiscard]] bool is_open() const { return !tasks_.empty(); }
  [[nodiscard]] const char* why() const { return why_; }
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] size_t tasks() const { return tasks_.size(); }

  // Minor plus major faults since opening; false when a reading failed.
  bool Read(uint64_t* faults);

 private:
  struct Task {
    PerfEventFd minor;  // leader of the group
    PerfEventFd major;
  };
  bool OpenTask(pid_t tid);

  std::vector<Task> tasks_;
  const char* why_ = "";
  int error_ = 0;
};

// Faults that perf did not see, from cumulative counts of both. Perf is read after getrusage, so
// that a fault between the two never counts as unseen: what this gives is never too high, and
// right as soon as the process is quiet for the time of two readings. Never falls.
class UnseenFaults {
 public:
  // A first pair of readings, perf *before* getrusage: nothing before it counts.
  void Start(uint64_t perf, uint64_t rusage) { before_ = rusage - perf; }
  // perf *after* getrusage.
  uint64_t Update(uint64_t rusage, uint64_t perf) {
    const auto unseen = static_cast<int64_t>(rusage - perf - before_);
    if (unseen > 0 && static_cast<uint64_t>(unseen) > most_) most_ = static_cast<uint64_t>(unseen);
    return most_;
  }

 private:
  uint64_t before_ = 0;
  uint64_t most_ = 0;
};

}  // namespace warpgauge
