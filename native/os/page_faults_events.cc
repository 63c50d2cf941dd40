#include "os/page_faults_events.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "os/process_tree.h"

namespace warpgauge {
namespace {

constexpr int kMaxAttempts = 8;

Result<PerfEventFd> OpenEvent(uint64_t config,
                              pid_t tid,
                              int cpu,
                              const FaultEvents::Attributes& attributes) {
  perf_event_attr attr = MakePerfEventAttr(PERF_TYPE_SOFTWARE, config);
  attr.sample_period = 1;
  attr.sample_type = FaultSampleType();
  attr.sample_id_all = 1;
  attr.use_clockid = 1;
  attr.clockid = CLOCK_MONOTONIC;
  attr.exclude_kernel = attributes.exclude_kernel ? 1 : 0;
  attr.exclude_hv = 1;
  attr.inherit = attributes.inherit ? 1 : 0;
  attr.inherit_thread = attributes.threads_only ? 1 : 0;
  if (config == PERF_COUNT_SW_PAGE_FAULTS_MIN) {  // once is enough
    attr.mmap = 1;
    attr.mmap_data = 1;
    attr.mmap2 = 1;
    attr.comm = 1;
    attr.comm_exec = 1;
    attr.task = 1;
  }
  return OpenPerfEvent(attr, {.pid = tid, .cpu = cpu});
}

std::vector<int> OnlineCpus() {
  std::string text(size_t{64} * 1024, '\0');
  const int fd = open("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC);
  const ssize_t n = fd < 0 ? -1 : read(fd, text.data(), text.size());
  if (fd >= 0) close(fd);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  std::vector<int> cpus = ParseCpuList(text);
  if (!cpus.empty()) return cpus;
  // Without /sys: those that are configured; an event on one that is off is left out.
  for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) cpus.push_back(cpu);
  return cpus;
}

// All threads of the target; false when the process that was named is gone.
bool ListTargetTasks(const FaultTarget& target, ProcessTree* tree, std::vector<pid_t>* tids) {
  tids->clear();
  if (target.scope == FaultTarget::Scope::kProcess) return ListTasks("", target.pid, tids);
  const std::vector<pid_t>& pids = tree->List();
  if (pids.empty()) return false;
  std::vector<pid_t> tasks;
  for (const pid_t pid : pids) {
    if (ListTasks("", pid, &tasks)) tids->insert(tids->end(), tasks.begin(), tasks.end());
  }
  std::sort(tids->begin(), tids->end());
  return !tids->empty();
}

Status IoctlFailure(int error) {
  return Status("ERR_SYSCALL", std::string("page-faults: perf ioctl: ") + std::strerror(error))
      .WithSource("ioctl", error);
}

Status Gone(pid_t pid) {
  return Status("ERR_GONE", "page-faults: there is no process " + std::to_string(pid))
      .WithSource("/proc", ESRCH)
      .WithFix("ps -e -o pid,args");
}

}  // namespace

std::vector<int> ParseCpuList(const std::string& text) {
  constexpr int kMaxCpu = 1 << 20;
  std::vector<int> cpus;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end && *at != '\n') {
    int first = 0;
    auto [stop, error] = std::from_chars(at, end, first);
    if (error != std::errc() || first < 0) return {};
    int last = first;
    if (stop < end && *stop == '-') {
      const auto [after, second_error] = std::from_chars(stop + 1, end, last);
      if (second_error != std::errc()) return {};
      stop = after;
    }
    if (last < first || last > kMaxCpu) return {};
    for (int cpu = first; cpu <= last; cpu++) cpus.push_back(cpu);
    at = stop < end && *stop == ',' ? stop + 1 : stop;
    if (at == stop && at < end && *at != '\n') return {};
  }
  return cpus;
}

void FaultEvents::CloseEvents() {
  rings_.clear();
  events_.clear();
  major_ids_.clear();
}

Result<FaultEvents::Attributes> FaultEvents::ProbeAttributes(pid_t tid) const {
  Attributes attributes;
  attributes.inherit = tid >= 0;
  attributes.threads_only = target_.scope == FaultTarget::Scope::kProcess && tid >= 0;
  while (true) {
    const Result<PerfEventFd> event =
        OpenEvent(PERF_COUNT_SW_PAGE_FAULTS_MIN, tid, cpus_[0], attributes);
    if (event.ok()) return attributes;
    const int error = event.status.number();
    if (error == EINVAL && attributes.threads_only) {
      // Linux before 5.13: children of fork are sampled too, and filtered out here.
      attributes.threads_only = false;
    } else if ((error == EACCES || error == EPERM) && !attributes.exclude_kernel) {
      attributes.exclude_kernel = true;
    } else {
      return event.status;
    }
  }
}

Status FaultEvents::OpenTask(pid_t tid, const Attributes& attributes) {
  for (size_t cpu = 0; cpu < cpus_.size(); cpu++) {
    for (const uint64_t config : {PERF_COUNT_SW_PAGE_FAULTS_MIN, PERF_COUNT_SW_PAGE_FAULTS_MAJ}) {
      Result<PerfEventFd> event = OpenEvent(config, tid, cpus_[cpu], attributes);
      if (!event.ok()) {
        if (event.status.number() == ESRCH) return Status::Ok();
        if (event.status.number() == ENODEV) break;  // the CPU went off
        return event.status;
      }
      uint64_t id = 0;
      if (ioctl(event.value.get(), PERF_EVENT_IOC_ID, &id) != 0) return IoctlFailure(errno);
      if (config == PERF_COUNT_SW_PAGE_FAULTS_MAJ) {
        major_ids_.insert(std::upper_bound(major_ids_.begin(), major_ids_.end(), id), id);
      }
      events_.push_back({std::move(event.value), cpu});
    }
  }
  return Status::Ok();
}

