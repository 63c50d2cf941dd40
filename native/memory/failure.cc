#include "memory/failure.h"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "memory/hugetlb_cgroup.h"
#include "memory/kernel_files.h"

namespace warpgauge {
namespace {

constexpr char kThpEnabled[] = "/sys/kernel/mm/transparent_hugepage/enabled";
constexpr char kThp2mEnabled[] = "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled";

bool IsHugetlb(PageKind kind) { return kind == PageKind::k2M || kind == PageKind::k1G; }

std::string PoolFolder(PageKind kind) {
  return "/hugepages/hugepages-" + std::to_string(PageBytes(kind) / 1024) + "kB";
}

std::string GlobalPool(PageKind kind) { return "/sys/kernel/mm" + PoolFolder(kind); }

std::string NodePool(PageKind kind, int node) {
  return "/sys/devices/system/node/node" + std::to_string(node) + PoolFolder(kind);
}

std::string EchoCommand(uint64_t number, const std::string& knob) {
  return "echo " + std::to_string(number) + " | sudo tee " + knob;
}

// The numbers of one pool, in pages.
struct Pool {
  std::string folder;
  uint64_t total = 0, free = 0, reserved = 0;

  // Pages nobody has claimed. What overcommit may add comes on top, but only if memory for it is
  // found: when mmap failed it was not.
  [[nodiscard]] uint64_t available() const { return free > reserved ? free - reserved : 0; }
};

Pool ReadPool(const std::string& folder, const std::string& root) {
  const auto number = [&](const char* file) {
    return ReadKernelNumber(root + folder + "/" + file).value_or(0);
  };
  Pool pool;
  pool.folder = folder;
  pool.total = number("nr_hugepages");
  pool.free = number("free_hugepages");
  pool.reserved = number("resv_hugepages");  // global pools only
  return pool;
}

Status PoolFailure(const FailedRequest& request, const Pool& pool, uint64_t needed, int error) {
  const uint64_t missing = needed - pool.available();
  const std::string knob = pool.folder + "/nr_hugepages";
  const std::string kind = PageKindName(request.kind);
  if (pool.total == 0) {
    return Status("ERR_POOL_EMPTY",
                  "the pool of " + kind + " pages is empty (" + knob + " is 0); " +
                      std::to_string(needed) + " needed")
        .WithFix(EchoCommand(needed, knob))
        .WithSource(request.call, error);
  }
  return Status("ERR_POOL_SHORT",
                "the pool of " + kind + " pages is short: " + std::to_string(needed) + " needed, " +
                    std::to_string(pool.available()) + " available (" + std::to_string(pool.total) +
                    " in the pool, " + std::to_string(pool.free) + " free, " +
                    std::to_string(pool.reserved) + " of them reserved; " + knob + ")")
      .WithFix(EchoCommand(pool.total + missing, knob))
      .WithSource(request.call, error);
}

Status CgroupFailure(const FailedRequest& request,
                     bool reservations,
                     uint64_t bytes,
                     const char* call,
                     int error,
                     const std::string& root) {
  const HugetlbCgroup cgroup = HugetlbCgroup::OfThisProcess(PageBytes(request.kind), root);
  const char* code = reservations ? "ERR_CGROUP_HUGETLB_RSVD_MAX" : "ERR_CGROUP_HUGETLB_MAX";
  const auto limit = cgroup.Blocking(reservations, bytes);
  if (!limit) {
    // The counter rose, yet no limit is too low any more: it was raised, or belongs to a parent
    // that this mount does not show.
    return Status(code,
                  "a hugetlb cgroup limit above this process refused " + std::to_string(bytes) +
                      " bytes of " + PageKindName(request.kind))
        .WithFix(reservations ? "raise hugetlb.<size>.rsvd.max of the container or service"
                              : "raise hugetlb.<size>.max of the container or service")
        .WithSource(call, error);
  }
  return Status(code,
                limit->knob + " allows " + std::to_string(limit->limit_bytes) + " bytes, " +
                    std::to_string(limit->used_bytes) + " are used and " + std::to_string(bytes) +
                    " more were asked for")
      .WithFix(EchoCommand(limit->used_bytes + bytes, limit->knob))
      .WithSource(call, error);
}

Status NoMemory(const FailedRequest& request, const char* call, int error, std::string why) {
  return Status("ERR_NO_MEMORY",
                std::string(call) + " of " + std::to_string(request.bytes) + " bytes of " +
                    PageKindName(request.kind) + " failed: " + std::strerror(error) +
                    (why.empty() ? "" : "; " + std::move(why)))
      .WithSource(call, error);
}

Status Unsupported(const FailedRequest& request, const char* call, int error) {
  return Status("ERR_PAGE_KIND_UNSUPPORTED",
                "this kernel or CPU has no " + std::string(PageKindName(request.kind)) +
                    " pages: " + GlobalPool(request.kind) + " is absent or the size is refused")
      .WithFix("ls /sys/kernel/mm/hugepages")
      .WithSource(call, error);
}

std::string AddressSpaceLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  return "RLIMIT_AS is " + std::to_string(limit.rlim_cur) + " bytes";
}

// VmLck of this process: what the limit already counts.
uint64_t LockedKilobytes() {
  const std::string status = ReadKernelFile("/proc/self/status").value_or("");
  const size_t field = status.find("VmLck:");
  return field == std::string::npos ? 0 : std::strtoull(status.c_str() + field + 6, nullptr, 10);
}

std::string OnlineNodes(const std::string& root) {
  std::string nodes = ReadKernelFile(root + "/sys/devices/system/node/online").value_or("unknown");
  nodes.erase(std::remove(nodes.begin(), nodes.end(), '\n'), nodes.end());
  return nodes;
}

}  // namespace

