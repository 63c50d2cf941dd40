#include "os/cgroup_source.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <iterator>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "os/cgroup_source_files.h"
#include "os/named_columns.h"
#include "os/pread_file.h"
#include "os/source_support.h"
#include "os/system_text.h"
#include "os/text_scanner.h"

namespace warpgauge {
namespace {

constexpr uint64_t kNsPerUs = 1000;
constexpr size_t kMostDevices = 4096;

enum TableIndex : size_t { kMain, kIo, kPressure, kHugetlb };
constexpr uint32_t kKey = 1;
constexpr uint32_t kFirst = 2;  // of every table

// One column of the main table: a line of a file, or a whole file that is one number.
struct Field {
  const char* column;
  const char* unit;
  ColumnKind kind;
  const char* file;
  const char* line;        // nullptr: the file is the number
  const char* controller;  // "": every cgroup v2 has it
  uint64_t scale = 1;
};

constexpr auto kGauge = ColumnKind::kGauge;
constexpr auto kCounter = ColumnKind::kCounter;

// Grouped by file, in the order of its lines.
constexpr Field kFields[] = {
    {"cpu_usage_ns", "ns", kCounter, "cpu.stat", "usage_usec", "", kNsPerUs},
    {"cpu_user_ns", "ns", kCounter, "cpu.stat", "user_usec", "", kNsPerUs},
    {"cpu_system_ns", "ns", kCounter, "cpu.stat", "system_usec", "", kNsPerUs},
    {"cpu_periods", "1", kCounter, "cpu.stat", "nr_periods", "cpu"},
    {"cpu_throttled_periods", "1", kCounter, "cpu.stat", "nr_throttled", "cpu"},
    {"cpu_throttled_ns", "ns", kCounter, "cpu.stat", "throttled_usec", "cpu", kNsPerUs},
    {"cpu_bursts", "1", kCounter, "cpu.stat", "nr_bursts", "cpu"},
    {"cpu_burst_ns", "ns", kCounter, "cpu.stat", "burst_usec", "cpu", kNsPerUs},
    {"memory_current_bytes", "bytes", kGauge, "memory.current", nullptr, "memory"},
    {"memory_peak_bytes", "bytes", kGauge, "memory.peak", nullptr, "memory"},
    {"swap_current_bytes", "bytes", kGauge, "memory.swap.current", nullptr, "memory"},
    {"memory_anon_bytes", "bytes", kGauge, "memory.stat", "anon", "memory"},
    {"memory_file_bytes", "bytes", kGauge, "memory.stat", "file", "memory"},
    {"memory_kernel_bytes", "bytes", kGauge, "memory.stat", "kernel", "memory"},
    {"memory_kernel_stack_bytes", "bytes", kGauge, "memory.stat", "kernel_stack", "memory"},
    {"memory_page_tables_bytes", "bytes", kGauge, "memory.stat", "pagetables", "memory"},
    {"memory_sock_bytes", "bytes", kGauge, "memory.stat", "sock", "memory"},
    {"memory_shmem_bytes", "bytes", kGauge, "memory.stat", "shmem", "memory"},
    {"memory_file_mapped_bytes", "bytes", kGauge, "memory.stat", "file_mapped", "memory"},
    {"memory_file_dirty_bytes", "bytes", kGauge, "memory.stat", "file_dirty", "memory"},
    {"memory_file_writeback_bytes", "bytes", kGauge, "memory.stat", "file_writeback", "memory"},
    {"memory_anon_thp_bytes", "bytes", kGauge, "memory.stat", "anon_thp", "memory"},
    {"memory_file_thp_bytes", "bytes", kGauge, "memory.stat", "file_thp", "memory"},
    {"memory_shmem_thp_bytes", "bytes", kGauge, "memory.stat", "shmem_thp", "memory"},
    {"memory_slab_bytes", "bytes", kGauge, "memory.stat", "slab", "memory"},
    {"refaults_anon", "pages", kCounter, "memory.stat", "workingset_refault_anon", "memory"},
    {"refaults_file", "pages", kCounter, "memory.stat", "workingset_refault_file", "memory"},
    {"scanned", "pages", kCounter, "memory.stat", "pgscan", "memory"},
    {"stolen", "pages", kCounter, "memory.stat", "pgsteal", "memory"},
    {"page_faults", "1", kCounter, "memory.stat", "pgfault", "memory"},
    {"major_faults", "1", kCounter, "memory.stat", "pgmajfault", "memory"},
    {"thp_fault_alloc", "1", kCounter, "memory.stat", "thp_fault_alloc", "memory"},
    {"thp_collapse_alloc", "1", kCounter, "memory.stat", "thp_collapse_alloc", "memory"},
    {"memory_events_low", "1", kCounter, "memory.events", "low", "memory"},
    {"memory_events_high", "1", kCounter, "memory.events", "high", "memory"},
    {"memory_events_max", "1", kCounter, "memory.events", "max", "memory"},
    {"memory_events_oom", "1", kCounter, "memory.events", "oom", "memory"},
    {"memory_events_oom_kill", "1", kCounter, "memory.events", "oom_kill", "memory"},
    {"pids_current", "1", kGauge, "pids.current", nullptr, "pids"},
    {"pids_peak", "1", kGauge, "pids.peak", nullptr, "pids"},
    {"pids_events_max", "1", kCounter, "pids.events", "max", "pids"},
};

// Where a cgroup is, and why something of it may be missing.
struct Place {
  std::string path;    // in the hierarchy: the key
  std::string folder;  // with the root prefix; empty when no cgroup v2 is mounted
  std::string controllers;
  bool is_root = false;

