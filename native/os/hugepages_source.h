#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `hugepages`: one row per tick, huge page size and NUMA node, keyed by `page_size` (2m, 1g) and
// `node`: pages in the pool, free ones and surplus ones; and `hugepages.pool`: one row per tick and
// size with what only the whole pool has, reserved pages and the overcommit limit. Sizes are those
// that the kernel knew at opening; nodes are listed again each second.
Result<std::unique_ptr<Source>> MakeHugepagesSource(const SourceRequest& request,
                                                    StateSink& states);

}  // namespace warpgauge
