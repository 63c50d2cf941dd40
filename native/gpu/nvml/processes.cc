#include "gpu/nvml/processes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace warpgauge {
namespace {

// Up to 16 KiB of a /proc file; empty when it cannot be read.
std::string ReadSmallFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::string text(16384, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = read(fd, text.data() + size, text.size() - size);
    if (n <= 0) break;
    size += static_cast<size_t>(n);
  }
  close(fd);
  text.resize(size);
  return text;
}

// Field 22 of /proc/<pid>/stat; the command before it may hold anything, also ") ".
int64_t StartTicks(const std::string& stat) {
  const size_t end = stat.rfind(')');
  if (end == std::string::npos) return -1;
  size_t at = end + 1;
  for (int field = 3; field <= 22; field++) {
    at = stat.find_first_not_of(' ', at);
    if (at == std::string::npos) return -1;
    if (field == 22) return std::strtoll(stat.c_str() + at, nullptr, 10);
    at = stat.find(' ', at);
    if (at == std::string::npos) return -1;
  }
  return -1;
}

// The last number of the line "NSpid:": the pid in the innermost namespace.
int64_t InnermostPid(const std::string& status) {
  const size_t line = status.find("\nNSpid:");
  if (line == std::string::npos) return -1;
  const size_t end = status.find('\n', line + 1);
  const std::string numbers = status.substr(line + 7, end - line - 7);
  const size_t last = numbers.find_last_of(" \t");
  return std::strtoll(numbers.c_str() + (last == std::string::npos ? 0 : last), nullptr, 10);
}

// The path of cgroup v2 ("0::/..."), else the one of the first hierarchy.
std::string CgroupPath(const std::string& text) {
  std::string first;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.compare(0, 3, "0::") == 0) return line.substr(3);
    const size_t colon = line.rfind(":/");
    if (first.empty() && colon != std::string::npos) first = line.substr(colon + 1);
  }
  return first;
}

GpuProcess& FindOrAdd(std::vector<GpuProcess>* list, const NvmlProcessEntry& entry) {
  for (GpuProcess& process : *list) {
    if (process.pid == entry.pid && process.gpu_instance == entry.gpu_instance &&
        process.compute_instance == entry.compute_instance) {
      return process;
    }
  }
  GpuProcess process;
  process.pid = entry.pid;
  process.gpu_instance = entry.gpu_instance;
  process.compute_instance = entry.compute_instance;
  list->push_back(process);
  return list->back();
}

}  // namespace

std::vector<GpuProcess> MergeProcesses(const std::vector<NvmlProcessEntry>& compute,
                                       const std::vector<NvmlProcessEntry>& graphics,
                                       const std::vector<NvmlProcessEntry>& mps,
                                       const std::vector<NvmlProcessUse>& use) {
  std::vector<GpuProcess> merged;
  const std::vector<NvmlProcessEntry>* const lists[] = {&compute, &graphics, &mps};
  for (size_t kind = 0; kind < 3; kind++) {
    for (const NvmlProcessEntry& entry : *lists[kind]) {
      GpuProcess& process = FindOrAdd(&merged, entry);
      if (kind == 0) process.compute = true;
      if (kind == 1) process.graphics = true;
      if (kind == 2) process.mps = true;
      if (IsBlank(entry.memory)) continue;
      if (process.memory == kNvmlNotAvailable64 || entry.memory > process.memory) {
        process.memory = entry.memory;
      }
    }
  }
  for (const NvmlProcessUse& sample : use) {
    for (GpuProcess& process : merged) {
      if (process.pid != sample.pid) continue;
      if (process.has_use && process.use.timestamp_us >= sample.timestamp_us) continue;
      process.has_use = true;
      process.use = sample;
    }
  }
  return merged;
}

ProcessLookup::ProcessLookup(std::string root) : root_(std::move(root)) {
  // The number of the initial namespace is fixed in the kernel (PROC_PID_INIT_INO). Where it cannot
  // be read (a recorded tree) there is no other.
  char link[64] = {};
  const ssize_t n = readlink((root_ + "/proc/self/ns/pid").c_str(), link, sizeof(link) - 1);
  initial_ = n <= 0 || std::strcmp(link, "pid:[4026531836]") == 0;
}

const ProcessIdentity* ProcessLookup::Find(unsigned pid) {
  if (!initial_) return nullptr;
  const std::string folder = root_ + "/proc/" + std::to_string(pid);
  const std::string stat = ReadSmallFile(folder + "/stat");
  const int64_t start = StartTicks(stat);
  if (start < 0) {
    known_.erase(pid);
    return nullptr;
  }
  ProcessIdentity& identity = known_[pid];
  if (identity.start_ticks != start) {
    identity.start_ticks = start;
    const size_t open = stat.find('(');
    const size_t close = stat.rfind(')');
    identity.name = open < close ? stat.substr(open + 1, close - open - 1) : "";
    identity.container_pid = InnermostPid(ReadSmallFile(folder + "/status"));
    identity.cgroup = CgroupPath(ReadSmallFile(folder + "/cgroup"));
    // Processes that ended are forgotten in bulk, so that years of short jobs cost nothing.
    if (known_.size() > 4096) {
      ProcessIdentity kept = std::move(identity);
      known_.clear();
      return &(known_[pid] = std::move(kept));
    }
  }
  return &identity;
}

}  // namespace warpgauge
