// The source `gpu` over the fake NVML: schemes, sentinels, budget, faults, recovery.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "fake_driver.h"
#include "gpu/nvml/gpu_source.h"
#include "row_recorder.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;

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
  Running run(Options{}, 10 * kMs, 400 * kMs);
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
  CHECK(ticks.ticks + ticks.missed == 40);
  CHECK(rows.size() == ticks.ticks);
  CHECK(run.Table("slow").size() == 1);
  CHECK(run.Table("slow").F64(0, "energy_joules").has_value());
  REQUIRE(run.Table("process").size() == 1);
  CHECK(run.Table("process").U32(0, "pid") == 10);
  CHECK(run.Table("process").U64(0, "memory_bytes") == uint64_t{1136} << 20);
  CHECK(run.Table("process").Bool(0, "compute") == true);
  for (const StateChange& change : run.states.All()) CHECK(change.state != "lost");
}

TEST_CASE("sentinels and impossible percentages never come out") {
  const FakeDriver fake(
      "nvml.utilization_gpu = 808334905\nnvml.utilization_memory = 101\n"
      "nvml.memory_used = -1\nnvml.power = 0x7ffffff0\nnvml.encoder = 4294967295\n");
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
    Running run(Options{}, 10 * kMs, 0, Library(scheme));
    REQUIRE_MESSAGE(run.status.ok(), run.status.message());
    SleepMs(700);
    run.Stop();
    RowRecorder& processes = run.Table("process");
    REQUIRE(processes.size() == 2);
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

}  // namespace
}  // namespace warpgauge