Status MapFailure(const FailedRequest& request,
                  int error,
                  bool refused_by_cgroup,
                  const std::string& root) {
  if (!IsHugetlb(request.kind)) {
    return NoMemory(request, request.call, error, AddressSpaceLimit());
  }
  // memfd_create says ENODEV where mmap says EINVAL.
  if (error == EINVAL || error == ENODEV || error == ENOSYS) {
    return Unsupported(request, request.call, error);
  }
  if (error != ENOMEM) return NoMemory(request, request.call, error, {});
  if (refused_by_cgroup)
    return CgroupFailure(request, true, request.bytes, request.call, error, root);
  const uint64_t needed = request.bytes / PageBytes(request.kind);
  const Pool pool = ReadPool(GlobalPool(request.kind), root);
  if (needed > pool.available()) return PoolFailure(request, pool, needed, error);
  std::string why = "the pool has " + std::to_string(pool.available()) + " pages available";
  if (!HugetlbCgroup::OfThisProcess(PageBytes(request.kind), root).found()) {
    why +=
        ", so a hugetlb cgroup limit may bind, but no such hierarchy is mounted here to read it "
        "from";
  }
  const std::string address_space = AddressSpaceLimit();
  if (!address_space.empty()) why += "; " + address_space;
  return NoMemory(request, request.call, error, std::move(why));
}

Status PopulateFailure(const FailedRequest& request,
                       int error,
                       bool refused_by_cgroup,
                       size_t bytes_left,
                       const std::string& root) {
  constexpr char kCall[] = "madvise(MADV_POPULATE_WRITE)";
  if (!IsHugetlb(request.kind)) return NoMemory(request, kCall, error, {});
  if (error == EINVAL) {
    return Status(
               "ERR_POPULATE_UNSUPPORTED",
               std::string("this kernel has no MADV_POPULATE_WRITE (Linux 5.14); without it a ") +
                   PageKindName(request.kind) +
                   " page that cannot be backed ends the process by SIGBUS, so none is touched")
        .WithFix("use pages thp or 4k, or Linux 5.14 and later")
        .WithSource(kCall, error);
  }
  if (refused_by_cgroup) return CgroupFailure(request, false, bytes_left, kCall, error, root);
  if (request.numa_node >= 0) {
    const Pool pool = ReadPool(NodePool(request.kind, request.numa_node), root);
    const uint64_t needed = (bytes_left + PageBytes(request.kind) - 1) / PageBytes(request.kind);
    if (pool.free < needed) {
      const std::string knob = pool.folder + "/nr_hugepages";
      return Status("ERR_NUMA_NODE",
                    "node " + std::to_string(request.numa_node) + " has " +
                        std::to_string(pool.free) + " free " + PageKindName(request.kind) +
                        " pages, " + std::to_string(needed) + " are needed there (" + knob + ")")
          .WithFix(EchoCommand(pool.total + needed - pool.free, knob))
          .WithSource(kCall, error);
    }
  }
  std::string why;
  if (!HugetlbCgroup::OfThisProcess(PageBytes(request.kind), root).found()) {
    why = "a hugetlb cgroup limit may bind, but no such hierarchy is mounted here to read it from";
  }
  return NoMemory(request, kCall, error, std::move(why));
}

