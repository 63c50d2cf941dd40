// The source `gpu` over the fake NVML: schemes, sentinels, budget, faults, recovery.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "fake_driver.h"
#include "gpu/nvml/gpu_source.h"
#include "gpu/nvml/mig_intent.h"
#include "row_recorder.h"
#include "sanitized.h"

// What belongs to a driver that was lost or hangs is left behind on purpose: freeing it would be a
// call into it.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:nvmlGpmSampleAlloc\nleak:nvmlEventSetCreate\n";
}

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
// A sanitizer makes the simulated calls so dear that each 10 ms they take all the time there is.
constexpr int64_t kIntervalNs = (kSanitized ? 40 : 10) * kMs;

void SleepMs(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

class States : public StateSink {
 public:
  void Report(StateChange change) override {
    const std::unique_lock<std::mutex> lock(mutex_);
    changes_.push_back(std::move(change));
  }
  [[nodiscard]] std::vector<StateChange> All() const {
    const std::unique_lock<std::mutex> lock(mutex_);
    return changes_;
  }
  [[nodiscard]] bool Has(const std::string& state,
                         const std::string& reason,
                         const std::string& field = "*",
                         const std::string& key = "*") const {
    for (const StateChange& change : All()) {
      if (change.state == state && change.reason == reason &&
          (field == "*" || change.field == field) && (key == "*" || change.key == key)) {
        return true;
      }
    }
    return false;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<StateChange> changes_;
};

std::string Library(const std::string& scheme = "") {
  std::string path = FakeDriver::Nvml();
  if (!scheme.empty()) path.insert(path.rfind('/'), "/nvml-" + scheme);
  return path;
}

using Options = std::map<std::string, std::string>;

// A running gpu source with a recorder per table.
class Running {
 public:
  explicit Running(Options options = {},
                   int64_t interval_ns = 10 * kMs,
                   int64_t duration_ns = 0,
                   const std::string& library = Library(),
                   const std::string& root = "") {
    SourceRequest request;
    request.name = request.instance = "gpu";
    request.root = root;
    request.interval_ns = interval_ns;
    request.options = std::move(options);
    request.options["library"] = library;
    // The fake logs every call to a file, which costs more than the call: no budget unless asked.
    request.options.try_emplace("driverShare", "1");
    Result<std::unique_ptr<Source>> opened = OpenGpuSource(request, states);
    status = opened.status;
    if (!opened.ok()) return;
    source = std::move(opened.value);
    for (const TableSpec& spec : source->tables()) {
      recorders.push_back(std::make_unique<RowRecorder>(spec));
      writers.push_back(&recorders.back()->writer());
    }
    start_ns = MonotonicNs() + 5 * kMs;
    REQUIRE(source->Start(writers, start_ns, duration_ns == 0 ? 0 : start_ns + duration_ns).ok());
  }
  // Ends the writing: only then may the rows be read here.
  void Stop() {
    const int64_t begin_ns = MonotonicNs();
    source->Stop();
    CHECK(MonotonicNs() - begin_ns < 500 * kMs);
  }
  RowRecorder& Table(const std::string& suffix) {
    for (size_t i = 0; i < recorders.size(); i++) {
      if (source->tables()[i].suffix == suffix) return *recorders[i];
    }
    REQUIRE_MESSAGE(false, suffix);
    return *recorders[0];
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  [[nodiscard]] Source::Ticks Ticks(const std::string& suffix) const {
    for (size_t i = 0; i < recorders.size(); i++) {
      if (source->tables()[i].suffix == suffix) return source->ticks()[i];
    }
    return {};
  }
  States states;
  Status status;
  std::unique_ptr<Source> source;
  std::vector<std::unique_ptr<RowRecorder>> recorders;
  std::vector<TableWriter*> writers;
  int64_t start_ns = 0;
};

const ColumnSpec& Column(RowRecorder& rows, const std::string& name) {
  for (const ColumnSpec& column : rows.table().columns) {
    if (column.name == name) return column;
  }
  REQUIRE_MESSAGE(false, name);
  return rows.table().columns[0];
}

TEST_CASE("an H200 in all tables, and every deadline is a tick or missed") {
  const FakeDriver fake(
      "nvml.utilization_gpu = 95\nnvml.power = 686000\nnvml.temperature = 56\n"
      "nvml.processes = 10:C:1136MiB\nnvml.sm_mhz = 1500\n");
  // Processes more often than once, because a dear call may have to wait for the next look.
  Running run(Options{{"process", "100000000"}}, kIntervalNs, 400 * kMs);
  REQUIRE_MESSAGE(run.status.ok(), run.status.message());
  SleepMs(500);
  run.Stop();
  RowRecorder& rows = run.Table("");
  REQUIRE(rows.size() > 5);
  CHECK(rows.table().simulated);
  CHECK(rows.Text(0, "gpu")->substr(0, 4) == "GPU-");
  CHECK(rows.F64(0, "gpu_utilization_ratio") == doctest::Approx(0.95));
  CHECK(rows.F64(0, "clock_sm_hertz") == doctest::Approx(1.5e9));
  CHECK(rows.I32(0, "temperature_celsius") == 56);
  CHECK(rows.U64(0, "memory_total_bytes") > 140'000'000'000);
  CHECK(rows.U8(0, "pstate") == 0);
  CHECK((*rows.U64(0, "changed") & 1) == 1);
  CHECK((*rows.U64(1, "changed") & 1) == 0);
  CHECK((*rows.U64(1, "read") & 1) == 1);
  const Source::Ticks ticks = run.Ticks("");
  CHECK(ticks.ticks + ticks.missed == static_cast<uint64_t>(400 * kMs / kIntervalNs));
  CHECK(rows.size() == ticks.ticks);
  CHECK(run.Table("slow").size() == 1);
  CHECK(run.Table("slow").F64(0, "energy_joules").has_value());
  for (const StateChange& change : run.states.All()) CHECK(change.state != "lost");
  if (kSanitized && run.Table("process").size() == 0) {
    // The simulated calls of the fast table took the whole budget, and this one waits for it.
    std::cout
        << "nvml_source_test, processes: skipped: a sanitizer makes the other calls too dear\n";
    return;
  }
  REQUIRE(run.Table("process").size() >= 1);
  CHECK(run.Table("process").U32(0, "pid") == 10);
  CHECK(run.Table("process").U64(0, "memory_bytes") == uint64_t{1136} << 20);
  CHECK(run.Table("process").Bool(0, "compute") == true);
}

TEST_CASE("sentinels and impossible percentages never come out") {
  const FakeDriver fake(
      "nvml.utilization_gpu = 808334905\nnvml.utilization_memory = 101\n"
      "nvml.memory_used = -1\nnvml.power_instant = 0x7ffffff0\nnvml.encoder = 4294967295\n");
  Running run(Options{{"tables", "main"}});
  REQUIRE(run.status.ok());
  SleepMs(60);
  run.Stop();
  RowRecorder& rows = run.Table("");
  REQUIRE(rows.size() > 0);
  for (const char* name : {"gpu_utilization_ratio", "memory_utilization_ratio"}) {
    CAPTURE(name);
    CHECK(rows.IsNull(0, name));
    CHECK(Column(rows, name).reason == "out_of_range");
  }
  for (const ColumnSpec& column : rows.table().columns) {
    if (column.type != ColumnType::kFloat64 || column.unit != "1") continue;
    const std::optional<double> ratio = rows.F64(0, column.name);
    if (ratio) CHECK(*ratio <= 1.0);
  }
}

TEST_CASE("each driver scheme reads right") {
  for (const char* scheme :
       {"535-early", "12.2", "12.4", "12.5", "12.8", "13.0", "580.159", "", "13.2"}) {
    CAPTURE(scheme);
    const FakeDriver fake("nvml.processes = 10:C:1MiB, 11:C:2MiB\n");
    // What the budget allows on a slow machine is another test's matter.
    const Options options = {{"driverShare", "1"}, {"process", "200000000"}};
    Running run(options, kIntervalNs, 0, Library(scheme));
    REQUIRE_MESSAGE(run.status.ok(), run.status.message());
    // Under a sanitizer probing may outlast the first tick of the tables that have one each second.
    SleepMs(kSanitized ? 1500 : 700);
    run.Stop();
    RowRecorder& processes = run.Table("process");
    REQUIRE(processes.size() >= 2);
    CHECK(processes.U32(0, "pid") == 10);
    CHECK(processes.U64(0, "memory_bytes") == uint64_t{1} << 20);
    CHECK(processes.U32(1, "pid") == 11);
    CHECK(processes.U64(1, "memory_bytes") == uint64_t{2} << 20);
    RowRecorder& rows = run.Table("");
    CHECK(rows.I32(0, "temperature_celsius").has_value());
    CHECK(rows.U64(0, "memory_reserved_bytes").has_value());
    CHECK(run.Table("slow").U64(0, "throttle_power_ns").has_value());
    RowRecorder& pcie = run.Table("pcie");
    REQUIRE(pcie.size() > 0);
    const std::string name = scheme;
    const std::string source = *pcie.Text(0, "source");
    if (name == "13.2") {
      CHECK(source == "gpm");
    } else if (name == "535-early" || name == "12.2" || name == "12.4") {
      CHECK(source == "throughput");
      CHECK(pcie.IsNull(0, "tx_bytes"));
    } else {
      CHECK(source.substr(0, 6) == "fields");
      CHECK(pcie.U64(0, "tx_bytes").has_value());
    }
  }
}

TEST_CASE("a missing symbol blanks only its own columns") {
  // The oldest scheme lacks functions; the newest has them: what both have must not differ.
  const FakeDriver fake("nvml.error_free = 1\n");
  Running old(Options{{"tables", "main+slow"}}, 10 * kMs, 0, Library("12.4"));
  REQUIRE(old.status.ok());
  SleepMs(100);
  old.Stop();
  RowRecorder& slow = old.Table("slow");
  REQUIRE(slow.size() > 0);
  CHECK(slow.IsNull(0, "margin_celsius"));
  CHECK(Column(slow, "margin_celsius").reason == "function_not_found");
  CHECK(old.states.Has("unavailable", "function_not_found", "margin_celsius"));
  CHECK(slow.F64(0, "energy_joules").has_value());
  CHECK(old.Table("").F64(0, "power_watts").has_value());
}

TEST_CASE("what a device refuses is null with the fixed reason") {
  const FakeDriver fake(
      "error.nvmlDeviceGetUtilizationRates = 4\nerror.nvmlDeviceGetTemperatureV = 3\n"
      "error.nvmlDeviceGetTemperature = 3\nnvml.power_instant = !27\n");
  Running run(Options{{"tables", "main"}});
  REQUIRE(run.status.ok());
  SleepMs(60);
  run.Stop();
  RowRecorder& rows = run.Table("");
  REQUIRE(rows.size() > 0);
  CHECK(Column(rows, "gpu_utilization_ratio").reason == "no_permission");
  CHECK(Column(rows, "temperature_celsius").reason == "not_supported");
  CHECK(Column(rows, "power_watts").reason == "not_ready");
  CHECK(rows.IsNull(0, "temperature_celsius"));
  CHECK(rows.F64(0, "clock_sm_hertz").has_value());
}

TEST_CASE("a driver that updates each 100 ms changes in one row of twenty at 5 ms") {
  const FakeDriver fake("nvml.power_average = ramp(100000, 50000) every 100\n");
  Running run(Options{{"tables", "main"}}, 5 * kMs, 2000 * kMs);
  REQUIRE(run.status.ok());
  SleepMs(2100);
  run.Stop();
  RowRecorder& rows = run.Table("");
  size_t column = 0, changed = 0, read = 0;
  while (rows.table().columns[column].name != "power_average_watts") column++;
  const uint64_t bit = uint64_t{1} << (column - 5);
  for (size_t i = 1; i < rows.size(); i++) {
    changed += (*rows.U64(i, "changed") & bit) != 0 ? 1 : 0;
    read += (*rows.U64(i, "read") & bit) != 0 ? 1 : 0;
  }
  CHECK(changed >= 17);
  CHECK(changed <= 21);
  CHECK(read == rows.size() - 1);
}

TEST_CASE("a hung call of one GPU does not stop the other, nor the stop") {
  const FakeDriver fake("devices = 2\nnvml.1.hang_ms.nvmlDeviceGetPerformanceState@400 = 4000\n");
  Running run(Options{{"tables", "main"}}, 10 * kMs);
  REQUIRE(run.status.ok());
  SleepMs(2600);
  run.Stop();
  CHECK(run.states.Has("hung", "hung"));
  RowRecorder& rows = run.Table("");
  const std::string first = *rows.Text(0, "gpu");
  int64_t last_first_ns = 0, last_second_ns = 0;
  for (size_t i = 0; i < rows.size(); i++) {
    (rows.Text(i, "gpu") == first ? last_first_ns : last_second_ns) = *rows.Time(i);
  }
  CHECK(last_first_ns - run.start_ns > 2300 * kMs);
  CHECK(last_second_ns - run.start_ns < 1000 * kMs);
  run.source.reset();
  SleepMs(2500);  // the abandoned thread comes back and finds what it owns
}

TEST_CASE("a lost GPU is a state, the rest flows, and it comes back") {
  for (const int code : {15, 16, 17, 999}) {
    CAPTURE(code);
    const FakeDriver fake("devices = 2\nnvml.1.fault@300 = " + std::to_string(code) +
                          "\nnvml.1.fault@800 = 0\n");
    Running run(Options{{"tables", "main"}}, 10 * kMs);
    REQUIRE(run.status.ok());
    SleepMs(2600);
    run.Stop();
    RowRecorder& rows = run.Table("");
    const std::string first = *rows.Text(0, "gpu");
    size_t of_first = 0, of_second = 0;
    int64_t last_second_ns = 0;
    for (size_t i = 0; i < rows.size(); i++) {
      if (rows.Text(i, "gpu") == first) {
        of_first++;
      } else {
        of_second++;
        last_second_ns = *rows.Time(i);
      }
    }
    const char* reason = code == 15   ? "lost"
                         : code == 16 ? "reset_required"
                         : code == 17 ? "blocked_by_system"
                                      : "lost";
    CHECK(run.states.Has("lost", reason));
    CHECK(run.states.Has("ok", ""));
    CHECK(of_second < of_first);
    CHECK(last_second_ns - run.start_ns > 2300 * kMs);
  }
}

TEST_CASE("the driver goes and comes back: everything is initialized anew") {
  const FakeDriver fake("nvml.gone@300 = 1\nnvml.gone@900 = 0\n");
  Running run(Options{{"tables", "main+event"}}, 10 * kMs);
  REQUIRE(run.status.ok());
  SleepMs(4500);
  run.Stop();
  RowRecorder& rows = run.Table("");
  REQUIRE(rows.size() > 0);
  CHECK(run.states.Has("lost", "lost"));
  CHECK(run.states.Has("ok", ""));
  CHECK(*rows.Time(rows.size() - 1) - run.start_ns > 4200 * kMs);
  CHECK(fake.Count("nvmlInit_v2") >= 2);
}

TEST_CASE("a sleeping GPU gets no call unless it may be woken") {
  char root[] = "/tmp/warpgauge-asleep-XXXXXX";
  REQUIRE(mkdtemp(root) != nullptr);
  const std::string device = std::string(root) + "/sys/bus/pci/devices/0000:83:00.0";
  REQUIRE(std::system(("mkdir -p " + device + "/power").c_str()) == 0);
  std::ofstream(device + "/vendor") << "0x10de\n";
  std::ofstream(device + "/class") << "0x030200\n";
  std::ofstream(device + "/power/runtime_status") << "suspended\n";
  {
    const FakeDriver fake("");
    Running run(Options{{"tables", "main"}}, 10 * kMs, 0, Library(), root);
    REQUIRE_MESSAGE(run.status.ok(), run.status.message());
    SleepMs(300);
    for (const std::string& call : fake.Calls()) {
      CHECK_MESSAGE(call.find("nvmlDevice") == std::string::npos, call);
    }
    CHECK(run.states.Has("unavailable", "asleep"));
    // Somebody else wakes it.
    std::ofstream(device + "/power/runtime_status") << "active\n";
    SleepMs(1800);
    run.Stop();
    CHECK(run.Table("").size() > 0);
  }
  {
    std::ofstream(device + "/power/runtime_status") << "suspended\n";
    const FakeDriver fake("");
    Running run(Options{{"tables", "main"}, {"wake", "true"}}, 10 * kMs, 0, Library(), root);
    REQUIRE(run.status.ok());
    SleepMs(200);
    run.Stop();
    CHECK(run.Table("").size() > 0);
  }
  REQUIRE(std::system((std::string("rm -rf ") + root).c_str()) == 0);
}

TEST_CASE("MIG: rows per instance, a changed set never mixes") {
  const FakeDriver fake(
      "nvml.0.mig = 2:0:3g.71gb, 9:0:1g.18gb\n"
      "nvml.0.mig@1500 = 2:0:3g.71gb~1, 9:0:1g.18gb\n"
      "nvml.0.events = 1500:0x100:0\n"
      "nvml.0.gi.2.memory_total = 74893492224\n");
  Running run(Options{{"gpm", "200000000"}}, 20 * kMs);
  REQUIRE(run.status.ok());
  SleepMs(4000);
  run.Stop();
  RowRecorder& rows = run.Table("");
  std::map<std::string, size_t> counts;
  for (size_t i = 0; i < rows.size(); i++) counts[*rows.Text(i, "gpu")]++;
  CHECK(counts.size() == 4);  // the GPU, two instances, and the one that was made again
  bool found = false;
  for (size_t i = 0; i < rows.size(); i++) {
    if (rows.U64(i, "memory_total_bytes") != 74893492224) continue;
    found = true;
    CHECK(rows.Text(i, "gpu")->substr(0, 4) == "MIG-");
    CHECK(rows.U32(i, "gpu_instance") == 2);
    CHECK(rows.Text(i, "parent")->substr(0, 4) == "GPU-");
    CHECK(rows.IsNull(i, "temperature_celsius"));
  }
  CHECK(found);
  CHECK(run.states.Has("gone", "mig_reconfigured"));
  RowRecorder& gpm = run.Table("gpm");
  CHECK(gpm.size() > 4);
  for (size_t i = 0; i < gpm.size(); i++) {
    CHECK(*gpm.U64(i, "window_ns") >= 100'000'000);
    const std::optional<double> sm = gpm.F64(i, "sm_utilization_ratio");
    if (sm) CHECK((*sm >= 0 && *sm <= 1));
  }
  CHECK(run.Table("event").RowWhere("event", "mig_config").has_value());
}

TEST_CASE("one thread at a time is inside GPM, though two tables need it") {
  // The fake aborts when a second thread enters; 5 ms inside makes that sure to happen without the
  // gate.
  const FakeDriver fake("latency_us.nvmlGpmSampleGet = 5000\n");
  Running run(Options{{"gpm", "100000000"}}, 20 * kMs, 0, Library("580.159"));
  REQUIRE(run.status.ok());
  SleepMs(3000);
  run.Stop();
  CHECK(run.Table("gpm").size() > 5);
  CHECK(run.Table("pcie").size() > 5);
}

TEST_CASE("events are counted per GPU, kind and code") {
  const FakeDriver fake("nvml.0.events = 300:0x8:79, 350:0x8:79, 400:0x8:31, 450:0x2:0\n");
  Running run(Options{{"tables", "event"}}, 10 * kMs);
  REQUIRE(run.status.ok());
  SleepMs(900);
  run.Stop();
  RowRecorder& events = run.Table("event");
  REQUIRE(events.size() == 4);
  CHECK(events.Text(0, "event") == "xid");
  CHECK(events.U64(0, "code") == 79);
  CHECK(events.U64(1, "count") == 2);
  CHECK(events.U64(2, "code") == 31);
  CHECK(events.U64(2, "count") == 1);
  CHECK(events.Text(3, "event") == "ecc_double_bit");
}

TEST_CASE("sample buffers land on our clock from either of the driver's") {
  for (const char* clock : {"epoch", "boottime"}) {
    CAPTURE(clock);
    const FakeDriver fake(std::string("nvml.sample_clock = ") + clock + "\n");
    Running run(Options{{"tables", "samples"}, {"samples", "200000000"}}, 10 * kMs);
    REQUIRE(run.status.ok());
    SleepMs(900);
    const int64_t end_ns = MonotonicNs();
    run.Stop();
    RowRecorder& samples = run.Table("samples");
    REQUIRE(samples.size() > 10);
    for (size_t i = 0; i < samples.size(); i++) {
      CHECK(*samples.Time(i) >= run.start_ns);
      CHECK(*samples.Time(i) <= end_ns + 20 * kMs);
    }
  }
}

TEST_CASE("PCIe bytes: exact when asked, never silently wrong otherwise") {
  // 20 GB/s: a 32-bit counter turns every 215 ms.
  const std::string script = "nvml.pcie_rx_bytes = counter(4000000000, 20000000000)\n";
  struct Case {
    const char* scheme;
    const char* pcie;
    const char* source;
  };
  for (const Case& one : {Case{"580.159", "exact", "fields"},
                          Case{"580.159", "auto", "fields"},
                          Case{"13.2", "auto", "gpm"}}) {
    CAPTURE(one.scheme);
    CAPTURE(one.pcie);
    const FakeDriver fake(script);
    Running run(Options{{"tables", "pcie"}, {"pcie", one.pcie}}, 100 * kMs, 0, Library(one.scheme));
    REQUIRE(run.status.ok());
    SleepMs(2500);
    run.Stop();
    RowRecorder& rows = run.Table("pcie");
    REQUIRE(rows.size() >= 3);
    CHECK(rows.Text(0, "source")->rfind(one.source, 0) == 0);
    for (size_t i = 1; i < rows.size(); i++) {
      if (*rows.Bool(i, "ambiguous")) continue;
      const double bytes =
          static_cast<double>(*rows.U64(i, "rx_bytes") - *rows.U64(i - 1, "rx_bytes"));
      const double seconds = static_cast<double>(*rows.Time(i) - *rows.Time(i - 1)) * 1e-9;
      // The reading's time is known to the length of the call.
      CHECK(bytes / seconds == doctest::Approx(20e9).epsilon(0.05));
    }
    CAPTURE(*rows.Text(0, "source"));
    size_t ambiguous = 0;
    for (size_t i = 1; i < rows.size(); i++) ambiguous += *rows.Bool(i, "ambiguous") ? 1 : 0;
    CHECK(ambiguous * 10 <= rows.size());
    if (std::string(one.pcie) == "exact") CHECK(run.states.Has("ok", "outside_budget"));
  }
}

// What the fake takes for a call under `nvml.latencies = h200`. Not what it took: a machine that
// runs tests may hold a call up for milliseconds, which says nothing of the schedule.
uint64_t PlannedCostNs(const std::string& call) {
  static constexpr std::pair<const char*, uint64_t> kDear[] = {
      {"nvmlDeviceGetTotalEnergyConsumption", 2'472'000},
      {"nvmlDeviceGetPowerManagementLimit ", 84'000},
      {"nvmlDeviceGetBAR1MemoryInfo", 80'000},
      {"nvmlDeviceGetFieldValues 193-196", 138'000},
      {"nvmlDeviceGetMarginTemperature", 799'000},
      {"nvmlDeviceGetFieldValues 75", 565'000},
      {"nvmlDeviceGetCurrPcieLinkWidth", 23'000},
      {"nvmlDeviceGetFieldValues 94, 95, 169, 173-183", 2'078'000},
      {"PCIe bytes", 472'000},
      {"process lists", 2'468'000},
      {"nvmlGpmSampleGet", 206'000},
      {"nvmlDeviceGetSamples power", 282'000},
      {"nvmlDeviceGetSamples utilization", 4'236'000}};
  for (const auto& [name, cost_ns] : kDear) {
    if (call.rfind(name, 0) == 0) return cost_ns;
  }
  return 5'000;
}

TEST_CASE("the time inside the driver stays within the budget, the dearest calls give way") {
  const FakeDriver fake("nvml.latencies = h200\nnvml.refresh = h200\n");
  Running run(Options{{"driverShare", "0.005"}}, 100 * kMs, 0);
  REQUIRE(run.status.ok());
  const std::vector<Source::Cost> before = run.source->costs();
  SleepMs(4000);
  run.Stop();
  uint64_t spent_ns = 0;
  for (const Source::Cost& cost : run.source->costs()) {
    for (const Source::Cost& probed : before) {
      if (probed.name == cost.name) {
        spent_ns += (cost.calls - probed.calls) * PlannedCostNs(cost.name);
      }
    }
  }
  // 4 s hold 17 ms of credit, 2.5 ms that were saved, and the last call.
  CHECK(static_cast<double>(spent_ns) < 0.85 * 0.005 * 4e9 + 2.5e6 + 4.5e6);
  CHECK(run.states.Has("degraded", "too_slow"));
  const RowRecorder& slow = run.Table("slow");
  bool said = false;
  for (const ColumnSpec& column : slow.table().columns) {
    if (column.name == "energy_joules")
      said = column.source.find("read every") != std::string::npos;
  }
  CHECK(said);
}

TEST_CASE("calls that the budget puts off are made soon, not at a next tick that is an hour away") {
  const FakeDriver fake("nvml.latencies = h200\n");
  Running run(Options{{"tables", "process+gpm+samples"}, {"driverShare", "0.05"}}, 3'600'000 * kMs);
  REQUIRE(run.status.ok());
  const auto made = [&](const std::string& call) {
    uint64_t calls = 0;
    for (const Source::Cost& cost : run.source->costs()) {
      if (cost.name.rfind(call, 0) == 0) calls += cost.calls;
    }
    return calls;
  };
  // The first call takes all the credit there is: each of the others waits for more.
  const std::string dear[] = {
      "process lists", "nvmlDeviceGetSamples power", "nvmlDeviceGetSamples utilization"};
  uint64_t probed[3];
  std::transform(std::begin(dear), std::end(dear), probed, made);
  const auto all_were_made = [&] {
    return std::equal(std::begin(dear), std::end(dear), probed, [&](auto& call, uint64_t before) {
      return made(call) > before;
    });
  };
  for (int i = 0; i < 100 && !all_were_made(); i++) SleepMs(50);
  CHECK(all_were_made());
  run.Stop();
  CHECK(run.Table("process").size() == 0);
  CHECK(run.Ticks("process").ticks == 1);
}

TEST_CASE("in a pause no thread is busy, though a call is due that the fast thread leaves alone") {
  const FakeDriver fake("latency_us.nvmlDeviceGetUtilizationRates = 500\n");
  Running run(Options{{"tables", "main"}}, 10 * kMs);
  REQUIRE(run.status.ok());
  SleepMs(200);
  run.source->SetPaused(true);
  SleepMs(50);
  const int64_t before_ns = run.source->cpu_ns();
  SleepMs(400);
  CHECK(run.source->cpu_ns() - before_ns < 100 * kMs);  // a thread that spins takes 400
  run.Stop();
}

TEST_CASE("bad options are told in one sentence, a short GPM window among them") {
  const FakeDriver fake("");
  for (const Options& bad : {Options{{"gpm", "50000000"}},
                             Options{{"pcie", "often"}},
                             Options{{"driverShare", "2"}},
                             Options{{"tables", "power"}}}) {
    Running run(bad);
    CHECK(std::string(run.status.code()) == "ERR_INVALID_ARGUMENT");
  }
  Running run(Options{{"devices", "GPU-none"}});
  CHECK(std::string(run.status.code()) == "ERR_NO_DEVICE");
  const FakeDriver none("devices = 0\n");
  Running empty;
  CHECK(std::string(empty.status.code()) == "ERR_NO_DEVICE");
}

TEST_CASE("two samplers share one session, and the last one ends it") {
  const FakeDriver fake("");
  {
    Running one(Options{{"tables", "main"}}, 10 * kMs);
    Running two(Options{{"tables", "main"}}, 20 * kMs);
    REQUIRE(one.status.ok());
    REQUIRE(two.status.ok());
    SleepMs(200);
    one.Stop();
    SleepMs(100);
    two.Stop();
    CHECK(two.Table("").size() > 5);
  }
  SleepMs(300);
  CHECK(fake.Count("nvmlInit_v2") == 1);
  CHECK(fake.Count("nvmlShutdown") == 1);
}

TEST_CASE("an announced change of MIG makes the driver be let go of within a second, and back") {
  char root[] = "/tmp/warpgauge-yield-XXXXXX";
  REQUIRE(mkdtemp(root) != nullptr);
  const std::string folder = std::string(root) + "/run/warpgauge";
  REQUIRE(std::system(("mkdir -p " + folder).c_str()) == 0);
  const std::string path = folder + "/gpu-GPU-53494d55-4c41-5445-4400-000000000000.lock";
  const auto announce = [&](const std::string& intent, int64_t ticks) {
    std::ofstream(path) << "{\"pid\":" << getpid() << ",\"pidStart\":" << ticks << R"(,"intent":")"
                        << intent << R"(","since":"2026-01-01"})"
                        << "\n";
  };
  const FakeDriver fake("nvml.0.mig = 2:0:3g.71gb\n");
  Running run(Options{{"gpm", "200000000"}}, 10 * kMs, 0, Library(), root);
  REQUIRE(run.status.ok());
  SleepMs(300);
  // Neither another kind of change nor one of a process that is gone makes anybody let go.
  announce("power: cap 400 W", ProcessStartTicks(getpid()));
  SleepMs(300);
  announce("mig: create 1 instances", 1);
  SleepMs(300);
  CHECK_FALSE(run.states.Has("unavailable", "mig_change"));
  const auto shutdowns = [&] {
    const std::vector<std::string> calls = fake.Calls();
    return std::count(calls.begin(), calls.end(), "nvmlShutdown");
  };
  CHECK(shutdowns() == 0);
  announce("mig: create 1 instances", ProcessStartTicks(getpid()));
  SleepMs(1000);
  CHECK(run.states.Has("unavailable", "mig_change"));
  CHECK(shutdowns() == 1);
  const size_t before = fake.Calls().size();
  SleepMs(500);
  CHECK(fake.Calls().size() == before);  // nothing is asked meanwhile
  const int64_t back_ns = MonotonicNs();
  std::ofstream(path) << std::string(511, ' ') << "\n";
  SleepMs(2500);
  run.Stop();
  CHECK(run.states.Has("ok", ""));
  RowRecorder& rows = run.Table("");
  REQUIRE(rows.size() > 0);
  CHECK(rows.Time(rows.size() - 1) > back_ns);
  REQUIRE(std::system((std::string("rm -rf ") + root).c_str()) == 0);
}

}  // namespace
}  // namespace warpgauge
