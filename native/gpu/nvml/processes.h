#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "gpu/nvml/scheme.h"

namespace warpgauge {

// One process on one GPU or MIG instance, as a row of gpu.process has it.
struct GpuProcess {
  unsigned pid = 0;
  bool compute = false, graphics = false, mps = false;
  uint64_t memory = kNvmlNotAvailable64;  // bytes
  unsigned gpu_instance = kNvmlNotAvailable32, compute_instance = kNvmlNotAvailable32;
  bool has_use = false;
  NvmlProcessUse use;  // newest sample
};

// The lists of compute, graphics and MPS processes as one row per process (and instance), with the
// newest utilization sample of each. A process in two lists is one row; its memory is the larger
// figure, because both lists count the same memory.
std::vector<GpuProcess> MergeProcesses(const std::vector<NvmlProcessEntry>& compute,
                                       const std::vector<NvmlProcessEntry>& graphics,
                                       const std::vector<NvmlProcessEntry>& mps,
                                       const std::vector<NvmlProcessUse>& use);

// What /proc says of a process that NVML named.
struct ProcessIdentity {
  int64_t start_ticks = -1;  // field 22 of stat: with the pid the identity of a process
  int64_t container_pid = -1;
  std::string name, cgroup;
};

// Looks processes up under `root`/proc and remembers them by pid and start, so that a row costs one
// small read. NVML names pids of the initial PID namespace: in another one /proc/<pid> is somebody
// else, and nothing is looked up. One thread.
class ProcessLookup {
 public:
  explicit ProcessLookup(std::string root);
  // nullptr when the process is gone or cannot be looked up here.
  const ProcessIdentity* Find(unsigned pid);
  [[nodiscard]] bool in_initial_namespace() const { return initial_; }

 private:
  std::string root_;
  bool initial_;
  std::unordered_map<unsigned, ProcessIdentity> known_;
};

}  // namespace warpgauge
