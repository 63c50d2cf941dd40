#include "memory/page_proof.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "memory/kernel_files.h"
#include "memory/smaps.h"
#include "os/kernel_abi.h"

namespace warpgauge {
namespace {

struct Mapped {
  std::vector<PageRange> huge;  // not the huge zero page
  uint64_t small = 0, zero_small = 0, zero_huge = 0;
};

// False where the kernel lacks the ioctl or refuses our own pagemap (a process that changed its
// user without exec is not dumpable).
bool ScanPagemap(uint64_t start, uint64_t end, Mapped* mapped) {
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  std::vector<PageRange> ranges(256);
  bool ok = true;
  while (start < end) {
    PagemapScan scan{};
    scan.size = sizeof(scan);
    scan.start = start;
    scan.end = end;
    scan.ranges = reinterpret_cast<uint64_t>(ranges.data());
    scan.range_count = ranges.size();
    scan.category_mask = kPageIsPresent;
    scan.return_mask = kPageIsPresent | kPageIsZero | kPageIsHuge;
    const int found = ioctl(fd, kPagemapScan, &scan);
    if (found < 0 && errno == EINTR) continue;
    if (found < 0) {
      ok = false;
      break;
    }
    for (int i = 0; i < found; ++i) {
      const PageRange& range = ranges[static_cast<size_t>(i)];
      const uint64_t size = range.end - range.start;
      const bool zero = (range.categories & kPageIsZero) != 0;
      if ((range.categories & kPageIsHuge) == 0) {
        mapped->small += size;
        if (zero) mapped->zero_small += size;
      } else if (zero) {
        mapped->zero_huge += size;
      } else {
        mapped->huge.push_back(range);
      }
    }
    // A scan that filled its vector stops early; one that did not has seen everything.
    if (scan.walk_end <= start) break;
    start = scan.walk_end;
  }
  close(fd);
  return ok;
}

void AddHuge(const SmapsEntry& entry, uint64_t bytes, PageProof* proof) {
  if (!entry.is_hugetlb) {
    proof->bytes_thp += bytes;
  } else if (entry.kernel_page_size == k2MiB) {
    proof->bytes_2m += bytes;
  } else if (entry.kernel_page_size == k1GiB) {
    proof->bytes_1g += bytes;
  } else {
    proof->bytes_other += bytes;
  }
}

Result<std::vector<SmapsEntry>> ReadSmaps(const char* path, uint64_t start, uint64_t end) {
  const std::optional<std::string> text = ReadKernelFile(path);
  if (!text) {
    const int error = errno;
    return Status("ERR_SYSCALL",
                  std::string("the page sizes cannot be proven: ") + path +
                      " is unreadable: " + std::strerror(error))
        .WithSource(path, error);
  }
  return ParseSmaps(*text, start, end);
}

// PAGEMAP_SCAN returns the same categories for thp, 2m and 1g: who owns a huge range tells smaps.
Status ClassifyHuge(const Mapped& mapped,
                    const std::vector<SmapsEntry>& entries,
                    PageProof* proof) {
  for (const PageRange& range : mapped.huge) {
    uint64_t known = 0;
    for (const SmapsEntry& entry : entries) {
      const uint64_t from = std::max(range.start, entry.start);
      const uint64_t to = std::min(range.end, entry.end);
      if (from >= to) continue;
      AddHuge(entry, to - from, proof);
      known += to - from;
    }
    if (known != range.end - range.start) {
      return {"ERR_SYSCALL",
              "the page sizes cannot be proven: smaps misses a range that is mapped"};
    }
  }
  return Status::Ok();
}

Status ProveBySmaps(const std::vector<SmapsEntry>& entries,
                    uint64_t start,
                    uint64_t end,
                    PageProof* proof) {
  uint64_t present = 0;
  for (const SmapsEntry& entry : entries) {
    // smaps counts whole mappings: what of one belongs to a part of it cannot be told.
    if (entry.start < start || entry.end > end) {
      return {
          "ERR_SYSCALL",
          "the page sizes cannot be proven: this kernel has no PAGEMAP_SCAN (Linux 6.7), and smaps "
          "counts only whole mappings, of which the range is a part"};
    }
    const uint64_t huge = entry.is_hugetlb ? entry.hugetlb : std::min(entry.huge, entry.rss);
    AddHuge(entry, huge, proof);
    if (!entry.is_hugetlb) proof->bytes_4k += entry.rss - huge;
    present += entry.is_hugetlb ? entry.hugetlb : entry.rss;
  }
  proof->bytes_absent = end - start - std::min(present, end - start);
  return Status::Ok();
}

std::string Describe(const PageProof& proof) {
  std::string text;
  const auto add = [&text](const char* what, uint64_t bytes) {
    if (bytes == 0) return;
    text += (text.empty() ? "" : ", ") + std::to_string(bytes) + " bytes " + what;
  };
  add("in 4 KB pages", proof.bytes_4k);
  add("in transparent 2 MB pages", proof.bytes_thp);
  add("in hugetlb 2 MB pages", proof.bytes_2m);
  add("in hugetlb 1 GB pages", proof.bytes_1g);
  add("in hugetlb pages of another size", proof.bytes_other);
  add("untouched", proof.bytes_absent);
  return (text.empty() ? "nothing" : text) + " (" + proof.method + ")";
}

uint64_t BytesOf(const PageProof& proof, PageKind kind) {
  switch (kind) {
    case PageKind::k4K:
    case PageKind::k4KSplit:
      return proof.bytes_4k;
    case PageKind::kThp:
      return proof.bytes_thp;
    case PageKind::k2M:
      return proof.bytes_2m;
    case PageKind::k1G:
      return proof.bytes_1g;
  }
  return 0;
}

}  // namespace

Result<PageProof> ProvePages(const void* address,
                             size_t bytes,
                             bool force_smaps,
                             const char* smaps_path) {
  const auto start = reinterpret_cast<uint64_t>(address);
  const uint64_t end = start + bytes;
  PageProof proof;
  Mapped mapped;
  if (force_smaps || !ScanPagemap(start, end, &mapped)) {
    proof.method = "smaps";
    const auto entries = ReadSmaps(smaps_path, start, end);
    if (!entries.ok()) return entries.status;
    const Status status = ProveBySmaps(entries.value, start, end, &proof);
    if (!status.ok()) return status;
    return proof;
  }
  // Without a huge range there is nothing that smaps could add: it is 1 ms
  // that most 4k proofs save.
  proof.method = mapped.huge.empty() ? "PAGEMAP_SCAN" : "PAGEMAP_SCAN+smaps";
  proof.bytes_4k = mapped.small;
  proof.bytes_thp = mapped.zero_huge;  // only transparent pages have a huge zero page
  proof.bytes_zero = mapped.zero_small + mapped.zero_huge;
  if (!mapped.huge.empty()) {
    const auto entries = ReadSmaps(smaps_path, start, end);
    if (!entries.ok()) return entries.status;
    const Status status = ClassifyHuge(mapped, entries.value, &proof);
    if (!status.ok()) return status;
  }
  const uint64_t present =
      proof.bytes_4k + proof.bytes_thp + proof.bytes_2m + proof.bytes_1g + proof.bytes_other;
  proof.bytes_absent = bytes - std::min<uint64_t>(present, bytes);
  return proof;
}

Status CheckProof(const PageProof& proof, PageKind kind, size_t bytes, bool allow_absent) {
  const uint64_t granted = BytesOf(proof, kind);
  const uint64_t others = proof.bytes_4k + proof.bytes_thp + proof.bytes_2m + proof.bytes_1g +
                          proof.bytes_other - granted;
  const std::string asked =
      "asked for " + std::to_string(bytes) + " bytes of " + PageKindName(kind);
  if (others != 0 || granted + proof.bytes_absent != bytes ||
      (proof.bytes_absent != 0 && !allow_absent)) {
    Status status("ERR_PAGES_NOT_GRANTED", asked + " but the kernel mapped " + Describe(proof));
    if (kind == PageKind::kThp && proof.bytes_4k != 0) {
      return std::move(status).WithFix("echo 1 | sudo tee /proc/sys/vm/compact_memory");
    }
    return status;
  }
  if (proof.bytes_zero != 0) {
    return {"ERR_ZERO_PAGES",
            asked + " but " + std::to_string(proof.bytes_zero) +
                " bytes are the kernel's shared zero page: the memory was read, never written"};
  }
  return Status::Ok();
}

}  // namespace warpgauge
