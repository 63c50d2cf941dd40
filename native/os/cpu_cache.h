#pragma once

#include <cstdint>
#include <string>

namespace warpgauge {

// Size of the last-level data cache that CPU 0 uses, in bytes: the highest level under
// /sys/devices/system/cpu/cpu0/cache. 0 when the machine does not tell. `root` is put before
// "/sys". Any thread; allocates.
uint64_t LastLevelCacheBytes(const std::string& root = "");

// "32768K" as the kernel writes cache sizes; also M, G and plain bytes. 0 when it is none of them.
uint64_t ParseCacheSize(const std::string& text);

}  // namespace warpgauge
