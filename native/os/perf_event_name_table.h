#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace warpgauge {

// The events that perf knows by name on every machine, whether this CPU has them or not.

// Hardware and software events, aliases included. False when `name` is none.
bool FindPerfEventName(std::string_view name, uint32_t* type, uint64_t* config);

// <cache>[-<operation or result>[-<operation or result>]] of PERF_TYPE_HW_CACHE. False when `name`
// is none, or an operation that cache does not have (iTLB-stores).
bool FindPerfCacheName(std::string_view name, uint64_t* config);

// All of the first kind and the usual spelling of the second, for near matches.
std::vector<std::string> PerfEventNames();

}  // namespace warpgauge
