#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "os/pread_file.h"

namespace warpgauge {

// System-wide counters of /proc/vmstat that say why memory was slow; cumulative since boot. -1:
// this kernel has no such line.
struct VmCounters {
  int64_t compact_stall = -1;
  int64_t allocstall = -1;  // sum over the zones
  int64_t thp_fault_alloc = -1;
  int64_t thp_fault_fallback = -1;
  // Pinned pages in units of 4 KB whatever the page size. The kernel batches it per CPU:
  // differences are off by some tens of pages.
  int64_t nr_foll_pin_acquired = -1;
};

// Reads the known lines of `text`; unknown lines, missing lines and a torn last line are skipped.
VmCounters ParseVmStat(std::string_view text);

// The counters above and steal, read again and again: 22 us and 16 us a read on a small guest, no
// allocation after the first. One thread at a time. (`vmstat_source.h` samples the whole file.)
class VmStat {
 public:
  // `root` is put before "/proc"; empty on a real machine.
  explicit VmStat(const std::string& root = "");

  // All -1 when the file could not be read.
  VmCounters Read();

  // Time the hypervisor took from this CPU since boot, ns, in steps of one tick (10 ms as a rule);
  // -1 when it cannot be read.
  int64_t StealNs(int cpu);

 private:
  PreadFile vmstat_;
  PreadFile stat_;
  int64_t tick_ns_ = 0;
};

}  // namespace warpgauge
