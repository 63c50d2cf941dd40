#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `process`: one row per tick and process, of one process (option `pid`, default this one) or of a
// process and its descendants (option `tree`), keyed by pid and start time. Main table: CPU,
// faults, memory by kind, switches, I/O, from /proc/PID/stat, status and io (about 20 us per
// process). Table `memory`, each second at most: what only a walk over the page tables tells
// (smaps_rollup, 30 us and more, rising with the size of the process).
//
// `faults_unseen` are the faults since opening that getrusage counts and perf does not.
Result<std::unique_ptr<Source>> MakeProcessSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
