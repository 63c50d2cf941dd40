#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/status.h"

namespace warpgauge {

// Where threads run and where memory comes from: thin, checked calls of the kernel, on the calling
// thread unless a thread is named. What is set here ends with the thread or process; children
// inherit it, through exec too.

// CPUs on which thread `tid` may run (0: the caller).
Result<std::vector<int>> ThreadAffinity(int tid);
Status SetThreadAffinity(int tid, const std::vector<int>& cpus);

// The memory policy of the calling thread: MPOL_DEFAULT 0, PREFERRED 1, BIND 2, INTERLEAVE 3, LOCAL
// 4, PREFERRED_MANY 5.
struct MemoryPolicy {
  int mode = 0;
  std::vector<int> nodes;
};
Result<MemoryPolicy> ThreadMemoryPolicy();
Status SetThreadMemoryPolicy(const MemoryPolicy& policy);

// Binds the pages of [address, address + bytes) to `node` and moves those that are there already
// (mbind).
Status MovePages(void* address, size_t bytes, int node);
// Pages of [address, address + bytes), at most `most` evenly chosen ones, by the node they lie on:
// (node, count). Pages that are not there are counted under -1.
Result<std::vector<std::pair<int, uint64_t>>> PagesByNode(void* address, size_t bytes, size_t most);

// No transparent huge pages for this process from here on, nor for its children (prctl
// PR_SET_THP_DISABLE).
Status SetThpDisabled(bool disabled);
// MADV_HUGEPAGE 14, MADV_NOHUGEPAGE 15, MADV_COLLAPSE 25.
Status AdvisePages(void* address, size_t bytes, int advice);

}  // namespace warpgauge
