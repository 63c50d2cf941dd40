#pragma once

#include <cstddef>
#include <cstdint>

namespace warpgauge {

// The page kinds of the whole project, by the names users type (lib/measure/memcpy/types.ts).
enum class PageKind : uint8_t {
  k4K,       // 4 KB base pages, huge pages refused (MADV_NOHUGEPAGE)
  kThp,      // transparent 2 MB (MADV_HUGEPAGE)
  k2M,       // hugetlb 2 MB
  k1G,       // hugetlb 1 GB
  k4KSplit,  // control: a huge page mapped by contiguous 4 KB entries; warm only
};

inline constexpr size_t k4KiB = 4096;
inline constexpr size_t k2MiB = 2ULL << 20;
inline constexpr size_t k1GiB = 1ULL << 30;

constexpr size_t PageBytes(PageKind kind) {
  switch (kind) {
    case PageKind::kThp:
    case PageKind::k2M:
      return k2MiB;
    case PageKind::k1G:
      return k1GiB;
    case PageKind::k4K:
    case PageKind::k4KSplit:
      return k4KiB;
  }
  return k4KiB;
}

// "4k", "thp", "2m", "1g", "4k-split"; false when the text is none of them.
bool ParsePageKind(const char* text, PageKind* kind);
const char* PageKindName(PageKind kind);

}  // namespace warpgauge
