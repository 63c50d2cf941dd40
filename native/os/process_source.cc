#include "os/process_source.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "os/pread_file.h"
#include "os/proc_files.h"
#include "os/process_source_faults.h"
#include "os/process_tree.h"
#include "os/source_support.h"
#include "os/text_scanner.h"

namespace warpgauge {
namespace {

constexpr int64_t kMemoryInterval = 1'000'000'000;
// More processes than this have their files opened for each reading.
constexpr size_t kMostKeptOpen = 256;
// Perf descriptors of all processes together, two per thread.
constexpr size_t kMostTasks = 4096;
constexpr int64_t kListShare = 20;  // of a tree: one part of the time in this many

// Columns that both tables begin with.
enum KeyColumn : uint32_t { kTime, kPid, kStartTime, kFirstValue };

enum MainColumn : uint32_t {
  kComm = kFirstValue,
  kState,
  kParentPid,
  kThreads,
  kCpuUser,
  kCpuSystem,
  kMinorFaults,
  kMajorFaults,
  kFaultsPerf,
  kFaultsUnseen,
  kFirstStatus,
};

struct StatusColumn {
  const char* name;
  const char* unit;
  bool is_counter;
  const char* field;
  uint64_t ProcStatus::*value;
};
constexpr StatusColumn kStatus[] = {
    {"rss_anon_bytes", "bytes", false, "RssAnon", &ProcStatus::rss_anon_bytes},
    {"rss_file_bytes", "bytes", false, "RssFile", &ProcStatus::rss_file_bytes},
    {"rss_shmem_bytes", "bytes", false, "RssShmem", &ProcStatus::rss_shmem_bytes},
    {"rss_peak_bytes", "bytes", false, "VmHWM", &ProcStatus::peak_rss_bytes},
    {"swap_bytes", "bytes", false, "VmSwap", &ProcStatus::swap_bytes},
    {"hugetlb_bytes", "bytes", false, "HugetlbPages", &ProcStatus::hugetlb_bytes},
    {"page_table_bytes", "bytes", false, "VmPTE", &ProcStatus::page_table_bytes},
    {"locked_bytes", "bytes", false, "VmLck", &ProcStatus::locked_bytes},
    {"pinned_bytes", "bytes", false, "VmPin", &ProcStatus::pinned_bytes},
    {"main_thread_voluntary_switches",
     "1",
     true,
     "voluntary_ctxt_switches",
     &ProcStatus::voluntary_switches},
    {"main_thread_involuntary_switches",
     "1",
     true,
     "nonvoluntary_ctxt_switches",
     &ProcStatus::involuntary_switches},
};
constexpr uint32_t kFirstIo = kFirstStatus + std::size(kStatus);

struct IoColumn {
  const char* name;
  const char* field;
  uint64_t ProcIo::*value;
};
constexpr IoColumn kIo[] = {
    {"read_bytes", "read_bytes (from storage)", &ProcIo::read_bytes},
    {"written_bytes", "write_bytes (to storage)", &ProcIo::written_bytes},
    {"rchar_bytes", "rchar (by system calls)", &ProcIo::read_chars},
    {"wchar_bytes", "wchar (by system calls)", &ProcIo::written_chars},
};

struct RollupColumn {
  const char* name;
  const char* field;
  uint64_t SmapsRollup::*value;
};
constexpr RollupColumn kRollup[] = {
    {"rss_bytes", "Rss", &SmapsRollup::rss_bytes},
    {"pss_bytes", "Pss", &SmapsRollup::pss_bytes},
    {"private_clean_bytes", "Private_Clean", &SmapsRollup::private_clean_bytes},
    {"private_dirty_bytes", "Private_Dirty", &SmapsRollup::private_dirty_bytes},
    {"anon_huge_bytes", "AnonHugePages", &SmapsRollup::anon_huge_bytes},
    {"shmem_huge_bytes", "ShmemPmdMapped", &SmapsRollup::shmem_huge_bytes},
    {"file_huge_bytes", "FilePmdMapped", &SmapsRollup::file_huge_bytes},
    {"private_hugetlb_bytes", "Private_Hugetlb", &SmapsRollup::private_hugetlb_bytes},
    {"shared_hugetlb_bytes", "Shared_Hugetlb", &SmapsRollup::shared_hugetlb_bytes},
    {"swap_bytes", "Swap", &SmapsRollup::swap_bytes},
    {"locked_bytes", "Locked", &SmapsRollup::locked_bytes},
};

std::vector<ColumnSpec> KeyColumns() {
  ColumnSpec start;
  start.name = "start_time";
  start.type = ColumnType::kTime;
  start.kind = ColumnKind::kKey;
  start.unit = "ns";
  start.source = "/proc/PID/stat starttime (steps of one clock tick)";
  start.nullable = false;
  return {TimeColumn(), NumberKeyColumn("pid", "/proc/PID/stat pid"), std::move(start)};
}

ColumnSpec NameColumn(std::string name, std::string source) {
  ColumnSpec column = NameKeyColumn(std::move(name), std::move(source));
  column.kind = ColumnKind::kState;
  column.nullable = true;
  return column;
}

std::vector<TableSpec> MakeTables(int64_t interval_ns) {
  const std::string stat = "/proc/PID/stat ";
  TableSpec main;
  main.grain = "one row per tick and process";
  main.columns = KeyColumns();
  auto& columns = main.columns;
  columns.push_back(NameColumn("comm", stat + "comm"));
  columns.push_back(NameColumn("state", stat + "state"));
  columns.push_back(GaugeColumn("parent_pid", "", stat + "ppid"));
  columns.back().kind = ColumnKind::kState;
  columns.push_back(GaugeColumn("threads", "1", stat + "num_threads"));
  columns.push_back(CounterColumn("cpu_user_ns", "ns", stat + "utime (steps of one clock tick)"));
  columns.push_back(CounterColumn("cpu_system_ns", "ns", stat + "stime (steps of one clock tick)"));
  columns.push_back(CounterColumn("minor_faults", "1", stat + "minflt"));
  columns.push_back(CounterColumn("major_faults", "1", stat + "majflt"));
  columns.push_back(CounterColumn(
      "faults_perf", "1", "perf PAGE_FAULTS_MIN + PAGE_FAULTS_MAJ of all threads, since opening"));
  columns.push_back(CounterColumn(
      "faults_unseen", "1", "minflt + majflt - faults_perf, since opening: populate, mlock, pins"));
  for (const StatusColumn& column : kStatus) {
    const std::string source = std::string("/proc/PID/status ") + column.field;
    columns.push_back(column.is_counter ? CounterColumn(column.name, column.unit, source)
                                        : GaugeColumn(column.name, column.unit, source));
  }
  for (const IoColumn& column : kIo) {
    columns.push_back(
        CounterColumn(column.name, "bytes", std::string("/proc/PID/io ") + column.field));
  }
  TableSpec memory;
  memory.suffix = "memory";
  memory.grain = main.grain;
  memory.columns = KeyColumns();
  memory.interval_ns = std::max(interval_ns, kMemoryInterval);
  for (const RollupColumn& column : kRollup) {
    memory.columns.push_back(
        GaugeColumn(column.name, "bytes", std::string("/proc/PID/smaps_rollup ") + column.field));
  }
  memory.columns.push_back(GaugeColumn("oom_score", "1", "/proc/PID/oom_score"));
  return {std::move(main), std::move(memory)};
}

// The words of proc(5) for the letters of the state field.
const char* StateName(char letter) {
  switch (letter) {
    case 'R':
      return "running";
    case 'S':
      return "sleeping";
    case 'D':
      return "disk_sleep";
    case 'T':
      return "stopped";
    case 't':
      return "tracing_stop";
    case 'Z':
      return "zombie";
    case 'X':
    case 'x':
      return "dead";
    case 'P':
      return "parked";
    case 'I':
      return "idle";
    default:
      return nullptr;
  }
}

// A process that is being followed.
class Process {
 public:
  Process(const std::string& root, pid_t pid, const std::string& folder, bool keep_open)
      : pid_(pid),
        stat_(root + folder + "/stat", PreadFile::Shape::kOneRead, 1024, keep_open),
        status_(root + folder + "/status", PreadFile::Shape::kOneRead, 4096, keep_open),
        io_(root + folder + "/io", PreadFile::Shape::kOneRead, 512, keep_open),
        // It shows the memory from before an execve for as long as it stays open.
        rollup_(root + folder + "/smaps_rollup", PreadFile::Shape::kOneRead, 4096, false),
        oom_score_(root + folder + "/oom_score", PreadFile::Shape::kOneRead, 64, false) {}

