#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `thermal`: one row per tick and thermal zone of /sys/class/thermal, keyed by `zone`, with its
// temperature and type; and `thermal.cpufreq`: one row per tick and CPU, keyed by `cpu`, with the
// frequency the governor has chosen and how often and how long the CPU was throttled for heat. What
// a machine lacks (a guest has neither as a rule) is null or has no rows; with nothing of both the
// source is unavailable. Zones and CPUs are listed again each second.
Result<std::unique_ptr<Source>> MakeThermalSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
