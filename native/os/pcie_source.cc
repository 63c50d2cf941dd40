#include "os/pcie_source.h"

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/folder_entities.h"
#include "os/named_columns.h"
#include "os/pread_file.h"
#include "os/source_support.h"
#include "os/system_text.h"
#include "os/text_scanner.h"

namespace warpgauge {
namespace {

constexpr const char* kDevices = "/sys/bus/pci/devices";
constexpr size_t kSmall = 64;

constexpr uint32_t kKey = 1;
constexpr uint32_t kSpeed = 2;
constexpr uint32_t kWidth = 3;
constexpr uint32_t kMaxSpeed = 4;
constexpr uint32_t kMaxWidth = 5;

struct Severity {
  const char* file;
  const char* name;
};
constexpr Severity kSeverities[] = {{"aer_dev_correctable", "aer_correctable"},
                                    {"aer_dev_nonfatal", "aer_nonfatal"},
                                    {"aer_dev_fatal", "aer_fatal"}};
constexpr size_t kSeverityCount = 3;
constexpr std::string_view kTotal = "TOTAL_ERR_";

struct AerField {
  std::string name;  // as in the file
  uint32_t column;
};
using AerFields = std::vector<AerField>;

struct Device {
  std::string key;
  int32_t code = -1;
  bool has_link = false;
  bool has_max_speed = false;
  bool has_max_width = false;
  uint64_t max_speed = 0;
  uint64_t max_width = 0;
  PreadFile runtime_status;
  PreadFile speed;
  PreadFile width;
  Availability speed_state;
  Availability width_state;
  struct Aer {
    bool is_present = false;
    PreadFile file;
    Availability state;
  } aer[kSeverityCount];
  CounterWatch watch;
};

bool ReadOnce(const std::string& path, std::string* text) {
  PreadFile file(path, PreadFile::Shape::kOneRead);
  std::string_view view;
  if (!file.Read(&view)) return false;
  *text = view;
  return true;
}

bool ParseWidth(std::string_view text, uint64_t* width) {
  constexpr uint64_t kUnknown = 255;  // PCIE_LNK_WIDTH_UNKNOWN
  return ParseNumberFile(text, width) && *width != 0 && *width < kUnknown;
}

class PcieSource : public Source {
 public:
  PcieSource(const SourceRequest& request,
             StateSink& states,
             const std::vector<AerFields>& aer,
             TableSpec table)
      : states_(states),
        folder_(request.root + kDevices),
        name_(TableName(request, table)),
        only_(request.Option("device")),
        devices_(name_, folder_) {
    for (size_t i = 0; i < kSeverityCount; i++) {
      for (const AerField& field : aer[i]) aer_lines_[i].Add(field.name, field.column, false);
    }
    tables_.push_back(std::move(table));
  }

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t /*table*/, int64_t tick_ns, TableWriter& rows) override {
    devices_.Update(
        tick_ns, states_, [&](std::string_view name) { return MakeDevice(name, rows); });
    if (!rows.BeginTick(tick_ns, devices_.size())) return;
    devices_.ForEach([&](Device& device) { WriteRow(device, tick_ns, rows); });
    rows.EndTick();
  }

 private:
  PreadFile Open(const std::string& path, size_t capacity) {
    return PreadFile(path, PreadFile::Shape::kOneRead, capacity, open_files_.Take());
  }

