#pragma once

#include <linux/perf_event.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/status.h"
#include "os/perf_event.h"

namespace warpgauge {

// What the members of a group have counted since they were opened, all at one moment.
struct PerfGroupTimes {
  uint64_t enabled_ns = 0;
  // Below enabled_ns: the group had to share the counters of the CPU (multiplexing).
  uint64_t running_ns = 0;
};

// Takes apart what read(2) returns for PERF_FORMAT_GROUP | TOTAL_TIME_ENABLED | TOTAL_TIME_RUNNING
// | ID: `values[i]` becomes the count of the event with `ids[i]`. False, with nothing written to
// `times`, when the bytes are no such answer or an id is missing. Never reads behind `bytes`.
bool ParsePerfGroup(const void* buffer,
                    size_t bytes,
                    const uint64_t* ids,
                    size_t count,
                    uint64_t* values,
                    PerfGroupTimes* times);

// Events that the kernel puts on the CPU together, for one task or CPU; one system call reads all.
// Opened disabled, so that several groups can be started close together. Opened on any thread and
// read by one at a time.
class PerfGroup {
 public:
  // Adds an event; the first one leads. `attr` as os/perf_events.h gives it plus inherit: read
  // format and start are set here. `enable_on_exec`: counting starts when the task calls exec.
  // EINVAL for a second hardware event as a rule means that the CPU cannot count all at once.
  Status Add(perf_event_attr attr, const PerfEventTarget& target, bool enable_on_exec);
  // Starts the counting; no-op for enable_on_exec.
  void Enable();
  // One system call, no allocation. `values` has room for size() counts, in the order of Add.
  // False when the group is in an error state: a pinned event that got no counter.
  [[nodiscard]] bool Read(uint64_t* values, PerfGroupTimes* times);

  [[nodiscard]] size_t size() const { return fds_.size(); }

 private:
  std::vector<PerfEventFd> fds_;
  std::vector<uint64_t> ids_;
  std::vector<uint64_t> buffer_;
  bool enable_on_exec_ = false;
};

}  // namespace warpgauge
