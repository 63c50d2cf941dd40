#pragma once

#include <memory>
#include <string>

#include "core/source.h"
#include "os/named_columns.h"

namespace warpgauge {

// `meminfo`: one row per tick with every line of /proc/meminfo of the running kernel, bytes for
// what it gives in kB ("MemAvailable" is mem_available_bytes) and counts for the HugePages_ lines
// (huge_pages_total). Those are of the default huge page size; `hugepages` has all sizes.
Result<std::unique_ptr<Source>> MakeMeminfoSource(const SourceRequest& request, StateSink& states);

// The column of a meminfo line `name`; also for the meminfo file of a NUMA node.
ColumnSpec MeminfoColumn(std::string_view name, bool is_bytes, const std::string& file);

}  // namespace warpgauge
