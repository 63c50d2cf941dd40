#include "memory/placement.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <utility>

namespace warpgauge {
namespace {

constexpr int kMaxCpus = 8192;
constexpr int kMaxNodes = 1024;
constexpr size_t kWordBits =
    8 * sizeof(unsigned long);  // NOLINT(google-runtime-int): the ABI of the kernel
constexpr int kBind = 2;
constexpr int kMoveOwn = 2;      // MPOL_MF_MOVE
constexpr int kModeBits = 0xff;  // above them: flags such as MPOL_F_STATIC_NODES

using Bits = std::vector<unsigned long>;  // NOLINT(google-runtime-int)

Status Failed(const char* call, const std::string& what) {
  const int error = errno;
  const char* code = error == EPERM || error == EACCES ? "ERR_PERMISSION"
                     : error == EINVAL                 ? "ERR_NUMA_NODE"
                     : error == ESRCH                  ? "ERR_GONE"
                                                       : "ERR_SYSCALL";
  return Status(code, what + ": " + std::strerror(error)).WithSource(call, error);
}

Bits ToBits(const std::vector<int>& numbers, int size) {
  Bits bits(static_cast<size_t>(size) / kWordBits, 0);
  for (const int number : numbers) {
    if (number >= 0 && number < size) {
      bits[static_cast<size_t>(number) / kWordBits] |= 1UL
                                                       << (static_cast<size_t>(number) % kWordBits);
    }
  }
  return bits;
}

std::vector<int> FromBits(const Bits& bits) {
  std::vector<int> numbers;
  for (size_t i = 0; i < bits.size() * kWordBits; ++i) {
    if ((bits[i / kWordBits] >> (i % kWordBits) & 1) != 0) numbers.push_back(static_cast<int>(i));
  }
  return numbers;
}

}  // namespace

Result<std::vector<int>> ThreadAffinity(int tid) {
  Bits bits(kMaxCpus / kWordBits, 0);
  if (syscall(SYS_sched_getaffinity, tid, bits.size() * sizeof(bits[0]), bits.data()) < 0) {
    return Failed("sched_getaffinity", "the CPUs of thread " + std::to_string(tid));
  }
  return FromBits(bits);
}

Status SetThreadAffinity(int tid, const std::vector<int>& cpus) {
  const Bits bits = ToBits(cpus, kMaxCpus);
  if (syscall(SYS_sched_setaffinity, tid, bits.size() * sizeof(bits[0]), bits.data()) != 0) {
    Status status =
        Failed("sched_setaffinity", "thread " + std::to_string(tid) + " cannot be bound");
    // EINVAL here: none of these CPUs exists, or the cpuset of the container has none of them.
    if (status.number() != EINVAL) return status;
    return Status("ERR_UNAVAILABLE",
                  "thread " + std::to_string(tid) + " may run on none of the CPUs asked for")
        .WithSource("sched_setaffinity", EINVAL);
  }
  return Status::Ok();
}

Result<MemoryPolicy> ThreadMemoryPolicy() {
  MemoryPolicy policy;
  Bits bits(kMaxNodes / kWordBits, 0);
  if (syscall(SYS_get_mempolicy, &policy.mode, bits.data(), kMaxNodes, nullptr, 0) != 0) {
    return Failed("get_mempolicy", "the memory policy of this thread");
  }
  policy.mode &= kModeBits;
  policy.nodes = FromBits(bits);
  return policy;
}

Status SetThreadMemoryPolicy(const MemoryPolicy& policy) {
  const Bits bits = ToBits(policy.nodes, kMaxNodes);
  // One more than the bits that count: the kernel takes one off.
  const bool plain = policy.nodes.empty();
  if (syscall(SYS_set_mempolicy,
              policy.mode,
              plain ? nullptr : bits.data(),
              plain ? 0 : kMaxNodes + 1) != 0) {
    return Failed("set_mempolicy", "this thread's memory cannot be bound");
  }
  return Status::Ok();
}

Status MovePages(void* address, size_t bytes, int node) {
  const Bits bits = ToBits({node}, kMaxNodes);
  if (syscall(SYS_mbind, address, bytes, kBind, bits.data(), kMaxNodes + 1, kMoveOwn) != 0) {
    return Failed("mbind", "the pages cannot be bound to node " + std::to_string(node));
  }
  return Status::Ok();
}

Result<std::vector<std::pair<int, uint64_t>>> PagesByNode(void* address,
                                                          size_t bytes,
                                                          size_t most) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t pages = bytes / page;
  const size_t count = std::min(pages, most);
  std::vector<void*> chosen(count);
  std::vector<int> nodes(count, -1);
  for (size_t i = 0; i < count; ++i) {
    chosen[i] = static_cast<uint8_t*>(address) + pages * i / count * page;
  }
  // Without a list of targets the call only asks.
  if (count > 0 &&
      syscall(SYS_move_pages, 0, count, chosen.data(), nullptr, nodes.data(), 0) != 0) {
    return Failed("move_pages", "the nodes of the pages cannot be asked for");
  }
  std::map<int, uint64_t> by_node;
  for (const int node : nodes) ++by_node[std::max(node, -1)];
  return std::vector<std::pair<int, uint64_t>>(by_node.begin(), by_node.end());
}

Status SetThpDisabled(bool disabled) {
  if (prctl(PR_SET_THP_DISABLE, disabled ? 1 : 0, 0, 0, 0) != 0) {
    return Failed("prctl", "transparent huge pages cannot be switched for this process");
  }
  return Status::Ok();
}

Status AdvisePages(void* address, size_t bytes, int advice) {
  if (madvise(address, bytes, advice) == 0) return Status::Ok();
  const int error = errno;
  // EINVAL: hugetlb pages, a policy of never, or a kernel without it. EAGAIN, EBUSY: pinned pages,
  // or no memory in one piece.
  return Status(error == EINVAL ? "ERR_THP_DISABLED" : "ERR_PAGES_NOT_GRANTED",
                std::string("the kernel does not take this advice for the region: ") +
                    std::strerror(error))
      .WithSource("madvise", error);
}

}  // namespace warpgauge
