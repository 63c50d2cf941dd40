#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace warpgauge {

// The hugetlb cgroups this process is charged to, own group first, up to the root of what is
// mounted. Versions 1 and 2, also side by side; mount points come from mountinfo, because hybrid
// machines put v2 elsewhere than /sys/fs/cgroup. Read when an allocation failed, never on a timed
// path. Any thread.
class HugetlbCgroup {
 public:
  struct Limit {
    std::string knob;  // file to write a larger number to
    uint64_t limit_bytes = 0;
    uint64_t used_bytes = 0;
  };

  // `root` goes before every path (tests give a recorded tree).
  static HugetlbCgroup OfThisProcess(size_t page_bytes, const std::string& root = "");

  // False where no hugetlb controller is mounted here: then limits may exist that nobody can read.
  [[nodiscard]] bool found() const { return !folders_.empty(); }

  // How often the kernel refused a page or a reservation by a limit; only
  // differences mean something.
  [[nodiscard]] uint64_t Refusals() const;

  // The nearest limit that leaves less than `bytes`: the one on reservations (`rsvd`, checked by
  // mmap) or the one on use (checked at the first touch).
  [[nodiscard]] std::optional<Limit> Blocking(bool reservations, uint64_t bytes) const;

 private:
  [[nodiscard]] std::string Path(const std::string& folder,
                                 bool reservations,
                                 const char* file) const;

  bool v2_ = false;
  std::string size_name_;             // "2MB", "1GB"
  std::vector<std::string> folders_;  // own group first
};

}  // namespace warpgauge