  std::unique_ptr<Device> MakeDevice(std::string_view name, TableWriter& rows) {
    if (!only_.empty() && name != only_) return nullptr;
    const std::string folder = folder_ + "/" + std::string(name) + "/";
    std::string text;
    const bool has_link = ReadOnce(folder + "max_link_speed", &text);
    if (!has_link && only_.empty()) return nullptr;
    auto device = std::make_unique<Device>(Device{std::string(name),
                                                  rows.names(kKey).Code(name),
                                                  has_link,
                                                  false,
                                                  false,
                                                  0,
                                                  0,
                                                  Open(folder + "power/runtime_status", kSmall),
                                                  Open(folder + "current_link_speed", kSmall),
                                                  Open(folder + "current_link_width", kSmall),
                                                  {},
                                                  {},
                                                  {},
                                                  CounterWatch(tables_[0].columns.size())});
    device->has_max_speed = has_link && ParseLinkSpeed(text, &device->max_speed);
    device->has_max_width =
        ReadOnce(folder + "max_link_width", &text) && ParseWidth(text, &device->max_width);
    if (!has_link) {
      for (const uint32_t column : {kSpeed, kWidth, kMaxSpeed, kMaxWidth}) {
        Missing(*device, tables_[0].columns[column].name);
      }
    }
    for (size_t i = 0; i < kSeverityCount; i++) {
      const std::string path = folder + kSeverities[i].file;
      device->aer[i].is_present = ReadOnce(path, &text);
      if (device->aer[i].is_present) {
        device->aer[i].file = Open(path, 1024);
      } else {
        Missing(*device, kSeverities[i].name);
      }
    }
    return device;
  }

  void Missing(const Device& device, const std::string& field) {
    ReportMissing(states_, name_, device.key, field, "not_supported");
  }

  void WriteRow(Device& device, int64_t tick_ns, TableWriter& rows) {
    if (device.code < 0 || !rows.BeginRow(tick_ns)) return;
    rows.SetCode(kKey, device.code);
    if (device.has_max_speed) rows.SetU64(kMaxSpeed, device.max_speed);
    if (device.has_max_width) rows.SetU64(kMaxWidth, device.max_width);
    if (device.has_link) WriteLink(device, rows);
    for (size_t i = 0; i < kSeverityCount; i++) {
      Device::Aer& aer = device.aer[i];
      if (!aer.is_present) continue;
      std::string_view text;
      if (aer.file.Read(&text)) {
        aer_lines_[i].Parse(text, [&](uint32_t column, uint64_t value) {
          rows.SetU64(column, value);
          device.watch.See(column, value);
        });
      }
      aer.state.Update(states_, name_, device.key, kSeverities[i].name, aer.file.error());
    }
    rows.EndRow();
    device.watch.Report(states_, name_, device.key, tables_[0].columns);
  }

  void WriteLink(Device& device, TableWriter& rows) {
    std::string_view text;
    // Reading the link resumes a suspended device, and that would be acting.
    if (device.runtime_status.Read(&text) && text.substr(0, 7) == "suspend") {
      UpdateLink(device, EHOSTDOWN, EHOSTDOWN, "asleep");
      return;
    }
    uint64_t value = 0;
    device.speed.Read(&text);
    int speed_error = device.speed.error();
    if (speed_error == 0) {
      if (ParseLinkSpeed(text, &value)) {
        rows.SetU64(kSpeed, value);
      } else {
        speed_error = EBADMSG;  // "Unknown": the link is down
      }
    }
    device.width.Read(&text);
    int width_error = device.width.error();
    if (width_error == 0) {
      if (ParseWidth(text, &value)) {
        rows.SetU64(kWidth, value);
      } else {
        width_error = EBADMSG;
      }
    }
    UpdateLink(device, speed_error, width_error, nullptr);
  }

  void UpdateLink(Device& device, int speed_error, int width_error, const char* reason) {
    device.speed_state.Update(
        states_, name_, device.key, tables_[0].columns[kSpeed].name, speed_error, reason);
    device.width_state.Update(
        states_, name_, device.key, tables_[0].columns[kWidth].name, width_error, reason);
  }

