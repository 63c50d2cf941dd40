#include "os/thermal_source.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/folder_entities.h"
#include "os/pread_file.h"
#include "os/source_support.h"
#include "os/system_text.h"
#include "os/text_scanner.h"

namespace warpgauge {
namespace {

constexpr const char* kZones = "/sys/class/thermal";
constexpr const char* kCpus = "/sys/devices/system/cpu";
constexpr size_t kSmall = 64;

struct Zone {
  std::string key;
  int32_t code = -1;
  int32_t type_code = -1;
  PreadFile temperature;
  Availability state;
};

struct CpuField {
  const char* column;
  const char* file;
  const char* unit;
  uint64_t scale;
  ColumnKind kind;
};
constexpr CpuField kCpuFields[] = {
    {"frequency_hertz", "cpufreq/scaling_cur_freq", "hertz", 1000, ColumnKind::kGauge},
    {"core_throttles", "thermal_throttle/core_throttle_count", "1", 1, ColumnKind::kCounter},
    {"core_throttle_ns",
     "thermal_throttle/core_throttle_total_time_ms",
     "ns",
     1'000'000,
     ColumnKind::kCounter},
    {"package_throttles", "thermal_throttle/package_throttle_count", "1", 1, ColumnKind::kCounter},
    {"package_throttle_ns",
     "thermal_throttle/package_throttle_total_time_ms",
     "ns",
     1'000'000,
     ColumnKind::kCounter},
};
constexpr uint32_t kCpuFieldCount = std::size(kCpuFields);
constexpr uint32_t kFirstCpuField = 2;

struct Cpu {
  std::string key;
  uint32_t number = 0;
  struct File {
    bool is_present = false;
    PreadFile file;
    Availability state;
  } files[kCpuFieldCount];
  CounterWatch watch;
};

bool CanRead(const std::string& path, std::string* text) {
  PreadFile file(path, PreadFile::Shape::kOneRead, kSmall);
  std::string_view view;
  if (!file.Read(&view)) return false;
  text->assign(view);
  return true;
}

class ThermalSource : public Source {
 public:
  ThermalSource(const SourceRequest& request, StateSink& states, std::vector<TableSpec> tables)
      : states_(states),
        zone_folder_(request.root + kZones),
        cpu_folder_(request.root + kCpus),
        tables_(std::move(tables)),
        zone_table_(TableName(request, tables_[0])),
        cpu_table_(TableName(request, tables_[1])),
        zones_(zone_table_, zone_folder_),
        cpus_(cpu_table_, cpu_folder_) {}

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t table, int64_t tick_ns, TableWriter& rows) override {
    if (table == 0) {
      zones_.Update(tick_ns, states_, [&](std::string_view name) { return MakeZone(name, rows); });
      if (!rows.BeginTick(tick_ns, zones_.size())) return;
      zones_.ForEach([&](Zone& zone) { WriteZone(zone, tick_ns, rows); });
    } else {
      cpus_.Update(tick_ns, states_, [&](std::string_view name) { return MakeCpu(name); });
      if (!rows.BeginTick(tick_ns, cpus_.size())) return;
      cpus_.ForEach([&](Cpu& cpu) { WriteCpu(cpu, tick_ns, rows); });
    }
    rows.EndTick();
  }

 private:
  PreadFile Open(const std::string& path) {
    return PreadFile(path, PreadFile::Shape::kOneRead, kSmall, open_files_.Take());
  }

  std::unique_ptr<Zone> MakeZone(std::string_view name, TableWriter& rows) {
    uint32_t number = 0;
    if (!NumberAfter(name, "thermal_zone", &number)) return nullptr;
    const std::string folder = zone_folder_ + "/" + std::string(name);
    auto zone = std::make_unique<Zone>(
        Zone{std::string(name), rows.names(1).Code(name), -1, Open(folder + "/temp"), {}});
    std::string type;
    if (CanRead(folder + "/type", &type)) {
      while (!type.empty() && (type.back() == '\n' || IsBlank(type.back()))) type.pop_back();
      zone->type_code = rows.names(2).Code(type);
    }
    return zone;
  }

  void WriteZone(Zone& zone, int64_t tick_ns, TableWriter& rows) {
    if (zone.code < 0 || !rows.BeginRow(tick_ns)) return;
    rows.SetCode(1, zone.code);
    rows.SetCode(2, zone.type_code);
    std::string_view text;
    zone.temperature.Read(&text);
    int error = zone.temperature.error();
    int64_t millidegrees = 0;
    if (error == 0 && !ParseSignedNumberFile(text, &millidegrees)) error = EBADMSG;
    constexpr double kMilli = 1000;
    if (error == 0) rows.SetF64(3, static_cast<double>(millidegrees) / kMilli);
    zone.state.Update(states_, zone_table_, zone.key, tables_[0].columns[3].name, error);
    rows.EndRow();
  }

