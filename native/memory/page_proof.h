#pragma once

#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "memory/page_kind.h"

namespace warpgauge {

// What the kernel really mapped behind a range, in bytes. Two questions, two sources: *how* it is
// mapped (PAGEMAP_SCAN from Linux 6.7, smaps before), and for hugetlb *which size* (smaps
// KernelPageSize: PAGEMAP_SCAN returns the same categories for thp, 2m and 1g).
struct PageProof {
  uint64_t bytes_4k = 0;      // present, mapped by 4 KB entries
  uint64_t bytes_thp = 0;     // present, huge, not hugetlb
  uint64_t bytes_2m = 0;      // present, huge, hugetlb with 2 MB pages
  uint64_t bytes_1g = 0;      // present, huge, hugetlb with 1 GB pages
  uint64_t bytes_other = 0;   // hugetlb of any other size
  uint64_t bytes_zero = 0;    // part of the above: backed by a shared zero page
  uint64_t bytes_absent = 0;  // not present (untouched or swapped)
  const char* method = "";    // "PAGEMAP_SCAN+smaps", "smaps"
};

// `smaps_path` names the smaps file (tests give a recorded one); `force_smaps` skips PAGEMAP_SCAN.
// ERR_SYSCALL where the page sizes cannot be told. Any thread; allocates; never on a timed path.
Result<PageProof> ProvePages(const void* address,
                             size_t bytes,
                             bool force_smaps = false,
                             const char* smaps_path = "/proc/self/smaps");

// Whether `proof` shows the whole of `bytes` (a multiple of 4 KB) in pages of `kind`, none of them
// the zero page. `allow_absent`: untouched bytes are fine (before a cold copy), but what is there
// must be of the kind.
Status CheckProof(const PageProof& proof, PageKind kind, size_t bytes, bool allow_absent);

}  // namespace warpgauge