  [[nodiscard]] std::string Missing(const std::string& controller) const {
    if (folder.empty()) return "needs_cgroup2" + (controller.empty() ? "" : ":" + controller);
    if (!controller.empty() && !HasWord(controllers, controller)) {
      return "needs_cgroup2:" + controller;
    }
    return is_root ? "not_in_root_cgroup" : "not_supported";
  }
};

std::string ReadAll(const std::string& path) {
  PreadFile file(path, PreadFile::Shape::kRecords, 4096, /*keep_open=*/false);
  std::string_view text;
  return file.Read(&text) ? std::string(text) : std::string();
}

Result<Place> FindPlace(const SourceRequest& request) {
  Place place;
  const std::string mount = Cgroup2MountPoint(ReadAll(request.root + "/proc/self/mountinfo"));
  const std::string own(Cgroup2Path(ReadAll(request.root + "/proc/self/cgroup")));
  std::string path = request.Option("path", own);
  if (mount.empty()) {
    place.path = path.empty() ? "/" : path;
    return place;
  }
  if (path.find("..") != std::string::npos || (!path.empty() && path[0] != '/')) {
    return Status(
        "ERR_INVALID_ARGUMENT",
        "cgroup: expected a path that begins with / and holds no .. but received \"" + path + "\"");
  }
  if (path == mount || path.substr(0, mount.size() + 1) == mount + "/") path.erase(0, mount.size());
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty()) path = "/";
  place.path = path;
  place.folder = request.root + mount + (path == "/" ? "" : path);
  DIR* folder = opendir(place.folder.c_str());
  if (folder == nullptr) {
    const int error = errno;
    const bool is_refused = error == EACCES || error == EPERM;
    return Status(is_refused ? "ERR_PERMISSION" : "ERR_GONE",
                  "cgroup: there is no cgroup " + path + " in the v2 hierarchy at " + mount)
        .WithFix("ls -d " + mount + "/*/")
        .WithSource(place.folder, error);
  }
  closedir(folder);
  place.controllers = ReadAll(place.folder + "/cgroup.controllers");
  // "/" in a cgroup namespace is a cgroup like any other.
  place.is_root = path == "/" && access((place.folder + "/cgroup.events").c_str(), F_OK) != 0;
  return place;
}

// A file of the main table with its columns.
struct MainFile {
  PreadFile file;
  bool is_number = false;
  uint32_t column = 0;  // of a number
  NamedColumns lines;
};

struct PressureFile {
  std::string resource;
  PreadFile file;
  int32_t code = -1;
};

struct HugetlbFiles {
  std::string size;
  PreadFile current;
  PreadFile reserved;
  PreadFile events;
  int32_t code = -1;
};

struct Device {
  uint32_t major;
  uint32_t minor;
  int32_t code;
};

std::vector<TableSpec> MakeTables() {
  std::vector<TableSpec> tables(4);
  const auto begin = [](TableSpec& table, const char* suffix, const char* grain) {
    table.suffix = suffix;
    table.grain = grain;
    table.columns.push_back(TimeColumn());
  };
  TableSpec& main = tables[kMain];
  begin(main, "", "one row per tick");
  main.columns.push_back(NameKeyColumn("path", "/proc/PID/cgroup"));
  for (const Field& field : kFields) {
    const std::string source =
        std::string(field.file) + (field.line == nullptr ? "" : std::string(" ") + field.line);
    main.columns.push_back(field.kind == kCounter ? CounterColumn(field.column, field.unit, source)
                                                  : GaugeColumn(field.column, field.unit, source));
  }
  TableSpec& io = tables[kIo];
  begin(io, "io", "one row per tick and block device");
  io.columns.push_back(NameKeyColumn("device", "io.stat, /sys/dev/block"));
  for (const auto& [name, unit, key] : {std::tuple("read_bytes", "bytes", "rbytes"),
                                        std::tuple("written_bytes", "bytes", "wbytes"),
                                        std::tuple("reads", "1", "rios"),
                                        std::tuple("writes", "1", "wios"),
                                        std::tuple("discarded_bytes", "bytes", "dbytes"),
                                        std::tuple("discards", "1", "dios")}) {
    io.columns.push_back(CounterColumn(name, unit, std::string("io.stat ") + key));
  }
  TableSpec& pressure = tables[kPressure];
  begin(pressure, "pressure", "one row per tick and resource");
  pressure.columns.push_back(NameKeyColumn("resource", "*.pressure"));
  for (const char* kind : {"some", "full"}) {
    for (const char* average : {"10", "60", "300"}) {
      pressure.columns.push_back(GaugeColumn(std::string(kind) + "_avg" + average + "_ratio",
                                             "1",
                                             std::string("*.pressure ") + kind + " avg" + average));
      pressure.columns.back().type = ColumnType::kFloat64;
      pressure.columns.back().window =
          std::string(average) + " s decaying average, renewed every 2 s";
    }
    pressure.columns.push_back(CounterColumn(
        std::string(kind) + "_total_ns", "ns", std::string("*.pressure ") + kind + " total"));
  }
  TableSpec& hugetlb = tables[kHugetlb];
  begin(hugetlb, "hugetlb", "one row per tick and huge page size");
  hugetlb.columns.push_back(NameKeyColumn("page_size", "hugetlb.*.current"));
  hugetlb.columns.push_back(GaugeColumn("current_bytes", "bytes", "hugetlb.*.current"));
  hugetlb.columns.push_back(GaugeColumn("reserved_bytes", "bytes", "hugetlb.*.rsvd.current"));
  hugetlb.columns.push_back(CounterColumn("events_max", "1", "hugetlb.*.events max"));
  return tables;
}

class CgroupSource : public Source {
 public:
  CgroupSource(SourceRequest request, Place place, StateSink& states)
      : request_(std::move(request)),
        place_(std::move(place)),
        states_(states),
        tables_(MakeTables()) {
    OpenMain();
    OpenIo();
    OpenPressure();
    OpenHugetlb();
    if (place_.folder.empty()) {
      StateChange change;
      change.table = TableName(request_, tables_[kMain]);
      change.key = place_.path;
      change.state = "unavailable";
      change.reason = "needs_cgroup2";
      states_.Report(std::move(change));
    }
  }

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t table, int64_t tick_ns, TableWriter& rows) override {
    switch (table) {
      case kMain:
        SampleMain(tick_ns, rows);
        break;
      case kIo:
        SampleIo(tick_ns, rows);
        break;
      case kPressure:
        SamplePressure(tick_ns, rows);
        break;
      default:
        SampleHugetlb(tick_ns, rows);
        break;
    }
  }

