#pragma once

#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>

namespace warpgauge {

// Kernel interfaces newer than the headers of the distributions this is built on.

inline constexpr int kMadvPopulateWrite = 23;  // Linux 5.14
inline constexpr int kMadvCollapse = 25;       // Linux 6.1

// PAGEMAP_SCAN of /proc/self/pagemap (Linux 6.7): struct page_region and struct pm_scan_arg.
struct PageRange {
  uint64_t start, end, categories;
};
struct PagemapScan {
  uint64_t size, flags, start, end, walk_end, ranges, range_count, max_pages;
  uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
static_assert(sizeof(PageRange) == 24 && sizeof(PagemapScan) == 96);
// NOLINTNEXTLINE(google-runtime-int): the type that ioctl() takes
inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);
inline constexpr uint64_t kPageIsPresent = 8;
inline constexpr uint64_t kPageIsZero = 32;  // PAGE_IS_PFNZERO: a shared zero page, small or huge
inline constexpr uint64_t kPageIsHuge = 64;

// PROCMAP_QUERY of /proc/PID/maps (Linux 6.11): struct procmap_query.
struct ProcMapQuery {
  uint64_t size, flags, address, start, end, vma_flags, page_bytes, offset, inode;
  uint32_t device_major, device_minor, name_bytes, build_id_bytes;
  uint64_t name, build_id;
};
static_assert(sizeof(ProcMapQuery) == 104);
// NOLINTNEXTLINE(google-runtime-int): the type that ioctl() takes
inline constexpr unsigned long kProcMapQuery = _IOWR('f', 17, ProcMapQuery);

// io_uring (Linux 5.1). Numbers of the system calls, as syscall() takes them.
inline constexpr long kIoUringSetup = 425;     // NOLINT(google-runtime-int)
inline constexpr long kIoUringRegister = 427;  // NOLINT(google-runtime-int)
inline constexpr unsigned kIoUringRegisterBuffers = 0;
inline constexpr unsigned kIoUringUnregisterBuffers = 1;
// struct io_uring_params: all zero asks for the defaults; what the kernel writes is not read.
struct IoUringParams {
  uint32_t fields[30];
};
static_assert(sizeof(IoUringParams) == 120);

}  // namespace warpgauge
