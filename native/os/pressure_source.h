#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `pressure`: one row per tick and resource (cpu, memory, io, irq) of /proc/pressure, keyed by
// `resource`: the share of time in which some or all (full) tasks waited for it, averaged by the
// kernel over 10, 60 and 300 s, as ratios 0-1, and the time since boot in ns. The kernel renews the
// averages every 2 s.
Result<std::unique_ptr<Source>> MakePressureSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