  std::unique_ptr<Cpu> MakeCpu(std::string_view name) {
    uint32_t number = 0;
    if (!NumberAfter(name, "cpu", &number)) return nullptr;
    auto cpu = std::make_unique<Cpu>(
        Cpu{std::to_string(number), number, {}, CounterWatch(tables_[1].columns.size())});
    bool has_any = false;
    for (uint32_t i = 0; i < kCpuFieldCount; i++) {
      const std::string path = cpu_folder_ + "/" + std::string(name) + "/" + kCpuFields[i].file;
      std::string text;
      Cpu::File& file = cpu->files[i];
      file.is_present = CanRead(path, &text);
      if (file.is_present) file.file = Open(path);
      has_any = has_any || file.is_present;
    }
    if (!has_any) return nullptr;
    return cpu;
  }

  void WriteCpu(Cpu& cpu, int64_t tick_ns, TableWriter& rows) {
    if (!rows.BeginRow(tick_ns)) return;
    rows.SetU32(1, cpu.number);
    for (uint32_t i = 0; i < kCpuFieldCount; i++) {
      Cpu::File& file = cpu.files[i];
      if (!file.is_present) continue;
      const uint32_t column = kFirstCpuField + i;
      std::string_view text;
      file.file.Read(&text);
      int error = file.file.error();
      uint64_t value = 0;
      if (error == 0 && (!ParseNumberFile(text, &value) ||
                         __builtin_mul_overflow(value, kCpuFields[i].scale, &value))) {
        error = EBADMSG;
      }
      if (error == 0) {
        rows.SetU64(column, value);
        if (kCpuFields[i].kind == ColumnKind::kCounter) cpu.watch.See(column, value);
      }
      file.state.Update(states_, cpu_table_, cpu.key, tables_[1].columns[column].name, error);
    }
    rows.EndRow();
    cpu.watch.Report(states_, cpu_table_, cpu.key, tables_[1].columns);
  }

  StateSink& states_;
  std::string zone_folder_;
  std::string cpu_folder_;
  std::vector<TableSpec> tables_;
  std::string zone_table_;
  std::string cpu_table_;
  OpenFiles open_files_;
  FolderEntities<Zone> zones_;
  FolderEntities<Cpu> cpus_;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeThermalSource(const SourceRequest& request, StateSink& states) {
  std::vector<TableSpec> tables(2);
  tables[0].grain = "one row per tick and thermal zone";
  tables[0].rows_per_tick = 0;
  tables[0].columns.push_back(TimeColumn());
  const std::string zone_files = std::string(kZones) + "/thermal_zone*";
  tables[0].columns.push_back(NameKeyColumn("zone", zone_files));
  ColumnSpec type = NameKeyColumn("type", zone_files + "/type");
  type.kind = ColumnKind::kState;
  type.nullable = true;
  tables[0].columns.push_back(std::move(type));
  ColumnSpec temperature = GaugeColumn("temperature_celsius", "celsius", zone_files + "/temp");
  temperature.type = ColumnType::kFloat64;
  tables[0].columns.push_back(std::move(temperature));
  for (const std::string& name : NamesIn(request.root + kZones)) {
    uint32_t number = 0;
    if (NumberAfter(name, "thermal_zone", &number)) tables[0].rows_per_tick++;
  }

  tables[1].suffix = "cpufreq";
  tables[1].grain = "one row per tick and CPU";
  tables[1].rows_per_tick = 0;
  tables[1].columns.push_back(TimeColumn());
  tables[1].columns.push_back(NumberKeyColumn("cpu", std::string(kCpus) + "/cpu*"));
  bool has_field[kCpuFieldCount] = {};
  for (const std::string& name : NamesIn(request.root + kCpus)) {
    uint32_t number = 0;
    if (!NumberAfter(name, "cpu", &number)) continue;
    bool has_any = false;
    for (uint32_t i = 0; i < kCpuFieldCount; i++) {
      std::string text;
      const bool is_present =
          CanRead(request.root + kCpus + "/" + name + "/" + kCpuFields[i].file, &text);
      has_field[i] = has_field[i] || is_present;
      has_any = has_any || is_present;
    }
    if (has_any) tables[1].rows_per_tick++;
  }
  for (uint32_t i = 0; i < kCpuFieldCount; i++) {
    const CpuField& field = kCpuFields[i];
    ColumnSpec column =
        GaugeColumn(field.column, field.unit, std::string(kCpus) + "/cpu*/" + field.file);
    column.kind = field.kind;
    if (!has_field[i]) column.reason = "not_supported";
    tables[1].columns.push_back(std::move(column));
  }
  if (tables[0].rows_per_tick == 0 && tables[1].rows_per_tick == 0) {
    return Status("ERR_UNAVAILABLE",
                  "This machine shows neither thermal zones nor CPU frequencies (a virtual "
                  "machine, as a rule)")
        .WithFix("run on the host")
        .WithSource(request.root + kZones, ENOENT);
  }
  for (TableSpec& table : tables) table.rows_per_tick = std::max(table.rows_per_tick, 1U);
  return std::unique_ptr<Source>(
      std::make_unique<ThermalSource>(request, states, std::move(tables)));
}

}  // namespace warpgauge