 private:
  [[nodiscard]] PreadFile File(const std::string& name, size_t capacity = 512) const {
    return PreadFile(place_.folder + "/" + name, PreadFile::Shape::kOneRead, capacity);
  }

  // Opens each file once, keeps the columns that it has and says why the others are null.
  void OpenMain() {
    std::vector<bool> is_there(std::size(kFields), false);
    for (size_t i = 0; i < std::size(kFields); i++) {
      const Field& field = kFields[i];
      const auto column = static_cast<uint32_t>(kFirst + i);
      const bool continues = i > 0 && std::string_view(kFields[i - 1].file) == field.file;
      if (!continues) {
        files_.push_back({File(field.file, 4096), field.line == nullptr, column, {}});
      }
      if (field.line != nullptr) files_.back().lines.Add(field.line, column, /*is_bytes=*/false);
      const bool ends =
          i + 1 == std::size(kFields) || std::string_view(kFields[i + 1].file) != field.file;
      if (!ends) continue;
      if (place_.folder.empty() || !Read(files_.back(), [&](uint32_t found, uint64_t) {
            is_there[found - kFirst] = true;
          })) {
        files_.pop_back();
      }
    }
    for (size_t i = 0; i < std::size(kFields); i++) {
      if (!is_there[i])
        tables_[kMain].columns[kFirst + i].reason = place_.Missing(kFields[i].controller);
    }
  }

