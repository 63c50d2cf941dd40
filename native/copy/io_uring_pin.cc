#include "copy/io_uring_pin.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/clock.h"

namespace warpgauge {
namespace {

// From the kernel's io_uring ABI (include/uapi/linux/io_uring.h), which older distributions'
// headers lack.
constexpr long kSetupCall = 425;     // NOLINT(google-runtime-int): type of syscall()
constexpr long kRegisterCall = 427;  // NOLINT(google-runtime-int)
constexpr unsigned kRegisterBuffers = 0;
constexpr unsigned kUnregisterBuffers = 1;
constexpr size_t kParamsBytes =
    120;  // sizeof(struct io_uring_params): all zero asks for the defaults

// The kernel refuses one iovec above 1 GiB with EFAULT.
constexpr size_t kMaxIovec = 1ULL << 30;

// The ring itself is charged to RLIMIT_MEMLOCK too: with a limit of 8 MiB, 8 MiB of buffer fail.
constexpr size_t kRingAllowance = 64ULL * 1024;

int64_t ReadSysctl(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  char text[32] = {};
  const ssize_t n = read(fd, text, sizeof(text) - 1);
  close(fd);
  return n > 0 ? std::strtoll(text, nullptr, 10) : -1;
}

bool HasCapability(unsigned capability) {
  __user_cap_header_struct header{};
  header.version = _LINUX_CAPABILITY_VERSION_3;
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[capability / 32].effective & (1U << (capability % 32))) != 0;
}

Status Failure(const char* call, int error) {
  return Status("ERR_IO_URING", std::string(call) + " failed: " + std::strerror(error))
      .WithSource(call, error);
}

}  // namespace

IoUringPin::~IoUringPin() {
  if (ring_ >= 0) close(ring_);
}

Status IoUringPin::Check(size_t bytes) {
  const int64_t disabled = ReadSysctl("/proc/sys/kernel/io_uring_disabled");
  if (disabled == 2 || (disabled == 1 && !HasCapability(CAP_SYS_ADMIN))) {
    return Status("ERR_IO_URING",
                  "kernel.io_uring_disabled is " + std::to_string(disabled) +
                      ": this process may not create a ring")
        .WithFix("sudo sysctl kernel.io_uring_disabled=0")
        .WithSource("/proc/sys/kernel/io_uring_disabled", static_cast<int>(disabled));
  }
  rlimit limit{};
  if (!HasCapability(CAP_IPC_LOCK) && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
      limit.rlim_cur != RLIM_INFINITY && bytes + kRingAllowance > limit.rlim_cur) {
    return Status("ERR_MEMLOCK",
                  "pinning " + std::to_string(bytes) + " bytes exceeds RLIMIT_MEMLOCK (" +
                      std::to_string(limit.rlim_cur) + " bytes) and CAP_IPC_LOCK is missing")
        .WithFix("ulimit -l unlimited (as root: prlimit --memlock=unlimited --pid $$)")
        .WithSource("RLIMIT_MEMLOCK", EPERM);
  }
  return Status::Ok();
}

Status IoUringPin::Pin(const void* address, size_t bytes, int64_t* duration_ns) {
  if (pinned_) return {"ERR_IO_URING", "a buffer is registered already"};
  if (ring_ < 0) {
    alignas(8) uint8_t params[kParamsBytes] = {};
    ring_ = static_cast<int>(syscall(kSetupCall, 1U, params));
    if (ring_ < 0) return Failure("io_uring_setup", errno);
  }
  std::vector<iovec> parts;
  for (size_t done = 0; done < bytes; done += kMaxIovec) {
    parts.push_back({const_cast<uint8_t*>(static_cast<const uint8_t*>(address)) + done,
                     std::min(kMaxIovec, bytes - done)});
  }
  const int64_t start = MonotonicRawNs();
  const long result =  // NOLINT(google-runtime-int)
      syscall(kRegisterCall,
              ring_,
              kRegisterBuffers,
              parts.data(),
              static_cast<unsigned>(parts.size()));
  *duration_ns = MonotonicRawNs() - start;
  if (result != 0) {
    const int error = errno;
    Status failure = Failure("io_uring_register", error);
    if (error != ENOMEM) return failure;
    return Status("ERR_MEMLOCK",
                  failure.message() + " (RLIMIT_MEMLOCK counts all pinned memory of the user)")
        .WithFix("ulimit -l unlimited (as root: prlimit --memlock=unlimited --pid $$)")
        .WithSource("io_uring_register", error);
  }
  pinned_ = true;
  return Status::Ok();
}

Status IoUringPin::Unpin(int64_t* duration_ns) {
  *duration_ns = 0;
  if (!pinned_) return Status::Ok();
  const int64_t start = MonotonicRawNs();
  const long result =  // NOLINT(google-runtime-int)
      syscall(kRegisterCall, ring_, kUnregisterBuffers, nullptr, 0U);
  *duration_ns = MonotonicRawNs() - start;
  pinned_ = false;
  return result == 0 ? Status::Ok() : Failure("io_uring_register(UNREGISTER)", errno);
}

}  // namespace warpgauge
