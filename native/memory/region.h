#pragma once

#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "memory/page_kind.h"
#include "memory/page_proof.h"

namespace warpgauge {

struct RegionOptions {
  size_t bytes =
      0;  // what the user asked for; the mapping is rounded up to whole pages of the kind
  PageKind kind = PageKind::k4K;
  int numa_node =
      -1;  // bind all pages there (MPOL_BIND) before the first touch; -1: the thread's policy
  bool lock = false;    // mlock after population
  bool shared = false;  // memfd-backed MAP_SHARED instead of private anonymous
};

// Memory on pages of one proven kind. Owner of the mapping (and of the memfd when shared);
// move-only; one thread at a time. The order is fixed: Map, then (warm) Populate, then SplitTo4K /
// Lock / Prove, then Unmap.
//
// Data starts 2 MB-aligned for every kind, so that alignment is never a second variable in a
// comparison. Never MAP_NORESERVE and never a first touch by user code: MADV_POPULATE_WRITE turns a
// page that cannot be backed (cgroup limit, empty node) into EFAULT instead of SIGBUS.
class Region {
 public:
  Region() = default;
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region();

  // Reserves address space and page-kind advice; touches no page. Fails with ERR_POOL_EMPTY,
  // ERR_POOL_SHORT, ERR_CGROUP_HUGETLB_RSVD_MAX, ERR_PAGE_KIND_UNSUPPORTED, ERR_THP_DISABLED,
  // ERR_NUMA_NODE, ERR_NO_MEMORY, ERR_PERMISSION (mbind under seccomp), each with the knob and the
  // command in fix().
  static Result<Region> Map(const RegionOptions& options);

  // Faults every page in by MADV_POPULATE_WRITE, on `threads` threads over page-aligned slices; the
  // calling thread is the first of them. Shared thp is collapsed to 2 MB pages afterwards
  // (MADV_COLLAPSE, Linux 6.1). `faults`: the minor faults those threads took (getrusage, thread
  // scope: other threads do not count). ERR_CGROUP_HUGETLB_MAX, ERR_NO_MEMORY,
  // ERR_POPULATE_UNSUPPORTED (Linux < 5.14 and hugetlb).
  Status Populate(unsigned threads, uint64_t* faults = nullptr);

  // kThp regions that are populated only: splits every 2 MB mapping into 4 KB entries over the same
  // contiguous memory, then MADV_NOHUGEPAGE so that khugepaged does not heal it.
  Status SplitTo4K();

  Status Lock();

  // Proof of the whole mapping (mapped_bytes), not only of the bytes asked for.
  [[nodiscard]] Result<PageProof> Prove() const;

  // Idempotent.
  void Unmap();

  [[nodiscard]] uint8_t* data() const { return data_; }
  [[nodiscard]] size_t bytes() const { return options_.bytes; }
  [[nodiscard]] size_t mapped_bytes() const { return mapped_bytes_; }
  [[nodiscard]] const RegionOptions& options() const { return options_; }
  [[nodiscard]] int fd() const { return fd_; }
  // In the registry of this process (core/region_registry.h), from Map to Unmap; 0 outside that.
  [[nodiscard]] uint64_t id() const { return id_; }

 private:
  Status MapHugetlb();
  Status MapAligned();
  Status CollapseShared();
  [[nodiscard]] Status ExplainPopulate(uint8_t* start, size_t bytes, int error) const;

  RegionOptions options_;
  uint8_t* data_ = nullptr;      // 2 MB-aligned (1g: 1 GB-aligned)
  size_t mapped_bytes_ = 0;      // whole pages from data_
  void* reservation_ = nullptr;  // address space that data_ lies in; equals data_ for hugetlb
  size_t reservation_bytes_ = 0;
  int fd_ = -1;
  uint64_t id_ = 0;
};

// NUMA nodes of up to `max_samples` pages spread over the range (move_pages query), as a bit mask
// of nodes 0-63; 0 where the kernel has no NUMA or nothing is present.
uint64_t NodesOf(const void* address, size_t bytes, size_t max_samples);

}  // namespace warpgauge