  // False when the process is gone, or its number was given to another.
  bool ReadStat(ProcStat* stat) {
    std::string_view text;
    if (!stat_.Read(&text) || !ParseProcStat(text, stat)) return false;
    if (start_ticks_ == kMissing) start_ticks_ = stat->start_ticks;
    return stat->start_ticks == start_ticks_;
  }

  // Perf and getrusage at one moment, as near as a process that runs allows: a pair of readings
  // between which no fault was counted is exact.
  void StartFaults(size_t most_tasks) {
    constexpr int kAttempts = 64;
    if (!faults_.Open(pid_, most_tasks)) return;
    ProcStat before;
    ProcStat after;
    uint64_t perf = 0;
    for (int i = 0; i < kAttempts; i++) {
      if (!ReadStat(&before) || !faults_.Read(&perf) || !ReadStat(&after)) return;
      if (before.minor_faults == after.minor_faults && before.major_faults == after.major_faults) {
        break;
      }
    }
    unseen_.Start(perf, after.minor_faults + after.major_faults);
    perf_before_ = perf;
    has_baseline_ = true;
  }

  pid_t pid_;
  bool is_listed_ = true;  // in the last listing of the tree
  uint64_t start_ticks_ = kMissing;
  PreadFile stat_;
  PreadFile status_;
  PreadFile io_;
  PreadFile rollup_;
  PreadFile oom_score_;
  int io_error_ = 0;  // as last told to the `state` table
  int rollup_error_ = 0;
  ProcessFaultCounter faults_;
  UnseenFaults unseen_;
  bool has_baseline_ = false;
  uint64_t perf_before_ = 0;
  std::string comm_;
  int32_t comm_code_ = -1;
  char state_ = '\0';
  int32_t state_code_ = -1;
};

class ProcessSource : public Source {
 public:
  ProcessSource(const SourceRequest& request, pid_t pid, bool is_tree, StateSink& states)
      : request_(request),
        pid_(pid),
        is_tree_(is_tree),
        states_(states),
        tables_(MakeTables(request.interval_ns)),
        tree_(request.root, pid) {
    const int64_t ticks = sysconf(_SC_CLK_TCK);
    tick_ns_ = static_cast<uint64_t>(1'000'000'000 / (ticks > 0 ? ticks : 100));
    boot_offset_ns_ = ReadClock(CLOCK_BOOTTIME) - MonotonicNs();
  }

  // Opens the first process and, of a tree, its descendants.
  Status Open() {
    if (is_tree_) {
      Relist(MonotonicNs());
    } else {
      Follow(pid_);
    }
    if (processes_.empty()) {
      return Status("ERR_GONE", "process: there is no process " + std::to_string(pid_))
          .WithSource("/proc", ESRCH)
          .WithFix("ps -e -o pid,args");
    }
    for (TableSpec& table : tables_) table.rows_per_tick = static_cast<uint32_t>(processes_.size());
    if (!is_tree_) ExplainColumns(*processes_[0]);
    return Status::Ok();
  }

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t table, int64_t tick_ns, TableWriter& rows) override {
    if (table == 0 && is_tree_ && tick_ns >= next_list_ns_) Relist(tick_ns);
    if (processes_.empty()) return;
    if (!rows.BeginTick(tick_ns, static_cast<uint32_t>(processes_.size()))) return;
    for (size_t i = 0; i < processes_.size();) {
      Process& process = *processes_[i];
      const bool is_there =
          table == 0 ? WriteMain(process, tick_ns, rows) : WriteMemory(process, tick_ns, rows);
      if (is_there) {
        i++;
        continue;
      }
      Report(process.pid_, "", "gone", "gone", 0);
      processes_.erase(processes_.begin() + static_cast<ptrdiff_t>(i));
    }
    rows.EndTick();
  }

