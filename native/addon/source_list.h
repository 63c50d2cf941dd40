#pragma once

#include <string>

#include "core/source.h"

namespace warpgauge {

// The factory of a source by its name, or nullptr. The one list of native sources; its TypeScript
// twin is lib/monitor/sources/registry.ts, and test/monitor/registry.test.ts compares the two.
SourceFactory FindSourceFactory(const std::string& name);

}  // namespace warpgauge
