#pragma once

#include <cstdint>
#include <string_view>

namespace warpgauge {

// One line of /proc/PID/maps.
struct MapsEntry {
  uint64_t start = 0;
  uint64_t end = 0;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  uint64_t inode = 0;
  // As the kernel prints it: path (newlines as \012), "[heap]", "[anon:name]"; empty for anonymous.
  std::string_view name;
};

// Cuts the next mapping off `text`; false at its end. Lines that are none are skipped; a last line
// without its newline is torn and not given out. Pure, no allocation.
bool NextMapping(std::string_view* text, MapsEntry* entry);

}  // namespace warpgauge