Status FaultEvents::OpenSystem() {
  CloseEvents();
  const Result<Attributes> attributes = ProbeAttributes(-1);
  if (!attributes.ok()) return attributes.status;
  is_user_only_ = attributes.value.exclude_kernel;
  return OpenTask(-1, attributes.value);
}

// Tasks are listed before and after: when the two lists are the same, every task has its events and
// none has them twice (its own and those inherited from the task that made it). Else once more.
Status FaultEvents::OpenTargets() {
  if (target_.scope == FaultTarget::Scope::kSystem) return OpenSystem();
  ProcessTree tree("", target_.pid);
  std::vector<pid_t> tids;
  std::vector<pid_t> after;
  if (!ListTargetTasks(target_, &tree, &tids)) return Gone(target_.pid);
  const Result<Attributes> attributes = ProbeAttributes(tids[0]);
  if (!attributes.ok()) {
    return attributes.status.number() == ESRCH ? Gone(target_.pid) : attributes.status;
  }
  is_user_only_ = attributes.value.exclude_kernel;
  for (int attempt = 0; tids.size() * cpus_.size() * 2 <= kMaxEvents; attempt++) {
    for (const pid_t tid : tids) {
      Status status = OpenTask(tid, attributes.value);
      if (!status.ok()) return status;
    }
    if (!ListTargetTasks(target_, &tree, &after)) return Gone(target_.pid);
    is_unstable_ = after != tids;
    if (!is_unstable_ || attempt == kMaxAttempts) return Status::Ok();
    CloseEvents();
    tids.swap(after);
  }
  is_filtered_ = true;
  Status status = OpenSystem();
  if (!status.ok()) return status;
  // Children made from here on announce themselves by a fork record.
  if (target_.scope == FaultTarget::Scope::kTree) wanted_ = tree.List();
  if (wanted_.empty()) wanted_ = {target_.pid};
  std::sort(wanted_.begin(), wanted_.end());
  return Status::Ok();
}

Status FaultEvents::MapRings(size_t ring_bytes) {
  std::vector<int> leaders(cpus_.size(), -1);
  for (const Event& event : events_) {
    int& leader = leaders[event.cpu];
    if (leader < 0) {
      Result<FaultRing> ring = FaultRing::Map(event.fd.get(), ring_bytes);
      if (!ring.ok()) return ring.status;
      rings_.push_back(std::move(ring.value));
      leader = event.fd.get();
    } else if (ioctl(event.fd.get(), PERF_EVENT_IOC_SET_OUTPUT, leader) != 0) {
      return IoctlFailure(errno);
    }
  }
  return Status::Ok();
}

Result<FaultEvents> FaultEvents::Open(const FaultTarget& target, size_t ring_bytes) {
  constexpr size_t kMostBytes = size_t{2} << 20;
  constexpr size_t kAllBytes = size_t{64} << 20;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  FaultEvents events;
  events.target_ = target;
  events.cpus_ = OnlineCpus();
  Status status = events.OpenTargets();
  if (!status.ok()) return status;
  if (events.events_.empty()) return Gone(target.pid);
  const bool is_chosen = ring_bytes != 0;
  if (!is_chosen) {
    ring_bytes = std::clamp(std::bit_floor(kAllBytes / events.cpus_.size()), page, kMostBytes);
  }
  const size_t wanted = ring_bytes;
  while (true) {
    status = events.MapRings(ring_bytes);
    if (status.ok()) return events;
    events.rings_.clear();
    const bool is_refused = status.number() == EPERM || status.number() == ENOMEM;
    if (!is_refused) return status;
    if (is_chosen || ring_bytes <= page) break;
    ring_bytes /= 2;
  }
  return Status("ERR_PERMISSION",
                "page-faults: the kernel locks no ring of " + std::to_string(ring_bytes) +
                    " bytes per CPU for this user")
      .WithFix("sudo sysctl kernel.perf_event_mlock_kb=" + std::to_string((wanted + page) / 1024))
      .WithSource("mmap", status.number());
}

bool FaultEvents::IsMajor(uint64_t id) const {
  return std::binary_search(major_ids_.begin(), major_ids_.end(), id);
}

bool FaultEvents::IsWanted(const RingRecord& record) {
  if (target_.scope == FaultTarget::Scope::kSystem) return true;
  const auto pid = static_cast<pid_t>(record.pid);
  if (target_.scope == FaultTarget::Scope::kProcess) return pid == target_.pid;
  if (!is_filtered_) return true;
  const auto place = std::lower_bound(wanted_.begin(), wanted_.end(), pid);
  const bool is_known = place != wanted_.end() && *place == pid;
  if (record.type == RingRecordType::kFork && !is_known) {
    const auto parent = static_cast<pid_t>(record.parent_pid);
    if (!std::binary_search(wanted_.begin(), wanted_.end(), parent)) return false;
    wanted_.insert(place, pid);
    return true;
  }
  // A number that is free again may be given to a stranger.
  if (record.type == RingRecordType::kExit && is_known && record.pid == record.tid) {
    wanted_.erase(place);
  }
  return is_known;
}

}  // namespace warpgauge
