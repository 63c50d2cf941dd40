#include "os/perf_source_target.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <utility>

#include "os/perf_event_name.h"
#include "os/pread_file.h"

namespace warpgauge {
namespace {

Status Bad(const std::string& key, const std::string& expected, const std::string& given) {
  return {"ERR_INVALID_ARGUMENT",
          "Expected " + expected + " for " + key + " of perf but received \"" + given + "\""};
}

bool ReadPid(const std::string& text, pid_t* pid) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *pid);
  return error == std::errc() && end == text.data() + text.size() && *pid > 0;
}

// Empty when it cannot be read.
std::string ReadWhole(const std::string& path) {
  PreadFile file(path, PreadFile::Shape::kRecords);
  std::string_view text;
  return file.Read(&text) ? std::string(text) : std::string();
}

// The CPUs that are online; empty when sysfs does not tell.
std::vector<int> OnlineCpus(const std::string& root) {
  std::vector<int> cpus;
  if (!ParseCpuList(ReadWhole(root + "/sys/devices/system/cpu/online"), &cpus)) cpus.clear();
  return cpus;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

// 30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw
std::string Cgroup2MountPoint(std::string_view mounts) {
  while (!mounts.empty()) {
    std::string_view line = mounts.substr(0, mounts.find('\n'));
    mounts.remove_prefix(std::min(mounts.size(), line.size() + 1));
    const size_t dash = line.find(" - ");
    if (dash == std::string_view::npos || !line.substr(dash + 3).starts_with("cgroup2 ")) continue;
    for (int field = 0; field < 4; field++) {
      line.remove_prefix(std::min(line.size(), line.find(' ') + 1));
    }
    return std::string(line.substr(0, line.find(' ')));
  }
  return "";
}

// A folder as given, or below the mount point of cgroup v2.
Result<std::string> FindCgroup(const std::string& root, const std::string& path) {
  if (path.empty() || path[0] != '/') return Bad("cgroup", "a path that begins with /", path);
  if (Exists(root + path + "/cgroup.procs")) return root + path;
  const std::string mount_point = Cgroup2MountPoint(ReadWhole(root + "/proc/self/mountinfo"));
  if (mount_point.empty()) {
    return Status("ERR_UNAVAILABLE", "cgroup=" + path + ": no cgroup v2 hierarchy is mounted")
        .WithFix("sudo mount -t cgroup2 none /sys/fs/cgroup")
        .WithSource("/proc/self/mountinfo", 0);
  }
  const std::string folder = root + mount_point + path;
  if (Exists(folder + "/cgroup.procs")) return folder;
  return Status("ERR_GONE",
                "Expected a cgroup but there is none at " + path + " nor at " + mount_point + path)
      .WithFix("find " + mount_point + " -name cgroup.procs");
}

}  // namespace

std::string PerfTarget::Name() const {
  switch (kind) {
    case Kind::kThread:
      return "thread " + std::to_string(pid);
    case Kind::kCpus:
      return "system";
    case Kind::kCgroup:
      return "cgroup " + cgroup;
    default:
      return "process " + std::to_string(pid);
  }
}

Result<PerfTarget> ParsePerfTarget(const SourceRequest& request) {
  PerfTarget target;
  int targets = 0;
  const std::pair<const char*, PerfTarget::Kind> tasks[] = {
      {"pid", PerfTarget::Kind::kProcess},
      {"tid", PerfTarget::Kind::kThread},
      {"tree", PerfTarget::Kind::kTree},
      {"command", PerfTarget::Kind::kCommand},
  };
  for (const auto& [key, kind] : tasks) {
    if (!request.options.contains(key)) continue;
    targets++;
    target.kind = kind;
    const std::string text = request.Option(key);
    if (!ReadPid(text, &target.pid)) return Bad(key, "the number of a process", text);
  }
  target.cpus = OnlineCpus(request.root);
  const std::vector<int> online = target.cpus;
  if (request.options.contains("cgroup")) {
    targets++;
    target.kind = PerfTarget::Kind::kCgroup;
    Result<std::string> folder = FindCgroup(request.root, request.Option("cgroup"));
    if (!folder.ok()) return folder.status;
    target.cgroup = std::move(folder.value);
  }
  const std::string system = request.Option("system", "false");
  if (system != "false") {
    if (!system.empty() && system != "true") return Bad("system", "true or false", system);
    targets++;
    target.kind = PerfTarget::Kind::kCpus;
  }
  if (request.options.contains("cpu")) {
    if (target.kind != PerfTarget::Kind::kCgroup) {
      targets++;
      target.kind = PerfTarget::Kind::kCpus;
    }
    const std::string text = request.Option("cpu");
    const bool is_list = ParseCpuList(text, &target.cpus);
    if (!is_list ||
        !std::includes(online.begin(), online.end(), target.cpus.begin(), target.cpus.end())) {
      return Bad("cpu", "CPUs that are online, such as 0-3+8,", text);
    }
  }
  if (targets > 1) {
    return Status("ERR_INVALID_ARGUMENT",
                  "Expected one of pid, tid, tree, command, cgroup, cpu and system for perf but "
                  "received several (cgroup with cpu is the one pair)");
  }
  if (targets == 0) target.pid = getpid();

  const std::string per = request.Option("per");
  if (per == "cpu") {
    target.per = PerfTarget::Per::kCpu;
  } else if (per == "thread") {
    target.per = PerfTarget::Per::kThread;
    if (!target.has_tasks()) return Bad("per", "cpu where the target is no process", per);
  } else if (!per.empty() && per != "all") {
    return Bad("per", "cpu or thread", per);
  }
  const bool needs_cpus = !target.has_tasks() || target.per == PerfTarget::Per::kCpu;
  if (needs_cpus && target.cpus.empty()) {
    return Status("ERR_UNAVAILABLE", "/sys/devices/system/cpu/online does not tell the CPUs")
        .WithSource("/sys/devices/system/cpu/online", 0);
  }
  return target;
}

}  // namespace warpgauge
