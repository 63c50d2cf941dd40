#include "os/pressure_source.h"

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/pread_file.h"
#include "os/source_support.h"
#include "os/system_text.h"
#include "os/text_scanner.h"

namespace warpgauge {
namespace {

constexpr const char* kResources[] = {"cpu", "memory", "io", "irq"};
constexpr const char* kSome = "some";
constexpr const char* kFull = "full";
constexpr uint32_t kKey = 1;
constexpr uint32_t kFirstSome = 2;
constexpr uint32_t kColumnsOfKind = 4;
constexpr uint64_t kNsPerUs = 1000;

struct Resource {
  std::string name;
  PreadFile file;
  int32_t code = -1;
  bool has_some = false;
  bool has_full = false;
  CounterWatch watch;
  Availability availability;
};

class PressureSource : public Source {
 public:
  PressureSource(const SourceRequest& request,
                 StateSink& states,
                 std::vector<Resource> resources,
                 TableSpec table)
      : states_(states), name_(TableName(request, table)), resources_(std::move(resources)) {
    tables_.push_back(std::move(table));
  }

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t /*table*/, int64_t tick_ns, TableWriter& rows) override {
    if (!is_started_) TellMissing(rows);
    if (!rows.BeginTick(tick_ns, static_cast<uint32_t>(resources_.size()))) return;
    for (Resource& resource : resources_) {
      std::string_view text;
      resource.file.Read(&text);
      resource.availability.Update(states_, name_, resource.name, "", resource.file.error());
      // A resource that cannot be read is absent from this tick.
      if (resource.file.error() == 0) WriteRow(resource, text, tick_ns, rows);
    }
    rows.EndTick();
  }

 private:
  void TellMissing(TableWriter& rows) {
    is_started_ = true;
    for (Resource& resource : resources_) {
      resource.code = rows.names(kKey).Code(resource.name);
      for (const auto& [has, kind] :
           {std::pair(resource.has_some, kSome), std::pair(resource.has_full, kFull)}) {
        if (has) continue;
        for (const ColumnSpec& column : tables_[0].columns) {
          if (column.name.substr(0, 4) == kind) {
            ReportMissing(states_, name_, resource.name, column.name, "not_supported");
          }
        }
      }
    }
  }

  void WriteRow(Resource& resource, std::string_view text, int64_t tick_ns, TableWriter& rows) {
    if (resource.code < 0 || !rows.BeginRow(tick_ns)) return;
    rows.SetCode(kKey, resource.code);
    LineScanner lines(text);
    std::string_view line;
    PressureLine pressure;
    while (lines.Next(&line)) {
      if (!ParsePressureLine(line, &pressure)) continue;
      const uint32_t first = kFirstSome + (pressure.is_full ? kColumnsOfKind : 0);
      rows.SetF64(first, pressure.avg10_ratio);
      rows.SetF64(first + 1, pressure.avg60_ratio);
      rows.SetF64(first + 2, pressure.avg300_ratio);
      uint64_t ns = 0;
      if (__builtin_mul_overflow(pressure.total_us, kNsPerUs, &ns)) continue;
      rows.SetU64(first + 3, ns);
      resource.watch.See(first + 3, ns);
    }
    rows.EndRow();
    resource.watch.Report(states_, name_, resource.name, tables_[0].columns);
  }

  StateSink& states_;
  std::string name_;
  std::vector<TableSpec> tables_;
  std::vector<Resource> resources_;
  bool is_started_ = false;
};

ColumnSpec RatioColumn(const std::string& kind, const std::string& average) {
  ColumnSpec column = GaugeColumn(
      kind + "_avg" + average + "_ratio", "1", "/proc/pressure/* " + kind + " avg" + average);
  column.type = ColumnType::kFloat64;
  column.window = average + " s decaying average, renewed every 2 s";
  return column;
}

}  // namespace

Result<std::unique_ptr<Source>> MakePressureSource(const SourceRequest& request,
                                                   StateSink& states) {
  TableSpec table;
  table.grain = "one row per tick and resource";
  table.columns.push_back(TimeColumn());
  table.columns.push_back(NameKeyColumn("resource", "/proc/pressure/*"));
  for (const char* const kind : {kSome, kFull}) {
    for (const char* const average : {"10", "60", "300"}) {
      table.columns.push_back(RatioColumn(kind, average));
    }
    table.columns.push_back(CounterColumn(
        std::string(kind) + "_total_ns", "ns", std::string("/proc/pressure/* ") + kind + " total"));
  }
  std::vector<Resource> resources;
  int error = ENOENT;
  for (const char* const name : kResources) {
    PreadFile file(request.root + "/proc/pressure/" + name, PreadFile::Shape::kOneRead, 256);
    std::string_view text;
    if (!file.Read(&text)) {
      if (file.error() != ENOENT) error = file.error();
      continue;
    }
    Resource resource{name, PreadFile(), -1, false, false, CounterWatch(table.columns.size()), {}};
    LineScanner lines(text);
    std::string_view line;
    PressureLine pressure;
    while (lines.Next(&line)) {
      if (!ParsePressureLine(line, &pressure)) continue;
      (pressure.is_full ? resource.has_full : resource.has_some) = true;
    }
    resource.file = std::move(file);
    resources.push_back(std::move(resource));
  }
  if (resources.empty()) {
    // With psi=0 the files of some kernels are there and answer EOPNOTSUPP.
    return Status("ERR_UNAVAILABLE",
                  "This kernel keeps no pressure stall information: /proc/pressure is absent or "
                  "switched off")
        .WithFix("boot with psi=1")
        .WithSource(request.root + "/proc/pressure", error);
  }
  table.rows_per_tick = static_cast<uint32_t>(resources.size());
  return std::unique_ptr<Source>(
      std::make_unique<PressureSource>(request, states, std::move(resources), std::move(table)));
}

}  // namespace warpgauge
