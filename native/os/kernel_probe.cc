#include "os/kernel_probe.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "os/kernel_abi.h"

namespace warpgauge {
namespace {

// One anonymous page, gone at the end of the probe.
class Page {
 public:
  Page()
      : bytes_(static_cast<size_t>(sysconf(_SC_PAGESIZE))),
        address_(
            mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;
  ~Page() {
    if (mapped()) munmap(address_, bytes_);
  }

  [[nodiscard]] bool mapped() const { return address_ != MAP_FAILED; }
  [[nodiscard]] void* address() const { return address_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }

 private:
  size_t bytes_;
  void* address_;
};

}  // namespace

int ProbeIoUring() {
  IoUringParams params{};
  const int64_t fd = syscall(kIoUringSetup, 1, &params);
  if (fd < 0) return errno;
  close(static_cast<int>(fd));
  return 0;
}

int ProbePagemapScan() {
  const Page page;
  if (!page.mapped()) return errno;
  *static_cast<volatile char*>(page.address()) = 1;
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  PageRange range{};
  PagemapScan scan{};
  scan.size = sizeof(scan);
  scan.start = reinterpret_cast<uintptr_t>(page.address());
  scan.end = scan.start + page.bytes();
  scan.ranges = reinterpret_cast<uintptr_t>(&range);
  scan.range_count = 1;
  scan.category_mask = kPageIsPresent;
  scan.return_mask = kPageIsPresent;
  const int found = ioctl(fd, kPagemapScan, &scan);
  const int error = found < 0 ? errno : 0;
  close(fd);
  if (error != 0) return error;
  // An answer that misses a page we just wrote is no answer.
  return found == 1 && range.categories == kPageIsPresent ? 0 : ENODATA;
}

int ProbePopulateWrite() {
  const Page page;
  if (!page.mapped()) return errno;
  return madvise(page.address(), page.bytes(), kMadvPopulateWrite) == 0 ? 0 : errno;
}

int ThpDisabled() {
  const int disabled = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
  return disabled < 0 ? -errno : disabled;
}

}  // namespace warpgauge
