// Every function of NVML that a driver may lack, over every scheme of drivers: what is null without
// it, and that nothing else is.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/dynamic_library.h"
#include "fake_driver.h"
#include "gpu/nvml/device.h"
#include "gpu/nvml/gpu_source.h"
#include "gpu/nvml/metrics.h"

namespace warpgauge {
namespace {

// Nothing in it moves: two readings differ only by what a removed function did.
constexpr const char* kScript =
    "devices = 2\nnvml.fans = 1\nnvml.energy = 5000000\nnvml.power = 300000\n";

constexpr const char* kSchemes[] = {
    "535-early", "12.2", "12.4", "12.5", "12.8", "13.0", "580.159", "", "13.2"};

struct Symbol {
  std::string name;
  // "column" or "table.column" or "table.*"; empty: nothing is lost.
  std::vector<std::string> blanks;
  // Any of these does the same.
  std::vector<std::string> instead;
};

// By hand, and not out of the readers' own code. What is absent here blanks nothing.
const std::vector<Symbol>& Losses() {
  static const auto& losses = *new std::vector<Symbol>{
      {"nvmlDeviceGetUtilizationRates", {"gpu_utilization_ratio", "memory_utilization_ratio"}, {}},
      {"nvmlDeviceGetEncoderUtilization", {"encoder_utilization_ratio"}, {}},
      {"nvmlDeviceGetDecoderUtilization", {"decoder_utilization_ratio"}, {}},
      {"nvmlDeviceGetJpgUtilization", {"jpeg_utilization_ratio"}, {}},
      {"nvmlDeviceGetOfaUtilization", {"ofa_utilization_ratio"}, {}},
      {"nvmlDeviceGetMemoryInfo_v2", {"memory_reserved_bytes"}, {}},
      {"nvmlDeviceGetClockInfo",
       {"clock_graphics_hertz", "clock_sm_hertz", "clock_memory_hertz", "clock_video_hertz"},
       {}},
      {"nvmlDeviceGetTemperature", {"temperature_celsius"}, {"nvmlDeviceGetTemperatureV"}},
      {"nvmlDeviceGetTemperatureV", {"temperature_celsius"}, {"nvmlDeviceGetTemperature"}},
      {"nvmlDeviceGetPerformanceState", {"pstate"}, {}},
      {"nvmlDeviceGetCurrentClocksEventReasons",
       {"throttle_reasons"},
       {"nvmlDeviceGetCurrentClocksThrottleReasons"}},
      {"nvmlDeviceGetCurrentClocksThrottleReasons",
       {"throttle_reasons"},
       {"nvmlDeviceGetCurrentClocksEventReasons"}},
      {"nvmlDeviceGetTotalEnergyConsumption", {"slow.energy_joules"}, {"nvmlDeviceGetFieldValues"}},
      {"nvmlDeviceGetPowerManagementLimit", {"slow.power_limit_watts"}, {}},
      {"nvmlDeviceGetEnforcedPowerLimit", {"slow.power_limit_enforced_watts"}, {}},
      {"nvmlDeviceGetPowerManagementDefaultLimit", {"slow.power_limit_default_watts"}, {}},
      {"nvmlDeviceGetPowerManagementLimitConstraints",
       {"slow.power_limit_min_watts", "slow.power_limit_max_watts"},
       {}},
      {"nvmlDeviceGetBAR1MemoryInfo",
       {"slow.bar1_total_bytes", "slow.bar1_used_bytes", "slow.bar1_free_bytes"},
       {}},
      {"nvmlDeviceGetMarginTemperature", {"slow.margin_celsius"}, {}},
      {"nvmlDeviceGetCurrPcieLinkGeneration", {"slow.pcie_generation"}, {}},
      {"nvmlDeviceGetMaxPcieLinkGeneration", {"slow.pcie_generation_max"}, {}},
      {"nvmlDeviceGetCurrPcieLinkWidth", {"slow.pcie_width"}, {}},
      {"nvmlDeviceGetMaxPcieLinkWidth", {"slow.pcie_width_max"}, {}},
      {"nvmlDeviceGetFanSpeed_v2", {"slow.fan_speed_ratio"}, {}},
      {"nvmlDeviceGetFieldValues",
       {"power_watts",
        "power_average_watts",
        "slow.memory_temperature_celsius",
        "slow.margin_shutdown_celsius",
        "slow.margin_slowdown_celsius",
        "slow.margin_memory_celsius",
        "slow.margin_gpu_celsius",
        "slow.throttle_power_ns",
        "slow.throttle_sync_boost_ns",
        "slow.throttle_board_limit_ns",
        "slow.throttle_low_utilization_ns",
        "slow.throttle_reliability_ns",
        "slow.throttle_thermal_ns",
        "slow.pcie_replays",
        "slow.pcie_replay_rollovers",
        "slow.pcie_recoveries",
        "slow.pcie_correctable_errors",
        "slow.pcie_naks_received",
        "slow.pcie_receiver_errors",
        "slow.pcie_bad_tlp",
        "slow.pcie_naks_sent",
        "slow.pcie_bad_dllp",
        "slow.pcie_non_fatal_errors",
        "slow.pcie_fatal_errors",
        "slow.pcie_unsupported_requests",
        "slow.pcie_lcrc_errors",
        "slow.pcie_lane_errors",
        "slow.nvlink_data_tx_bytes",
        "slow.nvlink_data_rx_bytes",
        "slow.nvlink_raw_tx_bytes",
        "slow.nvlink_raw_rx_bytes",
        "slow.ecc_single_bit_errors",
        "slow.ecc_double_bit_errors",
        "slow.ecc_single_bit_lifetime_errors",
        "slow.ecc_double_bit_lifetime_errors",
        "slow.remapped_correctable_rows",
        "slow.remapped_uncorrectable_rows",
        "slow.remapped_pending",
        "slow.remapped_failure",
        "slow.recovery_action"},
       {}},
      {"nvmlDeviceGetSamples", {"samples.*"}, {}},
      {"nvmlGpmQueryDeviceSupport", {"gpm.*"}, {}},
      {"nvmlGpmSampleAlloc", {"gpm.*"}, {}},
      {"nvmlGpmSampleFree", {"gpm.*"}, {}},
      {"nvmlGpmSampleGet", {"gpm.*"}, {}},
      {"nvmlGpmMetricsGet", {"gpm.*"}, {}},
  };
  return losses;
}

std::vector<std::string> AllSymbols() {
  std::vector<std::string> names;
#define WARPGAUGE_NAME(name, ...) names.emplace_back(#name);
  WARPGAUGE_NVML_FUNCTIONS(WARPGAUGE_NAME)
#undef WARPGAUGE_NAME
  return names;
}

std::string LibraryOf(const std::string& scheme) {
  std::string path = FakeDriver::Nvml();
  if (!scheme.empty()) path.insert(path.rfind('/'), "/nvml-" + scheme);
  return path;
}

// What is lost without `name` in a library that exports `exported`.
std::vector<std::string> LostWithout(const std::string& name,
                                     const std::set<std::string>& exported) {
  for (const Symbol& loss : Losses()) {
    if (loss.name != name) continue;
    for (const std::string& other : loss.instead) {
      if (exported.contains(other)) return {};
    }
    return loss.blanks;
  }
  return {};
}

bool IsLost(const std::vector<std::string>& lost, const std::string& column) {
  for (const std::string& one : lost) {
    if (one == column) return true;
    const size_t star = one.find('*');
    if (star != std::string::npos && column.compare(0, star, one, 0, star) == 0) return true;
  }
  return false;
}

std::string QualifiedName(const std::string& suffix, const std::string& column) {
  return suffix.empty() ? column : suffix + "." + column;
}

// ---- values: every reader of `gpu` and `gpu.slow` on the functions of a library ----

std::map<std::string, GpuCell> ReadAll(const NvmlTable& table, NvmlDevice device) {
  std::map<std::string, GpuCell> values;
  NvmlScheme scheme(table);
  for (const GpuMetric& metric : GpuMetrics()) {
    if (metric.read == nullptr) continue;
    GpuCell cells[kMaxMetricCells];
    uint32_t dropped = 0;
    static_cast<void>(metric.read({table, scheme, device, dropped}, cells));
    for (size_t i = 0; i < metric.count; i++) {
      const GpuColumn& column = ValueColumns(metric.table)[metric.first + i];
      values[QualifiedName(GpuTableSuffix(metric.table), column.name)] = cells[i];
    }
  }
  return values;
}

TEST_CASE("a removed function leaves every value that does not come from it as it was") {
  const FakeDriver fake(kScript);
  unsetenv("WARPGAUGE_FAKE_LOG");
  size_t removed = 0;
  size_t blanked = 0;
  for (const char* scheme : kSchemes) {
    CAPTURE(scheme);
    const Result<DynamicLibrary> library = DynamicLibrary::Open({LibraryOf(scheme)});
    REQUIRE(library.ok());
    const auto without = [&](const std::string& hidden) {
      return ResolveNvml(
          [&](const char* name) { return hidden == name ? nullptr : library.value.Find(name); },
          "hidden " + hidden);
    };
    const NvmlTable whole = without("");
    REQUIRE(whole.nvmlInit_v2() == kNvmlSuccess);
    const std::vector<NvmlFoundDevice> devices = FindDevices(whole, "", true);
    REQUIRE(devices.size() == 2);
    const std::map<std::string, GpuCell> before = ReadAll(whole, devices[0].handle);
    std::set<std::string> exported;
    for (const std::string& name : AllSymbols()) {
      if (library.value.Find(name.c_str()) != nullptr) exported.insert(name);
    }
    REQUIRE(exported.size() > 60);
    for (const std::string& name : exported) {
      CAPTURE(name);
      removed++;
      const std::vector<std::string> lost = LostWithout(name, exported);
      for (const auto& [column, cell] : ReadAll(without(name), devices[0].handle)) {
        CAPTURE(column);
        const GpuCell& was = before.at(column);
        if (IsLost(lost, column) && was.valid) {
          blanked++;
          CHECK_FALSE(cell.valid);
          CHECK(std::string(cell.reason) == "function_not_found");
          continue;
        }
        // v1 counts the driver's reserve as used, and its column says so.
        if (name == "nvmlDeviceGetMemoryInfo_v2" && column == "memory_used_bytes") continue;
        CHECK(cell.valid == was.valid);
        if (cell.valid) CHECK(cell.u64 == was.u64);
      }
    }
    whole.nvmlShutdown();
  }
  CHECK(removed > 9 * 60);
  CHECK(blanked > 9 * 60);
}

// ---- tables: the whole source on a library in which one exported name is another ----

class LibraryWithout {
 public:
  LibraryWithout(const std::string& scheme, const std::string& symbol) {
    static int count = 0;
    std::ifstream file(LibraryOf(scheme), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (!symbol.empty()) {
      // The first such text is the dynamic symbol's name: .dynstr comes before .rodata.
      const size_t at = bytes.find(std::string(1, '\0') + symbol + '\0');
      exported_ = at != std::string::npos;
      if (exported_) bytes.replace(at + 1, 6, "hidden");
    }
    path_ = "/tmp/warpgauge-without-" + std::to_string(getpid()) + "-" + std::to_string(++count);
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~LibraryWithout() { unlink(path_.c_str()); }
  LibraryWithout(const LibraryWithout&) = delete;
  LibraryWithout& operator=(const LibraryWithout&) = delete;
  [[nodiscard]] bool exported() const { return exported_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool exported_ = true;
};

class NoStates : public StateSink {
  void Report(StateChange /*change*/) override {}
};

// The reason with which each column of each table begins; empty where it has values.
Status ReasonsOf(const std::string& library, std::map<std::string, std::string>* reasons) {
  SourceRequest request;
  request.name = request.instance = "gpu";
  request.interval_ns = 10'000'000;
  request.options = {{"library", library}, {"driverShare", "1"}};
  NoStates states;
  const Result<std::unique_ptr<Source>> source = OpenGpuSource(request, states);
  if (!source.ok()) return source.status;
  for (const TableSpec& table : source.value->tables()) {
    (*reasons)[QualifiedName(table.suffix, "devices")] = std::to_string(table.rows_per_tick);
    for (const ColumnSpec& column : table.columns) {
      if (column.nullable) (*reasons)[QualifiedName(table.suffix, column.name)] = column.reason;
    }
  }
  return Status::Ok();
}

TEST_CASE("a removed function blanks its own tables and columns only") {
  const FakeDriver fake(kScript);
  unsetenv("WARPGAUGE_FAKE_LOG");
  // The oldest and the newest differ most in which functions stand in for one another.
  for (const char* scheme : {"535-early", "13.2"}) {
    CAPTURE(scheme);
    std::map<std::string, std::string> before;
    REQUIRE(ReasonsOf(LibraryWithout(scheme, "").path(), &before).ok());
    REQUIRE(before.size() > 100);
    std::set<std::string> exported;
    const Result<DynamicLibrary> whole = DynamicLibrary::Open({LibraryOf(scheme)});
    for (const std::string& name : AllSymbols()) {
      if (whole.value.Find(name.c_str()) != nullptr) exported.insert(name);
    }
    for (const std::string& name : exported) {
      CAPTURE(name);
      const LibraryWithout library(scheme, name);
      REQUIRE(library.exported());
      std::map<std::string, std::string> after;
      const Status status = ReasonsOf(library.path(), &after);
      if (name == "nvmlInit_v2" || name == "nvmlShutdown") {
        CHECK(std::string(status.code()) == "ERR_SYMBOL_MISSING");
        continue;
      }
      // Devices are then found by address, and the machine of this test has no GPU.
      if (name == "nvmlDeviceGetCount_v2" || name == "nvmlDeviceGetHandleByIndex_v2") {
        CHECK(std::string(status.code()) == "ERR_NO_DEVICE");
        continue;
      }
      REQUIRE_MESSAGE(status.ok(), status.message());
      const std::vector<std::string> lost = LostWithout(name, exported);
      for (const auto& [column, reason] : after) {
        CAPTURE(column);
        const std::string was = before.contains(column) ? before[column] : "";
        // What this scheme did not have before may now lack for the other reason.
        const bool is_lost = IsLost(lost, column) && reason != was;
        CHECK(reason == (is_lost ? "function_not_found" : was));
        if (IsLost(lost, column)) CHECK_FALSE(reason.empty());
      }
    }
  }
}

}  // namespace
}  // namespace warpgauge