  StateSink& states_;
  std::string folder_;
  std::string name_;
  std::string only_;
  std::vector<TableSpec> tables_;
  NamedColumns aer_lines_[kSeverityCount];
  OpenFiles open_files_;
  FolderEntities<Device> devices_;
};

// "TOTAL_ERR_COR" is the column aer_correctable, "BadTLP" aer_correctable_bad_tlp.
void AddAerColumns(std::string_view text,
                   const Severity& severity,
                   TableSpec* table,
                   AerFields* fields) {
  LineScanner lines(text);
  std::string_view line;
  while (lines.Next(&line)) {
    NamedNumber number;
    if (!ParseNamedNumber(line, &number)) continue;
    const std::string name(number.name);
    const bool is_total = name.compare(0, kTotal.size(), kTotal) == 0;
    const std::string column =
        is_total ? severity.name : std::string(severity.name) + "_" + SnakeCase(name);
    if (is_total) {
      // Column 6, 7 or 8: there whether or not any device has AER.
      bool is_known = false;
      for (const AerField& field : *fields) is_known = is_known || field.name == name;
      for (uint32_t i = 0; !is_known && i < table->columns.size(); i++) {
        if (table->columns[i].name == column) fields->push_back({name, i});
      }
    } else if (!HasColumn(*table, column)) {
      fields->push_back({name, static_cast<uint32_t>(table->columns.size())});
      table->columns.push_back(
          CounterColumn(column, "1", std::string(kDevices) + "/*/" + severity.file + " " + name));
    }
  }
}

}  // namespace

Result<std::unique_ptr<Source>> MakePcieSource(const SourceRequest& request, StateSink& states) {
  const std::string folder = request.root + kDevices;
  const std::string only = request.Option("device");
  TableSpec table;
  table.grain = "one row per tick and PCI device with a link";
  table.rows_per_tick = 0;
  table.columns.push_back(TimeColumn());
  table.columns.push_back(NameKeyColumn("device", kDevices));
  const std::string files = std::string(kDevices) + "/*/";
  table.columns.push_back(
      GaugeColumn("link_speed_transfers_per_second", "transfers/s", files + "current_link_speed"));
  table.columns.push_back(GaugeColumn("link_width", "lanes", files + "current_link_width"));
  table.columns.push_back(
      GaugeColumn("max_link_speed_transfers_per_second", "transfers/s", files + "max_link_speed"));
  table.columns.push_back(GaugeColumn("max_link_width", "lanes", files + "max_link_width"));
  std::vector<AerFields> aer(kSeverityCount);
  for (const Severity& severity : kSeverities) {
    table.columns.push_back(
        CounterColumn(severity.name, "1", files + severity.file + " " + std::string(kTotal) + "*"));
  }
  bool is_found = false;
  bool has_aer = false;
  bool has_link = false;
  for (const std::string& name : NamesIn(folder)) {
    if (!only.empty() && name != only) continue;
    is_found = true;
    std::string text;
    std::string device = folder;
    device.append("/").append(name).append("/");
    const bool is_linked = ReadOnce(device + "max_link_speed", &text);
    has_link = has_link || is_linked;
    if (!is_linked && only.empty()) continue;
    table.rows_per_tick++;
    for (size_t i = 0; i < kSeverityCount; i++) {
      if (!ReadOnce(device + kSeverities[i].file, &text)) continue;
      has_aer = true;
      AddAerColumns(text, kSeverities[i], &table, &aer[i]);
    }
  }
  if (!only.empty() && !is_found) {
    return Status("ERR_GONE", "There is no PCI device " + only)
        .WithFix("ls " + std::string(kDevices))
        .WithSource(folder, ENOENT);
  }
  if (only.empty() && !has_link) {
    return Status("ERR_UNAVAILABLE", "No PCI device of this machine has a PCI Express link")
        .WithFix("name one device: device=ADDR")
        .WithSource(folder, ENOENT);
  }
  for (ColumnSpec& column : table.columns) {
    const bool is_aer = column.name.compare(0, 4, "aer_") == 0;
    if (is_aer && !has_aer) column.reason = "not_supported";
    if (column.name.find("link_") != std::string::npos && !has_link) {
      column.reason = "not_supported";
    }
  }
  return std::unique_ptr<Source>(
      std::make_unique<PcieSource>(request, states, aer, std::move(table)));
}

}  // namespace warpgauge