Status BindFailure(const FailedRequest& request, int error, const std::string& root) {
  const std::string node = std::to_string(request.numa_node);
  if (error == EPERM) {
    return Status("ERR_PERMISSION",
                  "mbind to node " + node +
                      " is forbidden: a seccomp filter of the container blocks it")
        .WithFix("docker run --cap-add=SYS_NICE")
        .WithSource("mbind", error);
  }
  if (error == ENOSYS) {
    return Status("ERR_NUMA_NODE",
                  "this kernel is built without NUMA: memory cannot be bound to a node")
        .WithFix("leave the NUMA node out")
        .WithSource("mbind", error);
  }
  return Status("ERR_NUMA_NODE",
                "memory cannot be bound to node " + node + ": nodes with memory here are " +
                    OnlineNodes(root) + ", and cpuset.mems may allow fewer")
      .WithFix("cat /sys/devices/system/node/online; grep Mems_allowed_list /proc/self/status")
      .WithSource("mbind", error);
}

Status LockFailure(const FailedRequest& request, int error) {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  const uint64_t kilobytes = LockedKilobytes() + (request.bytes + 1023) / 1024;
  return Status("ERR_MEMLOCK",
                "mlock of " + std::to_string(request.bytes) +
                    " bytes failed: " + std::strerror(error) + "; RLIMIT_MEMLOCK is " +
                    (limit.rlim_cur == RLIM_INFINITY ? std::string("unlimited")
                                                     : std::to_string(limit.rlim_cur) + " bytes") +
                    " for all locked memory of the process")
      .WithFix("ulimit -l " + std::to_string(kilobytes))
      .WithSource("mlock", error);
}

Status ThpPolicy(int disabled, const std::string& enabled, const std::string& enabled_2m) {
  // 1: refused altogether. 3 (Linux 6.18): refused except where advised, and we do advise.
  if (disabled == 1) {
    return Status("ERR_THP_DISABLED",
                  "transparent huge pages are switched off for this process by "
                  "prctl(PR_SET_THP_DISABLE), inherited from its parent")
        .WithFix(
            "start it from a parent that did not set PR_SET_THP_DISABLE (THP_enabled in "
            "/proc/self/status must be 1)")
        .WithSource("prctl(PR_GET_THP_DISABLE)", disabled);
  }
  // From Linux 6.8 each size has its own switch; "inherit" refers to the common one.
  const std::string_view size_word = ChosenWord(enabled_2m);
  if (size_word == "never") {
    return Status("ERR_THP_DISABLED", std::string(kThp2mEnabled) + " is never")
        .WithFix(std::string("echo inherit | sudo tee ") + kThp2mEnabled)
        .WithSource(kThp2mEnabled, 0);
  }
  const bool inherits = size_word.empty() || size_word == "inherit";
  if (inherits && ChosenWord(enabled) == "never") {
    return Status("ERR_THP_DISABLED", std::string(kThpEnabled) + " is never")
        .WithFix(std::string("echo madvise | sudo tee ") + kThpEnabled)
        .WithSource(kThpEnabled, 0);
  }
  return Status::Ok();
}

Status BasePagePolicy(PageKind kind, size_t base_page_bytes) {
  if (base_page_bytes == k4KiB || IsHugetlb(kind)) return Status::Ok();
  return Status("ERR_PAGE_KIND_UNSUPPORTED",
                std::string("pages ") + PageKindName(kind) +
                    " need a kernel with 4096-byte pages; this one has " +
                    std::to_string(base_page_bytes))
      .WithFix("use pages 2m or 1g where /sys/kernel/mm/hugepages has them");
}

}  // namespace warpgauge
