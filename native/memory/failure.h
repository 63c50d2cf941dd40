#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/status.h"
#include "memory/page_kind.h"

namespace warpgauge {

// Turns the errno of a failed allocation into the knob that caused it and the command that mends
// it. Slow (reads sysfs and cgroup files): called after a failure only. `root` goes before every
// path, so that tests can give a recorded tree. Any thread.

struct FailedRequest {
  PageKind kind = PageKind::k4K;
  size_t bytes = 0;           // of the mapping, whole pages
  int numa_node = -1;         // -1: not bound
  const char* call = "mmap";  // what failed, for MapFailure
};

// mmap or memfd_create failed. `refused_by_cgroup`: repeating the call made a hugetlb cgroup count
// one more refusal, which is what tells a limit from an empty pool (both are ENOMEM).
Status MapFailure(const FailedRequest& request,
                  int error,
                  bool refused_by_cgroup,
                  const std::string& root = "");

// MADV_POPULATE_WRITE failed; `bytes_left` is what it still had to fault in.
Status PopulateFailure(const FailedRequest& request,
                       int error,
                       bool refused_by_cgroup,
                       size_t bytes_left,
                       const std::string& root = "");

// mbind to request.numa_node failed.
Status BindFailure(const FailedRequest& request, int error, const std::string& root = "");

// mlock failed.
Status LockFailure(const FailedRequest& request, int error);

// Why transparent 2 MB pages cannot be had now; Ok when they can. `disabled` is
// prctl(PR_GET_THP_DISABLE), the texts are the files transparent_hugepage/enabled and
// .../hugepages-2048kB/enabled (empty: absent).
Status ThpPolicy(int disabled, const std::string& enabled, const std::string& enabled_2m);

// Whether this kernel's base pages (4096 bytes almost everywhere, 16 or 64 KB on some arm64) can
// make the kind at all.
Status BasePagePolicy(PageKind kind, size_t base_page_bytes);

}  // namespace warpgauge
