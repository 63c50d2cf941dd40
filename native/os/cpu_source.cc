#include "os/cpu_source.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/line_entities.h"
#include "os/pread_file.h"
#include "os/source_support.h"
#include "os/system_text.h"
#include "os/text_scanner.h"

namespace warpgauge {
namespace {

constexpr const char* kTimes[CpuTimes::kMaxFields] = {
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"};
constexpr uint32_t kIdle = 3;
constexpr uint32_t kIowait = 4;

struct SystemField {
  std::string_view name;
  ColumnKind kind;
};
// Lines of /proc/stat that are a name and a number (intr and softirq: the sum, then one per line).
constexpr SystemField kSystem[] = {{"intr", ColumnKind::kCounter},
                                   {"ctxt", ColumnKind::kCounter},
                                   {"processes", ColumnKind::kCounter},
                                   {"procs_running", ColumnKind::kGauge},
                                   {"procs_blocked", ColumnKind::kGauge},
                                   {"softirq", ColumnKind::kCounter}};

class CpuSource : public Source {
 public:
  CpuSource(const SourceRequest& request,
            StateSink& states,
            PreadFile file,
            bool is_per_cpu,
            uint64_t tick_ns,
            std::vector<TableSpec> tables)
      : states_(states),
        tables_(std::move(tables)),
        name_(TableName(request, tables_[0])),
        system_name_(TableName(request, tables_[1])),
        file_(std::move(file)),
        is_per_cpu_(is_per_cpu),
        tick_ns_(tick_ns),
        cpus_(name_, tables_[0].columns.size(), 0),
        system_watch_(tables_[1].columns.size()) {}

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t table, int64_t tick_ns, TableWriter& rows) override {
    // Both tables of one tick come from one reading.
    if (tick_ns != read_at_ns_ || !is_read_) {
      is_read_ = file_.Read(&text_);
      if (!is_read_) text_ = {};
      read_at_ns_ = tick_ns;
      availability_.Update(states_, name_, "", "", file_.error());
    }
    if (table == 0) {
      SampleCpus(tick_ns, rows);
    } else {
      SampleSystem(tick_ns, rows);
    }
  }

 private:
  void SampleCpus(int64_t tick_ns, TableWriter& rows) {
    if (!rows.BeginTick(tick_ns, std::max(cpus_.size(), tables_[0].rows_per_tick))) return;
    cpus_.BeginTick();
    LineScanner lines(text_);
    std::string_view line;
    CpuTimes times;
    while (lines.Next(&line) && ParseCpuLine(line, &times)) {  // the CPU lines come first
      if (times.is_total == is_per_cpu_) continue;
      constexpr size_t kPrefix = 3;  // "cpu"
      const std::string_view number = line.substr(kPrefix, line.find_first_of(" \t\r") - kPrefix);
      LineEntities::Entity* const cpu = cpus_.Find(number, rows, states_);
      if (cpu == nullptr || !rows.BeginRow(tick_ns)) continue;
      uint32_t column = 1;
      if (is_per_cpu_) rows.SetU32(column++, times.cpu);
      for (uint32_t i = 0; i < times.fields; i++, column++) {
        uint64_t ns = 0;
        if (__builtin_mul_overflow(times.ticks[i], tick_ns_, &ns)) continue;
        rows.SetU64(column, ns);
        if (i != kIdle && i != kIowait) cpu->watch.See(column, ns);
      }
      rows.EndRow();
      cpu->watch.Report(states_, name_, cpu->name, tables_[0].columns);
    }
    cpus_.EndTick(is_read_, states_);
    rows.EndTick();
  }

  void SampleSystem(int64_t tick_ns, TableWriter& rows) {
    if (!rows.BeginTick(tick_ns, 1)) return;
    if (rows.BeginRow(tick_ns)) {
      LineScanner lines(text_);
      std::string_view line;
      while (lines.Next(&line)) {
        for (uint32_t i = 0; i < std::size(kSystem); i++) {
          const std::string_view name = kSystem[i].name;
          if (line.size() <= name.size() || line[name.size()] != ' ' ||
              line.substr(0, name.size()) != name) {
            continue;
          }
          uint64_t value = 0;
          if (!WordScanner(line.substr(name.size())).U64(&value)) break;
          rows.SetU64(i + 1, value);
          if (kSystem[i].kind == ColumnKind::kCounter) system_watch_.See(i + 1, value);
          break;
        }
      }
      rows.EndRow();
    }
    rows.EndTick();
    system_watch_.Report(states_, system_name_, "", tables_[1].columns);
  }

  StateSink& states_;
  std::vector<TableSpec> tables_;
  std::string name_;
  std::string system_name_;
  PreadFile file_;
  bool is_per_cpu_;
  uint64_t tick_ns_;
  LineEntities cpus_;
  CounterWatch system_watch_;
  Availability availability_;
  std::string_view text_;
  bool is_read_ = false;
  int64_t read_at_ns_ = 0;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeCpuSource(const SourceRequest& request, StateSink& states) {
  const std::string per = request.Option("per", "cpu");
  if (per != "cpu" && per != "total") {
    return Status("ERR_INVALID_ARGUMENT", "Expected cpu or total for per but received " + per);
  }
  const bool is_per_cpu = per == "cpu";
  // One record, and 15 KB of CPU lines on a server with 192 CPUs.
  PreadFile file(request.root + "/proc/stat", PreadFile::Shape::kOneRead, size_t{64} * 1024);
  std::string_view text;
  if (!file.Read(&text)) return CannotRead(request, file, "mount -t proc proc /proc");
  const int64_t ticks_per_second = sysconf(_SC_CLK_TCK);
  if (ticks_per_second <= 0) return Status("ERR_UNAVAILABLE", "sysconf tells no _SC_CLK_TCK");

  std::vector<TableSpec> tables(2);
  uint32_t fields = 0;
  uint32_t cpus = 0;
  LineScanner lines(text);
  std::string_view line;
  CpuTimes times;
  while (lines.Next(&line) && ParseCpuLine(line, &times)) {
    fields = std::max(fields, times.fields);
    if (!times.is_total) cpus++;
  }
  if (fields == 0) {
    return Status("ERR_UNAVAILABLE", request.name + " found no cpu line in " + file.path())
        .WithSource(file.path(), 0);
  }
  tables[0].grain = is_per_cpu ? "one row per tick and CPU" : "one row per tick, all CPUs";
  tables[0].rows_per_tick = is_per_cpu ? std::max(cpus, 1U) : 1;
  tables[0].columns.push_back(TimeColumn());
  if (is_per_cpu) tables[0].columns.push_back(NumberKeyColumn("cpu", "/proc/stat cpu<N>"));
  for (uint32_t i = 0; i < CpuTimes::kMaxFields; i++) {
    ColumnSpec column = CounterColumn(
        std::string(kTimes[i]) + "_ns", "ns", std::string("/proc/stat cpu ") + kTimes[i]);
    if (i >= fields) column.reason = "not_supported";  // by a kernel as old as this one
    tables[0].columns.push_back(std::move(column));
  }
  tables[1].suffix = "system";
  tables[1].grain = "one row per tick";
  tables[1].columns.push_back(TimeColumn());
  for (const SystemField& field : kSystem) {
    const std::string name(field.name);
    ColumnSpec column = GaugeColumn(name, "1", "/proc/stat " + name);
    column.kind = field.kind;
    tables[1].columns.push_back(std::move(column));
  }
  constexpr int64_t kSecond = 1'000'000'000;
  return std::unique_ptr<Source>(
      std::make_unique<CpuSource>(request,
                                  states,
                                  std::move(file),
                                  is_per_cpu,
                                  static_cast<uint64_t>(kSecond / ticks_per_second),
                                  std::move(tables)));
}

}  // namespace warpgauge
