#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `numa`: one row per tick and NUMA node, keyed by `node`: the allocation counters of its numastat
// file (pages, since boot) and every line of its meminfo file (bytes, as in `meminfo`). Columns are
// those of the first node at opening; what another node lacks is null.
Result<std::unique_ptr<Source>> MakeNumaSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