 private:
  [[nodiscard]] bool is_recorded() const { return !request_.root.empty(); }

  void Follow(pid_t pid) {
    auto process = std::make_unique<Process>(
        request_.root, pid, "/proc/" + std::to_string(pid), processes_.size() < kMostKeptOpen);
    ProcStat stat;
    if (!process->ReadStat(&stat)) return;
    // A recorded tree is not the machine that perf would count.
    if (!is_recorded()) {
      size_t used = 0;
      for (const auto& other : processes_) used += other->faults_.tasks();
      process->StartFaults(kMostTasks - std::min(used, kMostTasks));
    }
    if (!process->has_baseline_ && is_tree_) {
      const char* why = is_recorded() ? "not_supported" : process->faults_.why();
      Report(pid, "faults_unseen", "unavailable", why, process->faults_.error());
    }
    processes_.push_back(std::move(process));
  }

  void Relist(int64_t now_ns) {
    const int64_t begin_ns = MonotonicNs();
    for (auto& process : processes_) process->is_listed_ = false;
    for (const pid_t pid : tree_.List()) {
      const auto found = std::find_if(
          processes_.begin(), processes_.end(), [pid](const auto& p) { return p->pid_ == pid; });
      if (found == processes_.end()) {
        Follow(pid);
      } else {
        (*found)->is_listed_ = true;
      }
    }
    // Large trees are not listed at every tick.
    next_list_ns_ = now_ns + kListShare * (MonotonicNs() - begin_ns);
  }

