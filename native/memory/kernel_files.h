#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace warpgauge {

// Small files of /proc, /sys and cgroup mounts: read whole, parsed by hand. Any thread.

// nullopt where the file is absent or unreadable.
std::optional<std::string> ReadKernelFile(const std::string& path);

// The number the file starts with; nullopt also for "max" and other words.
std::optional<uint64_t> ReadKernelNumber(const std::string& path);

// The chosen word of a file such as "always [madvise] never"; empty when none is bracketed.
std::string_view ChosenWord(std::string_view text);

// Fields between single separators, empty ones included.
std::vector<std::string_view> SplitFields(std::string_view text, char separator);

}  // namespace warpgauge
