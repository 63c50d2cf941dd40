#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `cgroup`: a control group of the v2 hierarchy, by default that of this process (option `path`,
// from the root of the hierarchy or from its mount point). Main table: CPU, throttling, memory by
// kind, events, pids. `cgroup.io` by device, `cgroup.pressure` by resource, `cgroup.hugetlb` by
// page size.
//
// A field whose controller is not in the v2 hierarchy of this cgroup (a v1 or hybrid host, or not
// enabled by the parent) is null, and its column's reason names it: "needs_cgroup2:memory". Others:
// "not_in_root_cgroup", "not_supported" (an older kernel).
Result<std::unique_ptr<Source>> MakeCgroupSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
