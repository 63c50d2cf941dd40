#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"
#include "os/fault_ring.h"
#include "os/perf_event.h"

namespace warpgauge {

// Whose page faults are sampled.
struct FaultTarget {
  enum class Scope : uint8_t { kProcess, kTree, kSystem };
  Scope scope = Scope::kProcess;
  pid_t pid = 0;  // of the process, or of the root of the tree
};

// The perf events that sample page faults, minor and major, each with its address, and one mapped
// ring per CPU that they write to together with records of mmap, exec, fork and exit. Owns the
// descriptors and the rings; one thread at a time.
//
// A process is all its tasks on every CPU (an event with `inherit` cannot have a ring for all
// CPUs: EINVAL). Beyond kMaxEvents of those, one event per CPU for the whole machine is opened
// instead, and records of others are filtered out here.
class FaultEvents {
 public:
  struct Attributes {
    bool exclude_kernel = false;
    bool inherit = false;
    bool threads_only = false;  // children of fork are not inherited to (Linux 5.13)
  };
  static constexpr size_t kMaxEvents = 4096;

  // ERR_GONE, ERR_PERMISSION with the sysctl to set, ERR_UNAVAILABLE (descriptors, old kernel).
  // `ring_bytes`: per CPU, a power of two; 0: up to 2 MiB each and 64 MiB together, less where the
  // kernel allows less to be locked.
  static Result<FaultEvents> Open(const FaultTarget& target, size_t ring_bytes);

  std::vector<FaultRing>& rings() { return rings_; }
  // Whether a record is about the target; follows forks of a filtered tree, so every record must be
  // shown to it, in order of time.
  bool IsWanted(const RingRecord& record);
  [[nodiscard]] bool IsMajor(uint64_t id) const;

  // Kernel mode is not sampled (kernel.perf_event_paranoid): faults of read(2) and the like into
  // untouched memory are missing.
  [[nodiscard]] bool is_user_only() const { return is_user_only_; }
  // Threads came and went all the time while the events were opened, so that some may be sampled
  // twice or not at all.
  [[nodiscard]] bool is_unstable() const { return is_unstable_; }
  [[nodiscard]] size_t ring_bytes() const { return rings_.empty() ? 0 : rings_[0].bytes(); }
  [[nodiscard]] size_t events() const { return events_.size(); }
  // Of all rings; fixed after opening.
  [[nodiscard]] int64_t memory_bytes() const {
    return static_cast<int64_t>(rings_.size() * ring_bytes());
  }

 private:
  Status OpenTargets();
  // Opens both events of one task (-1: every task) on every CPU; Ok also when the task has gone.
  Status OpenTask(pid_t tid, const Attributes& attributes);
  // Which attributes this kernel and user may have, tried on one task.
  [[nodiscard]] Result<Attributes> ProbeAttributes(pid_t tid) const;
  Status OpenSystem();
  Status MapRings(size_t ring_bytes);
  void CloseEvents();

  FaultTarget target_;
  bool is_filtered_ = false;
  bool is_user_only_ = false;
  bool is_unstable_ = false;
  std::vector<pid_t> wanted_;  // of a filtered tree, ascending
  std::vector<int> cpus_;
  struct Event {
    PerfEventFd fd;
    size_t cpu;  // index in cpus_
  };
  std::vector<Event> events_;
  std::vector<uint64_t> major_ids_;  // ascending
  std::vector<FaultRing> rings_;     // one per CPU that has an event
};

// CPUs of a list as in /sys/devices/system/cpu/online: "0-3,8". Empty when it is none.
std::vector<int> ParseCpuList(const std::string& text);

}  // namespace warpgauge
