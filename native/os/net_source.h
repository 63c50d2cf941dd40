#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `net`: one row per tick and interface of /proc/net/dev, keyed by interface name.
//
// Interfaces are those of one network namespace: of this process, as a rule. With a root prefix
// (the host's /proc mounted in a container) it is that of the host's process 1, because /proc/net
// always shows the reader's own.
Result<std::unique_ptr<Source>> MakeNetSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