  template <typename Set>
  static bool Read(MainFile& main, const Set& set) {
    std::string_view text;
    if (!main.file.Read(&text)) return false;
    Parse(main, text, set);
    return true;
  }
  template <typename Set>
  static void Parse(const MainFile& main, std::string_view text, const Set& set) {
    if (!main.is_number) {
      main.lines.Parse(text, set);
      return;
    }
    uint64_t value = 0;
    if (ParseNumberFile(text, &value)) set(main.column, value);
  }

  void Explain(TableIndex table, const std::string& reason) {
    for (size_t i = kFirst; i < tables_[table].columns.size(); i++) {
      tables_[table].columns[i].reason = reason;
    }
  }

  void OpenIo() {
    if (!place_.folder.empty()) io_ = File("io.stat", 4096);
    std::string_view text;
    has_io_ = !place_.folder.empty() && io_.Read(&text);
    if (!has_io_) Explain(kIo, place_.Missing("io"));
  }

  void OpenPressure() {
    for (const char* resource : {"cpu", "memory", "io", "irq"}) {
      if (place_.folder.empty()) break;
      PreadFile file = File(std::string(resource) + ".pressure");
      std::string_view text;
      // With psi=0 the files of some kernels are there and answer EOPNOTSUPP.
      if (file.Read(&text)) pressure_.push_back({resource, std::move(file), -1});
    }
    if (pressure_.empty()) Explain(kPressure, place_.Missing(""));
    tables_[kPressure].rows_per_tick = static_cast<uint32_t>(std::max<size_t>(pressure_.size(), 1));
  }

  void OpenHugetlb() {
    DIR* folder = place_.folder.empty() ? nullptr : opendir(place_.folder.c_str());
    if (folder != nullptr) {
      while (const dirent64* entry = readdir64(folder)) {
        HugetlbFiles files;
        std::string prefix;
        if (!ParseHugetlbName(entry->d_name, &files.size, &prefix)) continue;
        files.current = File(prefix + "current", 64);
        files.reserved = File(prefix + "rsvd.current", 64);
        files.events = File(prefix + "events", 64);
        hugetlb_.push_back(std::move(files));
      }
      closedir(folder);
    }
    std::sort(hugetlb_.begin(), hugetlb_.end(), [](const auto& a, const auto& b) {
      return a.size < b.size;
    });
    if (hugetlb_.empty()) Explain(kHugetlb, place_.Missing("hugetlb"));
    tables_[kHugetlb].rows_per_tick = static_cast<uint32_t>(std::max<size_t>(hugetlb_.size(), 1));
  }

  void SampleMain(int64_t tick_ns, TableWriter& rows) {
    if (path_code_ < 0) path_code_ = rows.names(kKey).Code(place_.path);
    // Every cgroup has the first file, cpu.stat: when it cannot be read the cgroup has gone, and
    // its row with it.
    std::string_view first;
    if (!files_.empty()) {
      PreadFile& file = files_.front().file;
      file.Read(&first);
      if (file.error() != gone_error_) {
        gone_error_ = file.error();
        gone_.Update(states_, TableName(request_, tables_[kMain]), place_.path, "", gone_error_);
      }
      if (gone_error_ != 0) return;
    }
    if (!rows.BeginTick(tick_ns, 1)) return;
    if (rows.BeginRow(tick_ns)) {
      const auto set = [&rows](uint32_t column, uint64_t value) {
        uint64_t scaled = 0;
        if (!__builtin_mul_overflow(value, kFields[column - kFirst].scale, &scaled)) {
          rows.SetU64(column, scaled);
        }
      };
      rows.SetCode(kKey, path_code_);
      for (size_t i = 0; i < files_.size(); i++) {
        if (i == 0) {
          Parse(files_[0], first, set);
        } else {
          Read(files_[i], set);
        }
      }
      rows.EndRow();
    }
    rows.EndTick();
  }

  // The kernel's name of a block device, or its number where that cannot be told.
  [[nodiscard]] std::string DeviceName(const CgroupIo& io) const {
    std::string number = std::to_string(io.major) + ":" + std::to_string(io.minor);
    char target[PATH_MAX];
    const ssize_t length =
        readlink((request_.root + "/sys/dev/block/" + number).c_str(), target, sizeof(target));
    if (length <= 0) return number;
    const std::string_view path(target, static_cast<size_t>(length));
    return std::string(path.substr(path.rfind('/') + 1));
  }

