#include "copy/io_uring_pin.h"

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
#include "memory/kernel_files.h"
#include "os/kernel_abi.h"

namespace warpgauge {
namespace {

// The kernel refuses one iovec above 1 GiB with EFAULT.
constexpr size_t kMaxIovec = 1ULL << 30;

// The ring itself is charged to RLIMIT_MEMLOCK too: with a limit of 8 MiB, 8 MiB of buffer fail.
constexpr size_t kRingAllowance = 64ULL * 1024;

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

// Asked of the kernel itself: who may have a ring depends on kernel.io_uring_disabled,
// kernel.io_uring_group, capabilities and a container's seccomp filter.
Status IoUringPin::Open() {
  if (ring_ >= 0) return Status::Ok();
  IoUringParams params{};
  ring_ = static_cast<int>(syscall(kIoUringSetup, 1U, &params));
  if (ring_ >= 0) return Status::Ok();
  const int error = errno;
  constexpr char kKnob[] = "/proc/sys/kernel/io_uring_disabled";
  const uint64_t disabled = ReadKernelNumber(kKnob).value_or(0);
  if (error != EPERM || disabled == 0) return Failure("io_uring_setup", error);
  return Status("ERR_IO_URING",
                "kernel.io_uring_disabled is " + std::to_string(disabled) +
                    ": this process may not create a ring")
      .WithFix("sudo sysctl kernel.io_uring_disabled=0")
      .WithSource(kKnob, error);
}

Status IoUringPin::Check(size_t bytes) {
  if (Status s = Open(); !s.ok()) return s;
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
  if (Status s = Open(); !s.ok()) return s;
  std::vector<iovec> parts;
  for (size_t done = 0; done < bytes; done += kMaxIovec) {
    parts.push_back({const_cast<uint8_t*>(static_cast<const uint8_t*>(address)) + done,
                     std::min(kMaxIovec, bytes - done)});
  }
  const int64_t start = MonotonicRawNs();
  const long result =  // NOLINT(google-runtime-int)
      syscall(kIoUringRegister,
              ring_,
              kIoUringRegisterBuffers,
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
  long result = 0;  // NOLINT(google-runtime-int)
  do {              // Ctrl-C reaches this process too
    result = syscall(kIoUringRegister, ring_, kIoUringUnregisterBuffers, nullptr, 0U);
  } while (result != 0 && errno == EINTR);
  *duration_ns = MonotonicRawNs() - start;
  pinned_ = false;
  return result == 0 ? Status::Ok() : Failure("io_uring_register(UNREGISTER)", errno);
}

}  // namespace warpgauge
