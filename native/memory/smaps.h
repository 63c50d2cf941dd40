#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace warpgauge {

// One mapping of /proc/<pid>/smaps; sizes in bytes. Pages of a shared zero page are not in `rss`:
// the kernel counts them nowhere, so by smaps they look untouched.
struct SmapsEntry {
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t rss = 0;
  uint64_t huge = 0;              // AnonHugePages + ShmemPmdMapped + FilePmdMapped
  uint64_t hugetlb = 0;           // Private_Hugetlb + Shared_Hugetlb: hugetlb pages are not in rss
  uint64_t kernel_page_size = 0;  // 4096 for transparent huge pages too
  bool is_hugetlb = false;        // VmFlags ht
};

// The mappings of `text` that overlap [start, end), in the order of the file.
std::vector<SmapsEntry> ParseSmaps(std::string_view text, uint64_t start, uint64_t end);

}  // namespace warpgauge
