#include "os/perf_source.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "os/perf_event_name.h"
#include "os/perf_events.h"
#include "os/perf_group_totals.h"
#include "os/perf_source_open.h"
#include "os/perf_source_target.h"
#include "os/source_support.h"
#include "os/task_list.h"

namespace warpgauge {
namespace {

// How often a process that makes threads all the time is listed before its last list has to do.
constexpr int kMostListings = 10;
constexpr int64_t kLookNs = 100'000'000;
constexpr int64_t kLookAtTreeNs = 1'000'000'000;
constexpr uint64_t kStarvedNs = 1'000'000'000;

using Kind = PerfTarget::Kind;
using Per = PerfTarget::Per;

// A folder that is kept open while events of its cgroup are.
class Folder {
 public:
  Folder() = default;
  explicit Folder(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
  Folder(Folder&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Folder& operator=(Folder&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    if (fd_ >= 0) close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_ = -1;
};

struct Row {
  int32_t key = 0;  // CPU or thread
  uint64_t start_ns = 0;
};

std::string Grain(const PerfTarget& target) {
  if (target.per == Per::kCpu) return "one row per tick and CPU: " + target.Name();
  if (target.per == Per::kThread) return "one row per tick and thread: " + target.Name();
  return "one row per tick: the sum of " + target.Name();
}

class PerfSource : public Source {
 public:
  PerfSource(std::string instance, PerfTarget target, PerfOpener opener, StateSink& states)
      : instance_(std::move(instance)),
        target_(std::move(target)),
        opener_(std::move(opener)),
        states_(states),
        tree_("", target_.pid),
        totals_(opener_.events().size(), 0) {}

  // Decides what can be had, opens all of it and starts the counting.
  Status Open();

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }
  void Sample(size_t table, int64_t tick_ns, TableWriter& rows) override;

 private:
  [[nodiscard]] PerfEventTarget First() const;
  std::vector<Task> ListTargetTasks();
  Status OpenRows();
  Status OpenTasks();
  Status OpenTask(const Task& task, bool enable_on_exec, std::vector<OpenPerfGroup>* groups);
  Status Plan();
  [[nodiscard]] Status WithDescriptors(Status status, size_t targets) const;
  size_t AddRow(int32_t key, uint64_t start_ns);
  void RemoveRow(size_t row);
  void MakeTable();
  void ReportOutcomes();
  void Report(const std::string& field, const char* state, const char* reason, int64_t code = 0);

  void ReportStarved();
  // Returns the time of the row: the mean of the moments at which the groups were read.
  int64_t ReadGroups(int64_t tick_ns);
  void WriteRow(size_t row, int64_t time_ns, TableWriter& rows);
  void Look(int64_t tick_ns);
  void LookForThreads();

  std::string instance_;
  PerfTarget target_;
  PerfOpener opener_;
  StateSink& states_;
  std::vector<TableSpec> tables_;
  Folder cgroup_;
  TaskWatch watch_;
  ProcessTree tree_;
  bool is_gone_ = false;
  bool has_told_limit_ = false;
  int64_t next_look_ns_ = 0;

  std::vector<OpenPerfGroup> groups_;
  std::vector<Row> rows_;
  PerfTotals totals_;
  std::vector<uint64_t> values_;  // of one group
  // Columns of a row.
  uint32_t first_event_ = 1;
  uint32_t first_time_ = 1;
  std::vector<uint8_t> is_float_;  // by event
  // By event: some row has waited for a counter for long; what `state` was told.
  std::vector<uint8_t> starves_now_;
  std::vector<uint8_t> starved_;
};

PerfEventTarget PerfSource::First() const {
  const int cpu = target_.cpus.empty() ? -1 : target_.cpus[0];
  switch (target_.kind) {
    case Kind::kCpus:
      return {.pid = -1, .cpu = cpu, .is_cgroup = false};
    case Kind::kCgroup:
      return {.pid = cgroup_.get(), .cpu = cpu, .is_cgroup = true};
    default:
      return {.pid = target_.pid, .cpu = target_.per == Per::kCpu ? cpu : -1, .is_cgroup = false};
  }
}

std::vector<Task> PerfSource::ListTargetTasks() {
  if (target_.kind == Kind::kThread) return {{target_.pid, target_.pid}};
  return ListThreads(target_.pid, target_.kind == Kind::kProcess ? nullptr : &tree_);
}

Status PerfSource::Open() {
  if (target_.has_tasks()) {
    Result<TaskWatch> watch = TaskWatch::Open(target_.pid);
    if (!watch.ok()) return watch.status;
    watch_ = std::move(watch.value);
  }
  if (target_.kind == Kind::kCgroup) {
    cgroup_ = Folder(target_.cgroup);
    if (cgroup_.get() < 0) {
      return Status("ERR_GONE", "cgroup " + target_.cgroup + ": " + std::strerror(errno))
          .WithSource(target_.cgroup, errno);
    }
  }
  if (Status planned = Plan(); !planned.ok()) return WithDescriptors(std::move(planned), 1);
  totals_ = PerfTotals(opener_.events().size(), opener_.clocks().size());
  if (Status opened = OpenRows(); !opened.ok()) return opened;
  size_t widest = 0;
  for (OpenPerfGroup& open : groups_) {
    open.group.Enable();
    widest = std::max(widest, open.group.size());
  }
  values_.resize(widest);
  MakeTable();
  ReportOutcomes();
  next_look_ns_ = MonotonicNs() + kLookNs;
  return Status::Ok();
}

// On the first thread that stays: that of a process may have ended before the others.
Status PerfSource::Plan() {
  PerfEventTarget first = First();
  Status planned = opener_.Plan(first);
  if (std::string_view(planned.code()) != "ERR_GONE" || !target_.has_tasks()) return planned;
  for (const Task& task : ListTargetTasks()) {
    first.pid = task.tid;
    planned = opener_.Plan(first);
    if (std::string_view(planned.code()) != "ERR_GONE") return planned;
  }
  return planned;
}

// `ulimit -n` with the number that is really needed.
Status PerfSource::WithDescriptors(Status status, size_t targets) const {
  if (status.number() != EMFILE) return status;
  const size_t needed = targets * opener_.descriptors() + 256;
  return Status("ERR_SYSCALL",
                "perf needs " + std::to_string(targets * opener_.descriptors()) +
                    " descriptors for " + std::to_string(targets) +
                    " threads or CPUs: " + std::strerror(EMFILE))
      .WithFix("ulimit -n " + std::to_string(needed))
      .WithSource("perf_event_open", EMFILE);
}

size_t PerfSource::AddRow(int32_t key, uint64_t start_ns) {
  rows_.push_back({key, start_ns});
  return totals_.AddRow();
}

void PerfSource::RemoveRow(size_t row) {
  std::erase_if(groups_, [row](const OpenPerfGroup& open) { return open.row == row; });
  for (OpenPerfGroup& open : groups_) {
    if (open.row > row) open.row--;
  }
  rows_.erase(rows_.begin() + static_cast<std::ptrdiff_t>(row));
  totals_.RemoveRow(row);
}

Status PerfSource::OpenRows() {
  if (target_.per == Per::kAll) AddRow(0, 0);
  if (target_.per == Per::kCpu) {
    for (const int cpu : target_.cpus) AddRow(cpu, 0);
  }
  if (target_.has_tasks()) return OpenTasks();
  PerfEventTarget place = First();
  for (size_t i = 0; i < target_.cpus.size(); i++) {
    place.cpu = target_.cpus[i];
    const auto row = static_cast<uint32_t>(target_.per == Per::kCpu ? i : 0);
    Status opened = opener_.Open(place, row, false, &groups_);
    if (!opened.ok()) return WithDescriptors(std::move(opened), target_.cpus.size());
  }
  return Status::Ok();
}

Status PerfSource::OpenTask(const Task& task,
                            bool enable_on_exec,
                            std::vector<OpenPerfGroup>* groups) {
  PerfEventTarget place{.pid = task.tid, .cpu = -1, .is_cgroup = false};
  if (target_.per == Per::kCpu) {
    for (uint32_t row = 0; row < target_.cpus.size(); row++) {
      place.cpu = target_.cpus[row];
      Status opened = opener_.Open(place, row, enable_on_exec, groups);
      if (!opened.ok()) return opened;
    }
    return Status::Ok();
  }
  if (target_.per == Per::kAll) return opener_.Open(place, 0, enable_on_exec, groups);
  const uint64_t start_ns = ThreadStartNs(task);
  if (start_ns == 0) return {"ERR_GONE", "the thread has ended"};
  const auto row = static_cast<uint32_t>(rows_.size());
  Status opened = opener_.Open(place, row, enable_on_exec, groups);
  if (opened.ok()) AddRow(task.tid, start_ns);
  return opened;
}

// A thread that an already opened one makes is inherited; one that a thread not yet opened makes is
// not, and nothing tells the two apart. So an attempt counts only if no thread came while it was
// made; events are opened disabled and started together afterwards.
Status PerfSource::OpenTasks() {
  for (int listing = 1;; listing++) {
    const std::vector<Task> tasks = ListTargetTasks();
    if (tasks.empty()) return {"ERR_GONE", target_.Name() + " has ended"};
    groups_.clear();
    while (target_.per == Per::kThread && !rows_.empty()) RemoveRow(rows_.size() - 1);
    size_t opened = 0;
    for (const Task& task : tasks) {
      std::vector<OpenPerfGroup> groups;
      Status status = OpenTask(task, target_.kind == Kind::kCommand, &groups);
      if (std::string_view(status.code()) == "ERR_GONE") continue;
      if (!status.ok()) {
        return WithDescriptors(std::move(status),
                               tasks.size() * (target_.per == Per::kCpu ? target_.cpus.size() : 1));
      }
      opened++;
      for (OpenPerfGroup& group : groups) groups_.push_back(std::move(group));
    }
    const std::vector<Task> now = ListTargetTasks();
    const bool is_stable = std::includes(tasks.begin(), tasks.end(), now.begin(), now.end());
    if (opened == 0 && now.empty()) return {"ERR_GONE", target_.Name() + " has ended"};
    if (is_stable && opened > 0) return Status::Ok();
    if (listing == kMostListings) {
      if (opened == 0) return {"ERR_GONE", target_.Name() + " has no thread that stays"};
      Report("", "degraded", "threads_changing");
      return Status::Ok();
    }
  }
}

void PerfSource::Report(const std::string& field,
                        const char* state,
                        const char* reason,
                        int64_t code) {
  StateChange change;
  change.table = instance_;
  change.key = target_.Name();
  change.field = field;
  change.state = state;
  change.reason = reason;
  change.code = code;
  states_.Report(std::move(change));
}

const char* ReasonOf(const Status& why) {
  const std::string_view code = why.code();
  if (code == "ERR_PERMISSION") return "no_permission";
  if (code == "ERR_UNAVAILABLE" && why.source().ends_with("tracing")) return "tracefs_not_mounted";
  if (code == "ERR_SYSCALL" && why.number() != EINVAL) return ReasonForErrno(why.number());
  return "not_supported";
}

void PerfSource::MakeTable() {
  TableSpec table;
  table.grain = Grain(target_);
  table.columns.push_back(TimeColumn());
  table.columns[0].source = "CLOCK_MONOTONIC, mean over the readings of the groups";
  std::set<std::string> taken = {"time", "scaled", "time_enabled_ns", "time_running_ns"};
  const auto add = [&](ColumnSpec column) {
    std::string name = column.name;
    for (int again = 2; !taken.insert(name).second; again++) {
      name = column.name + "_" + std::to_string(again);
    }
    column.name = std::move(name);
    table.columns.push_back(std::move(column));
  };
  if (target_.per == Per::kCpu) {
    ColumnSpec key = NumberKeyColumn("cpu", "CPU number");
    key.type = ColumnType::kInt32;
    add(std::move(key));
  }
  if (target_.per == Per::kThread) {
    ColumnSpec key = NumberKeyColumn("tid", "/proc/PID/task");
    key.type = ColumnType::kInt32;
    add(std::move(key));
    ColumnSpec start = NumberKeyColumn("thread_start_ns", "/proc/PID/task/TID/stat starttime");
    start.type = ColumnType::kUint64;
    start.unit = "ns";
    add(std::move(start));
  }
  first_event_ = static_cast<uint32_t>(table.columns.size());
  for (size_t i = 0; i < opener_.events().size(); i++) {
    const PerfEvent& event = opener_.events()[i];
    const PerfOpener::Outcome& outcome = opener_.outcomes()[i];
    ColumnSpec column = CounterColumn(event.column, event.unit, "perf " + event.text);
    if (!outcome.attributes.empty()) column.source += " (" + outcome.attributes + ")";
    if (outcome.is_user_only) column.source += ", user only";
    if (event.is_one_core_type) column.source += ", one type of cores only";
    is_float_.push_back(event.scale != 1 ? 1 : 0);
    if (event.scale != 1) column.type = ColumnType::kFloat64;
    if (!outcome.why.ok()) column.reason = ReasonOf(outcome.why);
    add(std::move(column));
  }
  taken.erase("time_enabled_ns");
  taken.erase("time_running_ns");
  first_time_ = static_cast<uint32_t>(table.columns.size());
  for (size_t i = 0; i < opener_.clocks().size(); i++) {
    const std::string front = i == 0 ? "" : PerfColumnName(opener_.clocks()[i]) + "_";
    const std::string of = "perf " + opener_.clocks()[i] + " group ";
    add(CounterColumn(front + "time_enabled_ns", "ns", of + "time_enabled"));
    add(CounterColumn(front + "time_running_ns", "ns", of + "time_running"));
  }
  ColumnSpec scaled;
  scaled.name = "scaled";
  scaled.type = ColumnType::kBool;
  scaled.kind = ColumnKind::kState;
  scaled.unit = "";
  scaled.source = "time_running below time_enabled: counts are estimates";
  scaled.nullable = false;
  table.columns.push_back(std::move(scaled));
  table.rows_per_tick = static_cast<uint32_t>(std::max<size_t>(1, rows_.size()));
  starves_now_.resize(opener_.events().size());
  starved_.resize(opener_.events().size());
  tables_.push_back(std::move(table));
}

void PerfSource::ReportOutcomes() {
  for (size_t i = 0; i < opener_.events().size(); i++) {
    const PerfOpener::Outcome& outcome = opener_.outcomes()[i];
    const std::string& field = tables_[0].columns[first_event_ + i].name;
    if (!outcome.why.ok()) {
      Report(field, "unavailable", ReasonOf(outcome.why), outcome.why.number());
      continue;
    }
    if (outcome.is_user_only) Report(field, "degraded", "no_permission", EACCES);
    if (outcome.has_children) Report(field, "degraded", "counts_children");
    if (opener_.events()[i].is_one_core_type) Report(field, "degraded", "one_core_type");
  }
}

void PerfSource::ReportStarved() {
  for (size_t i = 0; i < starved_.size(); i++) {
    if (starves_now_[i] == starved_[i]) continue;
    const bool starves = starves_now_[i] != 0;
    Report(tables_[0].columns[first_event_ + i].name,
           starves ? "degraded" : "ok",
           starves ? "no_counter" : "");
  }
  starved_ = starves_now_;
}

// The thread may be scheduled away between the tick and a reading, at 10 kHz for many intervals: at
// the time of the tick the sum would run ahead of the clock by that delay times the CPUs, and a
// rate taken from two rows with it. The sum of what groups counted until t1, t2, ... is at its
// truest at the mean of these.
int64_t PerfSource::ReadGroups(int64_t tick_ns) {
  totals_.Begin();
  int64_t twice_ns = 0;  // sum over the groups: begin and end of the reading, after tick_ns
  int64_t begin_ns = 0;
  for (OpenPerfGroup& open : groups_) {
    PerfGroupTimes times;
    if (open.group.Read(values_.data(), &times)) [[likely]] {
      for (size_t i = 0; i < open.events.size(); i++) {
        totals_.AddCount(open.row, open.events[i], values_[i], times);
      }
      totals_.AddTimes(open.row, open.clock, times);
    } else {
      for (const uint32_t event : open.events) totals_.AddUnread(open.row, event);
    }
    const int64_t end_ns = MonotonicNs() - tick_ns;
    twice_ns += begin_ns + end_ns;
    begin_ns = end_ns;
  }
  if (groups_.empty()) return tick_ns;
  const auto mean_ns = twice_ns / (2 * static_cast<int64_t>(groups_.size()));
  return tick_ns + std::max<int64_t>(mean_ns, 0);
}

void PerfSource::WriteRow(size_t row, int64_t time_ns, TableWriter& rows) {
  if (!rows.BeginRow(time_ns)) return;
  if (target_.per != Per::kAll) rows.SetI32(1, rows_[row].key);
  if (target_.per == Per::kThread) rows.SetU64(2, rows_[row].start_ns);
  bool is_scaled = false;
  const std::vector<PerfEvent>& events = opener_.events();
  for (uint32_t event = 0; event < events.size(); event++) {
    const PerfTotals::Count count = totals_.Take(row, event);
    const uint32_t column = first_event_ + event;
    if (count.starved_ns >= kStarvedNs) starves_now_[event] = 1;
    if (!count.is_known) continue;
    is_scaled = is_scaled || count.is_estimate;
    if (is_float_[event] != 0) {
      rows.SetF64(column, static_cast<double>(count.value) * events[event].scale);
    } else {
      rows.SetU64(column, count.value);
    }
  }
  uint32_t column = first_time_;
  for (size_t clock = 0; clock < opener_.clocks().size(); clock++) {
    const PerfGroupTimes& times = totals_.times(row, clock);
    rows.SetU64(column++, times.enabled_ns);
    rows.SetU64(column++, times.running_ns);
  }
  rows.SetBool(column, is_scaled);
  rows.EndRow();
}

void PerfSource::Sample(size_t /*table*/, int64_t tick_ns, TableWriter& rows) {
  const size_t count = rows_.size();
  if (count > 0 && rows.BeginTick(tick_ns, static_cast<uint32_t>(count))) {
    const int64_t time_ns = ReadGroups(tick_ns);
    for (size_t row = 0; row < count; row++) WriteRow(row, time_ns, rows);
    rows.EndTick();
    if (starves_now_ != starved_) [[unlikely]]
      ReportStarved();
    std::fill(starves_now_.begin(), starves_now_.end(), 0);
  }
  // Behind the rows: a thread that has just ended gets its last counts written first.
  if (tick_ns >= next_look_ns_) [[unlikely]]
    Look(tick_ns);
}

void PerfSource::Look(int64_t tick_ns) {
  const bool is_tree = target_.kind == Kind::kTree || target_.kind == Kind::kCommand;
  const bool lists_tree = is_tree && target_.per == Per::kThread;
  next_look_ns_ = tick_ns + (lists_tree ? kLookAtTreeNs : kLookNs);
  if (!is_gone_) {
    is_gone_ = target_.has_tasks()
                   ? watch_.IsGone()
                   : target_.kind == Kind::kCgroup && access(target_.cgroup.c_str(), F_OK) != 0;
    if (is_gone_) Report("", "gone", "gone");
  }
  if (target_.per == Per::kThread && target_.kind != Kind::kThread) LookForThreads();
}

void PerfSource::LookForThreads() {
  const std::vector<Task> tasks = ListTargetTasks();
  const auto has = [&](int32_t tid) {
    return std::any_of(tasks.begin(), tasks.end(), [&](const Task& t) { return t.tid == tid; });
  };
  for (size_t row = rows_.size(); row-- > 0;) {
    if (!has(rows_[row].key)) RemoveRow(row);
  }
  for (const Task& task : tasks) {
    const bool known = std::any_of(
        rows_.begin(), rows_.end(), [&](const Row& row) { return row.key == task.tid; });
    if (known) continue;
    std::vector<OpenPerfGroup> groups;
    const Status opened = OpenTask(task, false, &groups);
    if (!opened.ok()) {
      if (opened.number() == EMFILE && !has_told_limit_) {
        has_told_limit_ = true;
        Report("", "degraded", "too_many_files", EMFILE);
      }
      continue;
    }
    for (OpenPerfGroup& open : groups) {
      open.group.Enable();
      groups_.push_back(std::move(open));
    }
  }
  tables_[0].rows_per_tick = static_cast<uint32_t>(std::max<size_t>(1, rows_.size()));
}

Result<std::vector<PerfEvent>> ResolveAll(const SourceRequest& request) {
  const std::string text = request.Option("events");
  std::vector<PerfEvent> events;
  for (const std::string& name : SplitPerfEvents(text)) {
    if (name.empty()) {
      return Status("ERR_INVALID_ARGUMENT",
                    "Expected names of events separated by + for events of perf but received \"" +
                        text + "\"")
          .WithFix("perf:events=page-faults+context-switches");
    }
    Result<PerfEvent> event = ResolvePerfEvent(request.root, name);
    if (!event.ok() && std::string_view(event.status.code()) == "ERR_UNKNOWN_EVENT") {
      return event.status;
    }
    if (!event.ok()) {
      event.value.text = name;
      event.value.column = PerfColumnName(name);
      event.value.unit = "1";
      event.value.unavailable = event.status;
    }
    events.push_back(std::move(event.value));
  }
  return events;
}

}  // namespace

Result<std::unique_ptr<Source>> MakePerfSource(const SourceRequest& request, StateSink& states) {
  Result<PerfTarget> target = ParsePerfTarget(request);
  if (!target.ok()) return target.status;
  Result<std::vector<PerfEvent>> events = ResolveAll(request);
  if (!events.ok()) return events.status;
  PerfOpener::Options options;
  const Kind kind = target.value.kind;
  options.inherit =
      target.value.has_tasks() && kind != Kind::kThread && target.value.per != Per::kThread;
  options.inherit_children = kind == Kind::kTree || kind == Kind::kCommand;

  options.is_machine = kind == Kind::kCpus;
  options.cpus = target.value.cpus;
  auto source =
      std::make_unique<PerfSource>(request.instance,
                                   std::move(target.value),
                                   PerfOpener(std::move(events.value), std::move(options)),
                                   states);
  if (Status opened = source->Open(); !opened.ok()) return opened;
  return std::unique_ptr<Source>(std::move(source));
}

}  // namespace warpgauge
