#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace warpgauge {

// One line of a cgroup's io.stat: "259:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6". Values
// that are missing stay kNoIo; unknown ones (cost.usage=...) are passed over.
inline constexpr uint64_t kNoIo = UINT64_MAX;
struct CgroupIo {
  uint32_t major = 0;
  uint32_t minor = 0;
  uint64_t read_bytes = kNoIo;
  uint64_t written_bytes = kNoIo;
  uint64_t reads = kNoIo;
  uint64_t writes = kNoIo;
  uint64_t discarded_bytes = kNoIo;
  uint64_t discards = kNoIo;
};
// False when the line does not begin with a device. Pure, no allocation.
bool ParseCgroupIoLine(std::string_view line, CgroupIo* io);

// Where the cgroup v2 hierarchy is mounted, by the text of /proc/PID/mountinfo; empty when it is
// not. The first mount counts.
std::string Cgroup2MountPoint(std::string_view mountinfo);

// The v2 cgroup of a process by its /proc/PID/cgroup: "0::/serve/worker"; empty when there is none.
std::string_view Cgroup2Path(std::string_view cgroup);

// Whether a word is one of a blank-separated list (cgroup.controllers).
bool HasWord(std::string_view list, std::string_view word);

// Of "hugetlb.2MB.current" the page size as this library calls it, "2m", and the start of the names
// of its files, "hugetlb.2MB."; false for other names.
bool ParseHugetlbName(std::string_view file, std::string* size, std::string* prefix);

}  // namespace warpgauge