  int32_t DeviceCode(const CgroupIo& io, TableWriter& rows) {
    for (const Device& device : devices_) {
      if (device.major == io.major && device.minor == io.minor) return device.code;
    }
    if (devices_.size() >= kMostDevices) return -1;
    const int32_t code = rows.names(kKey).Code(DeviceName(io));
    devices_.push_back({io.major, io.minor, code});
    return code;
  }

  void SampleIo(int64_t tick_ns, TableWriter& rows) {
    std::string_view text;
    if (!has_io_ || !io_.Read(&text)) return;
    if (!rows.BeginTick(tick_ns, static_cast<uint32_t>(std::max<size_t>(devices_.size(), 1)))) {
      return;
    }
    LineScanner lines(text);
    std::string_view line;
    CgroupIo io;
    while (lines.Next(&line)) {
      if (!ParseCgroupIoLine(line, &io)) continue;
      const int32_t code = DeviceCode(io, rows);
      if (code < 0 || !rows.BeginRow(tick_ns)) continue;
      rows.SetCode(kKey, code);
      const uint64_t values[] = {
          io.read_bytes, io.written_bytes, io.reads, io.writes, io.discarded_bytes, io.discards};
      for (uint32_t i = 0; i < std::size(values); i++) {
        if (values[i] != kNoIo) rows.SetU64(kFirst + i, values[i]);
      }
      rows.EndRow();
    }
    rows.EndTick();
  }

  void SamplePressure(int64_t tick_ns, TableWriter& rows) {
    constexpr uint32_t kColumnsOfKind = 4;
    if (pressure_.empty()) return;
    if (!rows.BeginTick(tick_ns, static_cast<uint32_t>(pressure_.size()))) return;
    for (PressureFile& file : pressure_) {
      if (file.code < 0) file.code = rows.names(kKey).Code(file.resource);
      std::string_view text;
      if (!file.file.Read(&text) || !rows.BeginRow(tick_ns)) continue;
      rows.SetCode(kKey, file.code);
      LineScanner lines(text);
      std::string_view line;
      PressureLine pressure;
      while (lines.Next(&line)) {
        if (!ParsePressureLine(line, &pressure)) continue;
        const uint32_t first = kFirst + (pressure.is_full ? kColumnsOfKind : 0);
        rows.SetF64(first, pressure.avg10_ratio);
        rows.SetF64(first + 1, pressure.avg60_ratio);
        rows.SetF64(first + 2, pressure.avg300_ratio);
        uint64_t ns = 0;
        if (!__builtin_mul_overflow(pressure.total_us, kNsPerUs, &ns)) rows.SetU64(first + 3, ns);
      }
      rows.EndRow();
    }
    rows.EndTick();
  }

  void SampleHugetlb(int64_t tick_ns, TableWriter& rows) {
    if (hugetlb_.empty()) return;
    if (!rows.BeginTick(tick_ns, static_cast<uint32_t>(hugetlb_.size()))) return;
    for (HugetlbFiles& files : hugetlb_) {
      if (files.code < 0) files.code = rows.names(kKey).Code(files.size);
      std::string_view text;
      uint64_t value = 0;
      if (!files.current.Read(&text) || !rows.BeginRow(tick_ns)) continue;
      rows.SetCode(kKey, files.code);
      if (ParseNumberFile(text, &value)) rows.SetU64(kFirst, value);
      if (files.reserved.Read(&text) && ParseNumberFile(text, &value)) {
        rows.SetU64(kFirst + 1, value);
      }
      LineScanner lines(files.events.Read(&text) ? text : std::string_view());
      std::string_view line;
      while (lines.Next(&line)) {
        WordScanner words(line);
        if (words.Word() == "max" && words.U64(&value)) rows.SetU64(kFirst + 2, value);
      }
      rows.EndRow();
    }
    rows.EndTick();
  }

  SourceRequest request_;
  Place place_;
  StateSink& states_;
  std::vector<TableSpec> tables_;
  std::vector<MainFile> files_;
  PreadFile io_;
  bool has_io_ = false;
  std::vector<Device> devices_;
  std::vector<PressureFile> pressure_;
  std::vector<HugetlbFiles> hugetlb_;
  Availability gone_;
  int gone_error_ = 0;
  int32_t path_code_ = -1;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeCgroupSource(const SourceRequest& request, StateSink& states) {
  Result<Place> place = FindPlace(request);
  if (!place.ok()) return place.status;
  return std::unique_ptr<Source>(
      std::make_unique<CgroupSource>(request, std::move(place.value), states));
}

}  // namespace warpgauge