  // Why a column of the one process is null from the start.
  void ExplainColumns(Process& process) {
    std::vector<ColumnSpec>& main = tables_[0].columns;
    if (!process.has_baseline_) {
      const char* why = is_recorded() ? "not_supported" : process.faults_.why();
      main[kFaultsPerf].reason = why;
      main[kFaultsUnseen].reason = why;
    }
    std::string_view text;
    if (process.status_.Read(&text)) {
      const ProcStatus status = ParseProcStatus(text);
      for (size_t i = 0; i < std::size(kStatus); i++) {
        if (status.*kStatus[i].value == kMissing) main[kFirstStatus + i].reason = "not_supported";
      }
    }
    if (!process.io_.Read(&text)) {
      for (size_t i = 0; i < std::size(kIo); i++) {
        main[kFirstIo + i].reason = FileReason(process.io_);
      }
    }
    std::vector<ColumnSpec>& memory = tables_[1].columns;
    const bool has_rollup = process.rollup_.Read(&text);
    const SmapsRollup rollup = has_rollup ? ParseSmapsRollup(text) : SmapsRollup();
    for (size_t i = 0; i < std::size(kRollup); i++) {
      if (!has_rollup) {
        memory[kFirstValue + i].reason = FileReason(process.rollup_);
      } else if (rollup.*kRollup[i].value == kMissing) {
        memory[kFirstValue + i].reason = "not_supported";
      }
    }
    if (!process.oom_score_.Read(&text)) memory.back().reason = FileReason(process.oom_score_);
  }

  // A file that is missing beside a process that is there: the kernel was built without it.
  static const char* FileReason(const PreadFile& file) {
    return file.error() == ENOENT ? "not_supported" : ReasonForErrno(file.error());
  }

  void WriteKey(const Process& process, TableWriter& rows) const {
    rows.SetU32(kPid, static_cast<uint32_t>(process.pid_));
    rows.SetTime(kStartTime,
                 static_cast<int64_t>(process.start_ticks_ * tick_ns_) - boot_offset_ns_);
  }

  static void SetIfThere(uint32_t column, uint64_t value, TableWriter& rows) {
    if (value != kMissing) rows.SetU64(column, value);
  }

  // False when the process is gone.
  bool WriteMain(Process& process, int64_t tick_ns, TableWriter& rows) {
    std::string_view text;
    ProcStatus status;
    if (process.status_.Read(&text)) status = ParseProcStatus(text);
    ProcIo io;
    if (process.io_.Read(&text)) io = ParseProcIo(text);
    // The stat file last: by its start time it proves that the number is still the same process's.
    ProcStat stat;
    if (!process.ReadStat(&stat)) return false;
    uint64_t perf = 0;
    const bool has_perf = process.has_baseline_ && process.faults_.Read(&perf);
    if (is_tree_) ReportFile(process, process.io_, 0, &process.io_error_);
    if (!rows.BeginRow(tick_ns)) return true;
    WriteKey(process, rows);
    WriteStat(process, stat, rows);
    if (has_perf && stat.minor_faults != kMissing && stat.major_faults != kMissing) {
      rows.SetU64(kFaultsPerf, perf - process.perf_before_);
      rows.SetU64(kFaultsUnseen,
                  process.unseen_.Update(stat.minor_faults + stat.major_faults, perf));
    }
    for (uint32_t i = 0; i < std::size(kStatus); i++) {
      SetIfThere(kFirstStatus + i, status.*kStatus[i].value, rows);
    }
    for (uint32_t i = 0; i < std::size(kIo); i++) {
      SetIfThere(kFirstIo + i, io.*kIo[i].value, rows);
    }
    rows.EndRow();
    return true;
  }

