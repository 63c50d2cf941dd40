#pragma once

#include <linux/perf_event.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/status.h"

namespace warpgauge {

// The spelling of event names, as `perf stat -e` takes them: pure text, no files. What a name means
// on a machine is in os/perf_events.h.

// One term of `pmu/term,name=value/`.
struct PerfTerm {
  std::string name;
  bool has_value = false;
  bool is_number = false;
  std::string text;    // the value as written; empty without one
  uint64_t value = 1;  // of a term without a value: 1
};

struct PerfSyntax {
  enum class Kind : uint8_t {
    kName,        // page-faults, LLC-load-misses, or an event that some PMU knows
    kTracepoint,  // sched:sched_switch
    kRaw,         // r1a8
    kNumber,      // 1:2, a type and a config
    kPmu,         // pmu/terms/
  };
  Kind kind = Kind::kName;
  std::string name;   // the name, the subsystem or the PMU
  std::string event;  // of a tracepoint
  uint64_t type = 0;
  uint64_t config = 0;  // of kRaw and kNumber
  std::vector<PerfTerm> terms;
  std::string modifiers;
};

// Splits `events=` at each '+' that is not inside /.../. Empty parts are kept, for the error.
std::vector<std::string> SplitPerfEvents(std::string_view text);

// ERR_UNKNOWN_EVENT where this is no spelling perf takes.
Result<PerfSyntax> ParsePerfEvent(std::string_view text);

// The terms between the slashes, and the content of a file events/<name> in sysfs.
Result<std::vector<PerfTerm>> ParsePerfTerms(std::string_view text);

// :u user, :k kernel, :h hypervisor, :G guest, :H host, :I not idle, :p precise (up to three), :D
// pinned, :e exclusive; P, S and W say nothing about counting. ERR_UNKNOWN_EVENT for anything else
// and for a letter given twice. Without modifiers perf leaves guests out: `attr` is to come with
// exclude_guest set.
Status ApplyPerfModifiers(std::string_view modifiers, perf_event_attr* attr);

// A file format/<name> in sysfs: "config:0-7,32-35" says which bits of which word hold the value.
struct PerfFormat {
  enum class Word : uint8_t { kConfig, kConfig1, kConfig2 };
  Word word = Word::kConfig;
  uint64_t bits = 0;
};
bool ParsePerfFormat(std::string_view text, PerfFormat* format);

// Or-s `value` into the bits of `format`, lowest first. False when it is too big for them.
bool PlacePerfValue(const PerfFormat& format, uint64_t value, perf_event_attr* attr);

// "0-3,8" or "0-3+8" as a list. False for anything else, more than 65,536 CPUs included.
bool ParseCpuList(std::string_view text, std::vector<int>* cpus);

// `dTLB-load-misses:u` as a column: dtlb_load_misses_u. Never empty.
std::string PerfColumnName(std::string_view event);

// Names of `candidates` that are close to `name`, best first, at most three.
std::vector<std::string> NearNames(std::string_view name,
                                   const std::vector<std::string>& candidates);

}  // namespace warpgauge
