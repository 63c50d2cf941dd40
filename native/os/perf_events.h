#pragma once

#include <linux/perf_event.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"

namespace warpgauge {

// One attribute to open for an event. A name such as `uncore_imc/cas_count_read/` stands for one on
// each of several PMUs: their counts are summed.
struct PerfPart {
  // type, config, config1, config2, the exclude_* bits, precise_ip, pinned and exclusive, as
  // `perf stat -vv -e NAME` prints them (perf 6.1). Size, read format, inheritance and when to
  // start belong to whoever opens it.
  perf_event_attr attr;
  // The PMU's name; "software", "tracepoint" and "cpu" for what needs no folder in sysfs.
  std::string pmu;
  // CPUs of sysfs' `cpumask`: the event counts a package or the whole machine, can be opened on
  // these CPUs only, and never for a task. Empty: it counts what a CPU or a task does.
  std::vector<int> package_cpus;
};

struct PerfEvent {
  std::string text;    // as asked for: "page-faults"
  std::string column;  // "page_faults"; with the unit where there is one: "power_energy_pkg_joules"
  std::string unit;    // "1", "ns", "bytes", "joules" or what sysfs says
  double scale = 1;    // one count in `unit`; 1 for plain counts
  std::vector<PerfPart> parts;
  // A generic or raw event on a machine with several types of cores: the kernel counts it on one of
  // them. cpu_core/cycles/ and cpu_atom/cycles/ name the type.
  bool is_one_core_type = false;
  // Why there are no parts, for callers that go on without an event (tracefs is not mounted).
  Status unavailable;
};

// What `text` means on this machine. `root` is put before /sys. Fails with
//   ERR_UNKNOWN_EVENT  no such name, term or value; names that are close
//   ERR_UNAVAILABLE    a tracepoint without tracefs (the fix names the mount; it is never mounted)
//   ERR_PERMISSION     a tracepoint in a tracefs that may not be read
Result<PerfEvent> ResolvePerfEvent(const std::string& root, const std::string& text);

}  // namespace warpgauge
