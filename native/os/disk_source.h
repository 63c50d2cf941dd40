#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `disk`: one row per tick and line of /proc/diskstats (whole disks, partitions, loop and ram
// devices alike), keyed by device name. Bytes are sectors of 512 bytes, whatever the device's own
// sector; times are the kernel's milliseconds in ns. What an old kernel does not tell (discards
// before 4.18, flushes before 5.5) is null.
Result<std::unique_ptr<Source>> MakeDiskSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
