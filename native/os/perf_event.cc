#include "os/perf_event.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

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

// kernel.perf_event_paranoid; 2, the kernel's default, when it cannot be read.
int ParanoidLevel() {
  const int fd = open("/proc/sys/kernel/perf_event_paranoid", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 2;
  char text[16] = {};
  const ssize_t size = read(fd, text, sizeof(text) - 1);
  close(fd);
  return size > 0 ? static_cast<int>(std::strtol(text, nullptr, 10)) : 2;
}

Status OpenError(int error, const perf_event_attr& attr, const PerfEventTarget& target) {
  const char* code = "ERR_SYSCALL";
  std::string message = std::string("perf_event_open: ") + std::strerror(error);
  std::string fix;
  switch (error) {
    case EACCES:
      code = "ERR_PERMISSION";
      // Level 2 forbids the kernel, 1 whole CPUs; distributions add 3 and 4, which forbid all.
      if (target.pid < 0 || target.is_cgroup) {
        fix = "sudo sysctl kernel.perf_event_paranoid=0";
      } else if (attr.exclude_kernel == 0) {
        fix = "sudo sysctl kernel.perf_event_paranoid=1";
      } else if (target.pid == 0 || ParanoidLevel() > 2) {
        fix = "sudo sysctl kernel.perf_event_paranoid=2";
      } else {
        message += " (the process belongs to another user)";
        fix = "sudo setcap cap_perfmon,cap_sys_ptrace=ep \"$(readlink -f \"$(command -v node)\")\"";
      }
      break;
    case EPERM:
      // The kernel itself answers EACCES: this is a seccomp profile or a security module.
      code = "ERR_PERMISSION";
      message += " (a container's seccomp profile forbids the call)";
      fix = "docker run --cap-add PERFMON";
      break;
    case ESRCH:
      code = "ERR_GONE";
      break;
    case EMFILE:
    case ENFILE:
      fix = "ulimit -n 1048576";
      break;
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case EOPNOTSUPP:
      code = "ERR_UNAVAILABLE";
      message += " (this CPU or hypervisor has no such event)";
      break;
    case ENOSYS:
      code = "ERR_UNAVAILABLE";
      message += " (this kernel or container has no perf events)";
      break;
    default:
      break;
  }
  return Status(code, std::move(message))
      .WithFix(std::move(fix))
      .WithSource("perf_event_open", error);
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

PerfEventFd& PerfEventFd::operator=(PerfEventFd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

PerfEventFd::~PerfEventFd() {
  if (fd_ >= 0) close(fd_);
}

perf_event_attr MakePerfEventAttr(uint32_t type, uint64_t config) {
  perf_event_attr attr;
  std::memset(&attr, 0, sizeof(attr));
  attr.type = type;
  attr.size = sizeof(attr);
  attr.config = config;
  return attr;
}

Result<PerfEventFd> OpenPerfEvent(const perf_event_attr& attr,
                                  const PerfEventTarget& target,
                                  int group) {
  perf_event_attr given = attr;  // the kernel writes the size it knows into it when it is smaller
  const uint64_t flags = PERF_FLAG_FD_CLOEXEC | (target.is_cgroup ? PERF_FLAG_PID_CGROUP : 0);
  const int64_t fd = syscall(SYS_perf_event_open, &given, target.pid, target.cpu, group, flags);
  if (fd < 0) return OpenError(errno, attr, target);
  return PerfEventFd(static_cast<int>(fd));
}

Result<PerfCounter> PerfCounter::OpenForThread(uint32_t type,
                                               uint64_t config,
                                               bool exclude_kernel) {
  perf_event_attr attr = MakePerfEventAttr(type, config);
  attr.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
  attr.exclude_kernel = exclude_kernel ? 1 : 0;
  attr.exclude_hv = 1;
  Result<PerfEventFd> fd = OpenPerfEvent(attr, PerfEventTarget{});
  if (!fd.ok()) return fd.status;
  PerfCounter counter;
  counter.fd_ = std::move(fd.value);
  return counter;
}

bool PerfCounter::Read(uint64_t* value) {
  if (!fd_.is_open()) return false;
  Reading reading{};
  if (read(fd_.get(), &reading, sizeof(reading)) != static_cast<ssize_t>(sizeof(reading))) {
    return false;
  }
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
