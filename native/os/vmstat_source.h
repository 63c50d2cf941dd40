#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `vmstat`: one row per tick with every line of /proc/vmstat of the running kernel, under the
// kernel's own names. nr_* are gauges but for the event counters among them; all else counts since
// boot. Units are those of the kernel: pages stay pages, and the column metadata says so.
//
// A read is two or three system calls (a seq_file gives one page a call), so the lines of one row
// are microseconds apart; the kernel folds its per-CPU parts in about once a second, so gauges lag
// and may be off by some tens of pages per CPU.
Result<std::unique_ptr<Source>> MakeVmstatSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
