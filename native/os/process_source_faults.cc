#include "os/process_source_faults.h"

#include <unistd.h>

#include <cerrno>

#include "os/process_tree.h"
#include "os/source_support.h"

namespace warpgauge {
namespace {

constexpr int kMaxAttempts = 8;

Result<PerfEventFd> OpenCounter(uint64_t config, pid_t tid, int group) {
  perf_event_attr attr = MakePerfEventAttr(PERF_TYPE_SOFTWARE, config);
  attr.read_format = PERF_FORMAT_GROUP;
  attr.exclude_hv = 1;
  attr.inherit = 1;
  attr.inherit_thread = 1;
  return OpenPerfEvent(attr, {.pid = tid, .cpu = -1}, group);
}

}  // namespace

bool ProcessFaultCounter::OpenTask(pid_t tid) {
  Task task;
  for (PerfEventFd* fd : {&task.minor, &task.major}) {
    const bool is_leader = fd == &task.minor;
    Result<PerfEventFd> opened =
        OpenCounter(is_leader ? PERF_COUNT_SW_PAGE_FAULTS_MIN : PERF_COUNT_SW_PAGE_FAULTS_MAJ,
                    tid,
                    is_leader ? -1 : task.minor.get());
    if (!opened.ok()) {
      error_ = opened.status.number();
      why_ = error_ == EINVAL ? "needs_linux_5.13" : ReasonForErrno(error_);
      return error_ == ESRCH;  // a thread that has ended is none
    }
    *fd = std::move(opened.value);
  }
  tasks_.push_back(std::move(task));
  return true;
}

// As long as threads come or go while the events are opened some would be counted twice, by their
// own event and by that of the thread that made them: then all is opened again.
bool ProcessFaultCounter::Open(pid_t pid, size_t most_tasks) {
  std::vector<pid_t> tids;
  std::vector<pid_t> after;
  bool is_there = ListTasks("", pid, &tids);
  for (int attempt = 0; is_there && attempt < kMaxAttempts; attempt++) {
    tasks_.clear();
    why_ = "too_many_threads";
    error_ = 0;
    if (tids.size() > most_tasks) return false;
    for (const pid_t tid : tids) {
      if (OpenTask(tid)) continue;
      tasks_.clear();
      return false;
    }
    is_there = ListTasks("", pid, &after);
    if (is_there && after == tids && !tasks_.empty()) return true;
    tids.swap(after);
  }
  tasks_.clear();
  why_ = is_there ? "tasks_unstable" : "gone";
  error_ = is_there ? 0 : ESRCH;
  return false;
}

bool ProcessFaultCounter::Read(uint64_t* faults) {
  uint64_t total = 0;
  for (const Task& task : tasks_) {
    struct {
      uint64_t events, minor, major;
    } reading{};
    if (read(task.minor.get(), &reading, sizeof(reading)) != sizeof(reading)) return false;
    total += reading.minor + reading.major;
  }
  *faults = total;
  return true;
}

}  // namespace warpgauge
