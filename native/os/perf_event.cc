#include "os/perf_event.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace warpgauge {
namespace {

// What read(2) returns for the read_format below.
struct Reading {
  uint64_t value;
  uint64_t time_enabled;
  uint64_t time_running;
};
static_assert(sizeof(Reading) == 24);

constexpr uint64_t kDtlbLoadMisses = PERF_COUNT_HW_CACHE_DTLB |
                                     (static_cast<uint64_t>(PERF_COUNT_HW_CACHE_OP_READ) << 8) |
                                     (static_cast<uint64_t>(PERF_COUNT_HW_CACHE_RESULT_MISS) << 16);

Status OpenError(int error, bool exclude_kernel) {
  const bool refused = error == EACCES || error == EPERM;
  std::string message = std::string("perf_event_open: ") + std::strerror(error);
  if (error == ENOENT) message += " (this CPU or hypervisor has no such event)";
  Status status(refused ? "ERR_PERMISSION" : "ERR_SYSCALL", std::move(message));
  if (refused) {
    status = std::move(status).WithFix(exclude_kernel ? "sudo sysctl kernel.perf_event_paranoid=2"
                                                      : "sudo sysctl kernel.perf_event_paranoid=1");
  }
  return std::move(status).WithSource("perf_event_open", error);
}

Result<PerfCounter> OpenWithKernelIfAllowed(uint32_t type, uint64_t config, const char** scope) {
  Result<PerfCounter> counter = PerfCounter::OpenForThread(type, config, /*exclude_kernel=*/false);
  if (counter.ok()) {
    *scope = "user+kernel";
    return counter;
  }
  counter = PerfCounter::OpenForThread(type, config, /*exclude_kernel=*/true);
  *scope = counter.ok() ? "user" : nullptr;
  return counter;
}

}  // namespace

PerfCounter::PerfCounter(PerfCounter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      time_enabled_ns_(other.time_enabled_ns_),
      time_running_ns_(other.time_running_ns_) {}

PerfCounter& PerfCounter::operator=(PerfCounter&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = std::exchange(other.fd_, -1);
    time_enabled_ns_ = other.time_enabled_ns_;
    time_running_ns_ = other.time_running_ns_;
  }
  return *this;
}

PerfCounter::~PerfCounter() {
  if (fd_ >= 0) close(fd_);
}

Result<PerfCounter> PerfCounter::OpenForThread(uint32_t type,
                                               uint64_t config,
                                               bool exclude_kernel) {
  perf_event_attr attr;
  std::memset(&attr, 0, sizeof(attr));
  attr.type = type;
  attr.size = sizeof(attr);
  attr.config = config;
  attr.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  attr.exclude_kernel = exclude_kernel ? 1 : 0;
  attr.exclude_hv = 1;
  const int64_t fd = syscall(SYS_perf_event_open,
                             &attr,
                             /*pid=*/0,
                             /*cpu=*/-1,
                             /*group_fd=*/-1,
                             PERF_FLAG_FD_CLOEXEC);
  if (fd < 0) return OpenError(errno, exclude_kernel);
  PerfCounter counter;
  counter.fd_ = static_cast<int>(fd);
  return counter;
}

bool PerfCounter::Read(uint64_t* value) {
  if (fd_ < 0) return false;
  Reading reading{};
  if (read(fd_, &reading, sizeof(reading)) != static_cast<ssize_t>(sizeof(reading))) return false;
  time_enabled_ns_ = reading.time_enabled;
  time_running_ns_ = reading.time_running;
  *value = reading.value;
  return true;
}

Result<PerfCounter> OpenPageFaults(const char** scope) {
  return OpenWithKernelIfAllowed(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, scope);
}

Result<PerfCounter> OpenDtlbLoadMisses(const char** scope) {
  return OpenWithKernelIfAllowed(PERF_TYPE_HW_CACHE, kDtlbLoadMisses, scope);
}

}  // namespace warpgauge
