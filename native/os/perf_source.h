#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `perf`: counting groups of performance events. Options, all text:
//
//   events   names as `perf stat -e` takes them, separated by '+' outside /.../: required
//   pid      all threads of that process, present and future (children that it forks are not
//            counted; Linux before 5.13 counts them and says so in `state`). Default: this process
//   tid      that thread alone
//   tree     that process and its descendants, present and future
//   command  a process that has not called exec yet, with its descendants, from its exec on
//   cpu      everything that runs on these CPUs: 0-3+8
//   cgroup   everything in that cgroup (a folder, or a path in the v2 hierarchy); cpu= narrows it
//   system   everything
//   per      cpu or thread: a row for each, keyed; else one row per tick, the sum
//
// Columns: the keys, then one per event. Counts are cumulative from the start of counting (u64; a
// float in base units where sysfs gives a scale, as for joules). Then `time_enabled_ns` and
// `time_running_ns`, summed over the tasks or CPUs of the row, once for each kind of group: further
// kinds have their name in front (cpu_time_enabled_ns). `scaled` is true in rows where an event had
// to share its counter: its value is then the estimate count * enabled / running, as `perf stat`
// prints it, and never falls. Null: the event cannot be counted here (the column's reason), or has
// been enabled and never got a counter (`state`: no_counter).
//
// per=thread looks for new threads every 100 ms (tree: every second): what a thread did before it
// was found is in no row, and a thread that ended has no further rows.
Result<std::unique_ptr<Source>> MakePerfSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