  void WriteStat(Process& process, const ProcStat& stat, TableWriter& rows) const {
    if (process.comm_code_ < 0 || stat.comm != process.comm_) {
      process.comm_ = stat.comm;
      process.comm_code_ = rows.names(kComm).Code(stat.comm);
    }
    rows.SetCode(kComm, process.comm_code_);
    if (stat.state != process.state_) {
      process.state_ = stat.state;
      const char* name = StateName(stat.state);
      process.state_code_ = name == nullptr ? -1 : rows.names(kState).Code(name);
    }
    rows.SetCode(kState, process.state_code_);
    SetIfThere(kParentPid, stat.parent_pid, rows);
    SetIfThere(kThreads, stat.threads, rows);
    if (stat.user_ticks != kMissing) rows.SetU64(kCpuUser, stat.user_ticks * tick_ns_);
    if (stat.system_ticks != kMissing) rows.SetU64(kCpuSystem, stat.system_ticks * tick_ns_);
    SetIfThere(kMinorFaults, stat.minor_faults, rows);
    SetIfThere(kMajorFaults, stat.major_faults, rows);
  }

  // False when the process is gone.
  bool WriteMemory(Process& process, int64_t tick_ns, TableWriter& rows) {
    std::string_view text;
    SmapsRollup rollup;
    if (process.rollup_.Read(&text)) rollup = ParseSmapsRollup(text);
    uint64_t oom_score = kMissing;
    if (process.oom_score_.Read(&text)) ParseNumberFile(text, &oom_score);
    ProcStat stat;
    if (!process.ReadStat(&stat)) return false;
    if (is_tree_) ReportFile(process, process.rollup_, 1, &process.rollup_error_);
    if (!rows.BeginRow(tick_ns)) return true;
    WriteKey(process, rows);
    for (uint32_t i = 0; i < std::size(kRollup); i++) {
      SetIfThere(kFirstValue + i, rollup.*kRollup[i].value, rows);
    }
    SetIfThere(kFirstValue + std::size(kRollup), oom_score, rows);
    rows.EndRow();
    return true;
  }

  // A state once when a file of a process that is there cannot be read, and when it can again.
  void ReportFile(const Process& process, const PreadFile& file, size_t table, int* last_error) {
    if (file.error() == *last_error) return;
    *last_error = file.error();
    const char* field = table == 0 ? kIo[0].name : kRollup[0].name;
    Report(process.pid_,
           field,
           *last_error == 0 ? "ok" : "unavailable",
           *last_error == 0 ? "" : FileReason(file),
           *last_error,
           table);
  }

  void Report(pid_t pid,
              const char* field,
              const char* state,
              const char* reason,
              int64_t code,
              size_t table = 0) {
    StateChange change;
    change.table = TableName(request_, tables_[table]);
    change.key = std::to_string(pid);
    change.field = field;
    change.state = state;
    change.reason = reason;
    change.code = code;
    states_.Report(std::move(change));
  }

  SourceRequest request_;
  pid_t pid_;
  bool is_tree_;
  StateSink& states_;
  std::vector<TableSpec> tables_;
  ProcessTree tree_;
  std::vector<std::unique_ptr<Process>> processes_;
  uint64_t tick_ns_ = 0;
  int64_t boot_offset_ns_ = 0;
  int64_t next_list_ns_ = 0;
};

// 0 where the option is not given.
Result<pid_t> PidOption(const SourceRequest& request, const char* key) {
  const std::string text = request.Option(key, "0");
  pid_t pid = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, pid);
  if (error != std::errc() || at != end || pid < 0) {
    return Status("ERR_INVALID_ARGUMENT",
                  std::string("process: expected a process id for ") + key + " but received \"" +
                      text + "\"");
  }
  return pid;
}

}  // namespace

Result<std::unique_ptr<Source>> MakeProcessSource(const SourceRequest& request, StateSink& states) {
  const Result<pid_t> pid = PidOption(request, "pid");
  const Result<pid_t> tree = PidOption(request, "tree");
  if (!pid.ok()) return pid.status;
  if (!tree.ok()) return tree.status;
  if (pid.value != 0 && tree.value != 0) {
    return Status("ERR_INVALID_ARGUMENT", "process: expected one of pid and tree");
  }
  const bool is_tree = tree.value != 0;
  const pid_t named = is_tree ? tree.value : pid.value;
  auto source =
      std::make_unique<ProcessSource>(request, named != 0 ? named : getpid(), is_tree, states);
  Status status = source->Open();
  if (!status.ok()) return status;
  return std::unique_ptr<Source>(std::move(source));
}

}  // namespace warpgauge
