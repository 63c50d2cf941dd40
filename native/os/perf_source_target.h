#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/source.h"
#include "core/status.h"

namespace warpgauge {

// Whose events the source `perf` counts, and what one of its rows is.
struct PerfTarget {
  enum class Kind : uint8_t {
    kProcess,  // pid=: all threads of a process, present and future; the default: this process
    kThread,   // tid=
    kTree,     // tree=: a process and its descendants, present and future
    kCommand,  // command=: a process that has not called exec yet, and its descendants, from exec
               // on
    kCpus,     // cpu=, system: everything that runs on these CPUs
    kCgroup,   // cgroup=: everything in a cgroup, on all CPUs or those of cpu=
  };
  enum class Per : uint8_t { kAll, kCpu, kThread };

  Kind kind = Kind::kProcess;
  Per per = Per::kAll;
  pid_t pid = 0;
  // Online CPUs, or those of cpu=: one set of events is opened on each of them for kCpus, kCgroup
  // and per=cpu.
  std::vector<int> cpus;
  std::string cgroup;  // path of the folder

  // What the target is, for `state` rows and errors: "process 42", "cgroup /sys/fs/cgroup/x".
  [[nodiscard]] std::string Name() const;
  [[nodiscard]] bool has_tasks() const { return kind != Kind::kCpus && kind != Kind::kCgroup; }
};

// Reads pid, tid, tree, command, cpu, cgroup, system and per. ERR_INVALID_ARGUMENT for a value that
// is none and for two targets at once; ERR_GONE for a process or cgroup that does not exist;
// ERR_UNAVAILABLE for a cgroup path relative to a hierarchy that is not mounted.
Result<PerfTarget> ParsePerfTarget(const SourceRequest& request);

}  // namespace warpgauge
