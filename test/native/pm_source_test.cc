// The source `pm-sampling` over the fake CUPTI: rates, times, losses, refusals, hangs.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "fake_driver.h"
#include "gpu/cupti/pm_claims.h"
#include "gpu/cupti/pm_clock.h"
#include "gpu/cupti/pm_source.h"
#include "gpu/nvml/mig_intent.h"
#include "row_recorder.h"
#include "sanitized.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr const char* kFirstGpu = "GPU-53494d55-4c41-5445-4400-000000000000";
constexpr const char* kSecondGpu = "GPU-53494d55-4c41-5445-4400-000000000001";

void SleepMs(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

// A machine that runs much else starves threads: what is waited for is a condition, not a time.
template <typename Condition>
bool WaitFor(const Condition& condition) {
  const int64_t end_ns = MonotonicNs() + 30'000 * kMs;
  while (!condition()) {
    if (MonotonicNs() > end_ns) return false;
    SleepMs(5);
  }
  return true;
}

class States : public StateSink {
 public:
  void Report(StateChange change) override {
    const std::unique_lock<std::mutex> lock(mutex_);
    changes_.push_back(std::move(change));
  }
  [[nodiscard]] size_t Count(const std::string& state,
                             const std::string& reason,
                             const std::string& field = "*",
                             const std::string& key = "*") const {
    const std::unique_lock<std::mutex> lock(mutex_);
    size_t count = 0;
    for (const StateChange& change : changes_) {
      if (change.state == state && change.reason == reason &&
          (field == "*" || change.field == field) && (key == "*" || change.key == key)) {
        count++;
      }
    }
    return count;
  }
  [[nodiscard]] std::vector<StateChange> All() const {
    const std::unique_lock<std::mutex> lock(mutex_);
    return changes_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<StateChange> changes_;
};

using Options = std::map<std::string, std::string>;

class Running {
 public:
  explicit Running(int64_t interval_ns = kMs,
                   int64_t duration_ns = 0,
                   Options options = {},
                   bool start = true,
                   const std::string& root = "") {
    SourceRequest request;
    request.root = root;
    request.name = request.instance = "pm-sampling";
    request.interval_ns = interval_ns;
    request.options = std::move(options);
    request.options.try_emplace("cuda", FakeDriver::Cuda());
    request.options.try_emplace("cupti", FakeDriver::Cupti());
    Result<std::unique_ptr<Source>> opened = OpenPmSource(request, states);
    status = opened.status;
    if (!opened.ok()) return;
    source = std::move(opened.value);
    std::vector<TableWriter*> writers;
    for (const TableSpec& spec : source->tables()) {
      recorders.push_back(std::make_unique<RowRecorder>(spec, 1024));
      writers.push_back(&recorders.back()->writer());
    }
    if (!start) return;
    start_ns = MonotonicNs() + 2 * kMs;
    end_ns = duration_ns == 0 ? 0 : start_ns + duration_ns;
    REQUIRE(source->Start(writers, start_ns, end_ns).ok());
  }
  ~Running() {
    if (source == nullptr) return;
    source.reset();
    // A thread that got no CPU in time gives the counters back later.
    CHECK(WaitFor([] { return PmClaims::Get().IsIdle(); }));
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  // Ends the writing: only then may the rows be read here.
  void Stop() {
    const int64_t begin_ns = MonotonicNs();
    source->Stop();
    CHECK(MonotonicNs() - begin_ns < 500 * kMs);
  }
  void AwaitSamples(uint64_t count) const {
    CHECK(WaitFor([&] { return source->ticks()[0].ticks >= count; }));
  }
  // By itself, at the end of its duration.
  void AwaitEnd(const FakeDriver& driver) {
    CHECK(WaitFor([&] { return driver.Count("cuptiProfilerDeInitialize") == 1; }));
    Stop();
  }
  // Whether a thread of ours came too late for the image: samples are then lost, and counted.
  [[nodiscard]] bool starved() const { return states.Count("degraded", "image_full") > 0; }
  RowRecorder& rows() { return *recorders[0]; }
  RowRecorder& stats() { return *recorders[1]; }

  States states;
  Status status;
  std::unique_ptr<Source> source;
  std::vector<std::unique_ptr<RowRecorder>> recorders;
  int64_t start_ns = 0, end_ns = 0;
};

std::string Text(const Running& running) {
  return std::string(running.status.code()) + ": " + running.status.message() + " (" +
         running.status.fix() + ")";
}

const ColumnSpec& ColumnOf(const Source& source, const std::string& name) {
  for (const ColumnSpec& column : source.tables()[0].columns) {
    if (column.name == name) return column;
  }
  REQUIRE_MESSAGE(false, name);
  return source.tables()[0].columns[0];
}

// CLOCK_MONOTONIC of the first call of a function, by the fake's log.
int64_t TimeOf(const FakeDriver& driver, const std::string& function) {
  std::ifstream log(driver.log_path());
  for (std::string line; std::getline(log, line);) {
    if (line.find(" " + function + "(") != std::string::npos) return std::stoll(line);
  }
  return 0;
}

TEST_CASE("one row per sample: values, windows and times") {
  const FakeDriver driver("pm.pcie__read_bytes.sum = 4096\n");
  Running running(kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  CHECK(running.source->tables()[0].simulated);
  running.AwaitSamples(250);
  running.Stop();
  const int64_t stop_ns = MonotonicNs();
  // The fake's first sample began just before its log says so.
  const int64_t began_ns = TimeOf(driver, "cuptiPmSamplingStart");
  RowRecorder& rows = running.rows();
  REQUIRE(rows.size() >= 250);
  uint64_t before = 0;
  for (size_t i = 0; i < rows.size(); i++) {
    CHECK(rows.Text(i, "gpu") == kFirstGpu);
    CHECK(rows.U64(i, "window_ns") == 1'000'000);
    CHECK(rows.U64(i, "pcie_read_bytes") == 4096);
    // The fake's number of the sample; the outlier, number 0, is left out.
    const auto number = *rows.U64(i, "pcie_write_bytes") / 1000;
    CHECK(number > before);
    CHECK(*rows.U64(i, "pcie_write_bytes") == number * 1000);
    CHECK(*rows.F64(i, "sm_active_ratio") ==
          doctest::Approx(static_cast<double>(number % 101) / 100));
    if (before != 0 && !running.starved()) CHECK(number == before + 1);
    before = number;
    const int64_t time_ns = *rows.Time(i);
    CHECK(time_ns >= running.start_ns);
    CHECK(time_ns < stop_ns);
    const int64_t off_ns = began_ns - (time_ns - static_cast<int64_t>(number + 1) * kMs);
    CHECK(off_ns > -kMs);
    CHECK(off_ns < (kSanitized ? 2000 : 200) * kMs);
  }
  CHECK(running.states.Count("degraded", "foreign_clock") == 0);
  CHECK(running.states.Count("degraded", "clock_step") == 0);
  CHECK(running.states.Count("degraded", "overflow") == 0);
}

TEST_CASE("the end: nothing at or after it, all before it") {
  const FakeDriver driver("");
  Running running(kMs, 200 * kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  running.AwaitEnd(driver);
  RowRecorder& rows = running.rows();
  for (size_t i = 0; i < rows.size(); i++) CHECK(*rows.Time(i) < running.end_ns);
  if (!running.starved()) {
    REQUIRE(rows.size() > 0);
    CHECK(*rows.Time(rows.size() - 1) > running.end_ns - 3 * kMs);
  }
  // Every deadline is a row or missed.
  const Source::Ticks ticks = running.source->ticks()[0];
  CHECK(ticks.ticks == rows.size());
  CHECK(std::llabs(static_cast<int64_t>(ticks.ticks + ticks.missed) - 200) <= 3);
  // The counters were given back when it was over, without anybody closing it.
  CHECK(driver.Count("cuptiPmSamplingDisable") == 1);
  CHECK(driver.Count("cuptiProfilerDeInitialize") == 1);
}

TEST_CASE("rates from 1 to 20 kHz") {
  for (const int64_t interval_ns : {1'000'000, 200'000, 100'000, 50'000}) {
    CAPTURE(interval_ns);
    const FakeDriver driver("");
    Running running(interval_ns, 300 * kMs);
    REQUIRE_MESSAGE(running.status.ok(), Text(running));
    running.AwaitEnd(driver);
    RowRecorder& rows = running.rows();
    const auto deadlines = static_cast<size_t>(300 * kMs / interval_ns);
    const Source::Ticks ticks = running.source->ticks()[0];
    CHECK(ticks.ticks == rows.size());
    const auto passed = static_cast<int64_t>(ticks.ticks + ticks.missed);
    CHECK(std::llabs(passed - static_cast<int64_t>(deadlines)) <= 25);
    if (!kSanitized && !running.starved()) CHECK(ticks.ticks > deadlines * 3 / 4);
    const std::vector<std::string> log = driver.Log();
    const std::string wanted =
        "cuptiPmSamplingSetConfig(GH100, 67108864, " + std::to_string(interval_ns) + ", 1, 0) = 0";
    CHECK(std::find(log.begin(), log.end(), wanted) != log.end());
    const std::vector<Source::Cost> costs = running.source->costs();
    REQUIRE(costs.size() == 1);
    CHECK(costs[0].calls > 0);
  }
}

TEST_CASE("several GPUs: rows of each, the last tick has one of each") {
  const FakeDriver driver("devices = 2\npm_chip = GH100,AD102\n");
  Running running(kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  CHECK(running.states.Count("unavailable", "not_supported", "nvlink_rx_bytes", kSecondGpu) == 1);
  CHECK(running.states.Count("unavailable", "not_supported", "nvlink_rx_bytes", kFirstGpu) == 0);
  CHECK(ColumnOf(*running.source, "nvlink_rx_bytes").reason.empty());
  CHECK(WaitFor([&] { return driver.Count("cuptiPmSamplingDecodeData") >= 12; }));
  running.Stop();
  RowRecorder& rows = running.rows();
  std::map<std::string, size_t> counts;
  std::map<std::string, int64_t> last_ns;
  for (size_t i = 0; i < rows.size(); i++) {
    const std::string gpu = *rows.Text(i, "gpu");
    counts[gpu]++;
    CHECK(*rows.Time(i) > last_ns[gpu]);
    last_ns[gpu] = *rows.Time(i);
    CHECK(rows.IsNull(i, "nvlink_rx_bytes") == (gpu == kSecondGpu));
  }
  CHECK(counts.size() == 2);
  CHECK(counts[kFirstGpu] > 0);
  CHECK(counts[kSecondGpu] > 0);
}

TEST_CASE("only the GPUs that were named") {
  const FakeDriver driver("devices = 2\n");
  Running running(kMs, 0, {{"devices", kSecondGpu}});
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  running.AwaitSamples(1);
  running.Stop();
  REQUIRE(running.rows().size() > 0);
  CHECK_FALSE(running.rows().RowWhere("gpu", kFirstGpu));
  const Running unknown(kMs, 0, {{"devices", "GPU-1"}});
  CHECK(unknown.status.code() == std::string("ERR_NO_DEVICE"));
  CHECK(unknown.status.message().find(kFirstGpu) != std::string::npos);
}

TEST_CASE("what the chip lacks is null with the reason in the field") {
  const FakeDriver driver("pm_chip = AD102\n");
  Running running(kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  CHECK(ColumnOf(*running.source, "nvlink_rx_bytes").reason == "not_supported");
  CHECK(ColumnOf(*running.source, "pcie_read_bytes").reason.empty());
  CHECK(ColumnOf(*running.source, "pcie_read_bytes")
            .source.starts_with("CUPTI pcie__read_bytes.sum"));
  running.AwaitSamples(1);
  running.Stop();
  REQUIRE(running.rows().size() > 0);
  CHECK(running.rows().IsNull(0, "nvlink_rx_bytes"));
}

TEST_CASE("a chip that only its clock can trigger is told so") {
  const FakeDriver driver("pm_chip = GA100\npm_sys_clock_hertz = 500000000\n");
  Running running(kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  // The fake driver tells no clock rate: 1 GHz is assumed, and the clock runs at half of it.
  CHECK(running.states.Count("degraded", "clock_trigger", "window_ns") == 1);
  CHECK(running.states.All()[0].code == 1'000'000);
  running.AwaitSamples(1);
  running.Stop();
  REQUIRE(running.rows().size() > 0);
  CHECK(running.rows().U64(0, "window_ns") == 2'000'000);
}

TEST_CASE("a hardware buffer that overflows is counted, said, and sampling goes on") {
  // 1 MiB holds 16 samples of 64 KiB: at 1 kHz less than the 100 ms between two decodings.
  const FakeDriver driver("pm_sample_bytes = 65536\n");
  Running running(kMs, 0, {{"hardwareBufferBytes", "1048576"}});
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  const int64_t begin_ns = MonotonicNs();
  CHECK(WaitFor([&] { return running.states.Count("degraded", "overflow") >= 3; }));
  // Each after 100 ms of sampling; before the third one there is a pause of 100 ms.
  CHECK(MonotonicNs() - begin_ns >= 390 * kMs);
  running.Stop();
  CHECK(running.states.Count("degraded", "overflow", "", kFirstGpu) >= 3);
  RowRecorder& stats = running.stats();
  REQUIRE(stats.size() >= 1);
  const size_t last = stats.size() - 1;
  CHECK(*stats.U64(last, "overflows") == running.states.Count("degraded", "overflow"));
  // Set up anew after each.
  CHECK(driver.Count("cuptiPmSamplingEnable") >= 3);
}

TEST_CASE("an overflow once: rows before and after, the gap counted as lost") {
  // Its third decoding takes longer than the buffer of 512 samples lasts.
  const FakeDriver driver("pm_sample_bytes = 2048\npm_hang_ms = 700\npm_hang_call = 3\n");
  Running running(kMs, 0, {{"hardwareBufferBytes", "1048576"}});
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  CHECK(WaitFor([&] { return running.states.Count("degraded", "overflow") >= 1; }));
  const uint64_t so_far = running.source->ticks()[0].ticks;
  running.AwaitSamples(so_far + 200);
  running.Stop();
  RowRecorder& rows = running.rows();
  int64_t longest_ns = 0;
  for (size_t i = 1; i < rows.size(); i++) {
    longest_ns = std::max(longest_ns, *rows.Time(i) - *rows.Time(i - 1));
  }
  CHECK(longest_ns > 100 * kMs);
  RowRecorder& stats = running.stats();
  const auto lost = static_cast<int64_t>(*stats.U64(stats.size() - 1, "lost_samples"));
  CHECK(lost >= longest_ns / kMs - 5);
  CHECK(*stats.U64(stats.size() - 1, "samples") == rows.size());
}

TEST_CASE("a full image loses samples: counted and said") {
  // 10 kHz: an image of 364 samples, and a decoding that takes 100 ms.
  const FakeDriver driver("latency_us.cuptiPmSamplingDecodeData = 100000\n");
  Running running(100'000);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  CHECK(WaitFor([&] { return running.source->ticks()[0].missed > 500; }));
  running.Stop();
  CHECK(running.states.Count("degraded", "image_full", "", kFirstGpu) == 1);
  RowRecorder& stats = running.stats();
  CHECK(*stats.U64(stats.size() - 1, "lost_samples") > 500);
  CHECK(*stats.U64(stats.size() - 1, "without_time") > 0);
}

TEST_CASE("refusals name what to do") {
  struct Case {
    const char* script;
    const char* code;
    const char* fix;
  };
  const Case cases[] = {
      {"error.cuptiPmSamplingEnable = 35@1\n", "ERR_PERMISSION", "NVreg_RestrictProfilingToAdmin"},
      {"error.cuptiPmSamplingGetCounterAvailability = 35@1\n", "ERR_PERMISSION", "CAP_PERFMON"},
      {"error.cuptiPmSamplingEnable = 26@1\n", "ERR_BUSY", "dcgmi profile --pause"},
      {"error.cuptiPmSamplingGetCounterAvailability = 26@1\n", "ERR_BUSY", "nsys"},
      {"error.cuptiPmSamplingSetConfig = 41@1\n", "ERR_UNAVAILABLE", "confidential"},
      {"error.cuptiPmSamplingEnable = 43@1\n", "ERR_UNAVAILABLE", "MIG"},
      {"error.cuptiProfilerInitialize = 15@1\n", "ERR_UNAVAILABLE", "newer than the driver"},
      {"error.cuptiPmSamplingEnable = 999@1\n", "ERR_CUPTI", "dmesg"},
      {"pm_chip = GV100\n", "ERR_UNAVAILABLE", "Turing"},
      {"error.cuptiPmSamplingSetConfig = 8@1\n", "ERR_NO_MEMORY", "hardwareBufferBytes"},
      {"devices = 0\n", "ERR_NO_DEVICE", "nvidia-smi -L"},
  };
  for (const Case& refused : cases) {
    CAPTURE(refused.script);
    const FakeDriver driver(refused.script);
    const Running running;
    CAPTURE(Text(running));
    CHECK(running.status.code() == std::string(refused.code));
    CHECK(running.status.fix().find(refused.fix) != std::string::npos);
    // Nothing stays taken.
    CHECK(driver.Count("cuptiPmSamplingDisable") == (driver.Count("cuptiPmSamplingSetConfig") > 0));
  }
}

TEST_CASE("a GPU that cannot be had does not stop the others") {
  const FakeDriver driver("devices = 2\npm_chip = GV100,GH100\n");
  Running running(kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  CHECK(running.states.Count("unavailable", "not_supported", "", kFirstGpu) == 1);
  running.AwaitSamples(1);
  running.Stop();
  CHECK(running.rows().size() > 0);
  CHECK_FALSE(running.rows().RowWhere("gpu", kFirstGpu));
}

TEST_CASE("bad options") {
  const FakeDriver driver("");
  for (const Options& options :
       {Options{{"hardwareBufferBytes", "12"}}, Options{{"hardwareBufferBytes", "1MiB"}}}) {
    const Running running(kMs, 0, options);
    CHECK(running.status.code() == std::string("ERR_INVALID_ARGUMENT"));
  }
  CHECK(Running(2'000'000'000).status.code() == std::string("ERR_INVALID_ARGUMENT"));
  const Running missing(kMs, 0, {{"cupti", "/nowhere/libcupti.so.13"}});
  CHECK(missing.status.code() == std::string("ERR_LIBRARY_MISSING"));
  CHECK(missing.status.fix().find("WARPGAUGE_CUPTI") != std::string::npos);
  CHECK(driver.Count("cuInit") == 0);  // nothing is started for nothing
}

TEST_CASE("a second sampler of this process is told who has the counters") {
  const FakeDriver driver("");
  Running first;
  REQUIRE_MESSAGE(first.status.ok(), Text(first));
  {
    const Running second;
    CHECK(second.status.code() == std::string("ERR_BUSY"));
    CHECK(second.status.message().find("this process") != std::string::npos);
  }
  first.Stop();
  Running third(kMs, 0, {}, false);
  CHECK_MESSAGE(third.status.ok(), Text(third));
  // Opened and never started: given back all the same.
  third.source.reset();
  CHECK(WaitFor([] { return PmClaims::Get().IsIdle(); }));
  CHECK(driver.Count("cuptiPmSamplingEnable") == driver.Count("cuptiPmSamplingDisable"));
  CHECK(driver.Count("cuptiProfilerInitialize") == driver.Count("cuptiProfilerDeInitialize"));
}

TEST_CASE("a lost GPU is said with its code and left") {
  const FakeDriver driver("error.cuptiPmSamplingDecodeData = 9@4\n");
  Running running(kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  CHECK(WaitFor([&] { return running.states.Count("lost", "lost", "", kFirstGpu) == 1; }));
  CHECK(running.states.All().back().code == 9);
  running.Stop();
  CHECK(running.rows().size() > 100);
  CHECK(driver.Count("cuptiPmSamplingDecodeData") == 4);  // not tried again
}

TEST_CASE("a hanging decoding: the other GPU goes on, stop returns in time") {
  const FakeDriver driver("devices = 2\npm_hang_device = 1\npm_hang_ms = 3500\npm_hang_call = 3\n");
  Running running(kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  CHECK(WaitFor([&] { return running.states.Count("hung", "hung", "", kSecondGpu) == 1; }));
  const int64_t hung_ns = MonotonicNs();
  CHECK(running.states.Count("hung", "hung", "", kFirstGpu) == 0);
  const size_t decodings = driver.Count("cuptiPmSamplingDecodeData");
  CHECK(WaitFor([&] { return driver.Count("cuptiPmSamplingDecodeData") >= decodings + 3; }));
  running.Stop();
  RowRecorder& rows = running.rows();
  size_t late = 0;
  for (size_t i = 0; i < rows.size(); i++) {
    if (*rows.Time(i) > hung_ns && rows.Text(i, "gpu") == kFirstGpu) late++;
  }
  CHECK(late > 50);
  // What was left behind ends by itself and gives the counters back.
  CHECK(WaitFor([&] { return driver.Count("cuptiProfilerDeInitialize") == 1; }));
  CHECK(driver.Count("cuptiPmSamplingDisable") == 2);
}

TEST_CASE("paused: the hardware stops, no rows, and nothing counts as lost") {
  const FakeDriver driver("");
  Running running(kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  running.AwaitSamples(100);
  running.source->SetPaused(true);
  CHECK(WaitFor([&] { return driver.Count("cuptiPmSamplingStop") == 1; }));
  SleepMs(20);  // its last decoding
  const Source::Ticks before = running.source->ticks()[0];
  const int64_t paused_ns = MonotonicNs();
  SleepMs(300);
  const int64_t resumed_ns = MonotonicNs();
  running.source->SetPaused(false);
  running.AwaitSamples(before.ticks + 100);
  running.Stop();
  RowRecorder& rows = running.rows();
  size_t after = 0;
  for (size_t i = 0; i < rows.size(); i++) {
    CHECK((*rows.Time(i) < paused_ns || *rows.Time(i) > resumed_ns));
    if (*rows.Time(i) > resumed_ns) after++;
  }
  CHECK(after >= 100);
  if (!running.starved()) CHECK(running.source->ticks()[0].missed - before.missed < 200);
}

TEST_CASE(
    "an announced change of MIG: the counters are given back within a second, and taken again") {
  char root[] = "/tmp/warpgauge-pm-yield-XXXXXX";
  REQUIRE(mkdtemp(root) != nullptr);
  const std::string folder = std::string(root) + "/run/warpgauge";
  REQUIRE(std::system(("mkdir -p " + folder).c_str()) == 0);
  const std::string path = folder + "/gpu-" + kFirstGpu + ".lock";
  const FakeDriver driver("");
  Running running(kMs, 0, {}, true, root);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  running.AwaitSamples(20);
  const int64_t announced_ns = MonotonicNs();
  std::ofstream(path) << "{\"pid\":" << getpid() << ",\"pidStart\":" << ProcessStartTicks(getpid())
                      << R"(,"intent":"mig: create 1 instances","since":"2026-01-01"})"
                      << "\n";
  REQUIRE(WaitFor([&] { return driver.Count("cuptiPmSamplingDisable") == 1; }));
  if (!kSanitized) CHECK(MonotonicNs() - announced_ns < 1000 * kMs);
  CHECK(running.states.Count("unavailable", "mig_change", "", kFirstGpu) == 1);
  SleepMs(300);
  CHECK(driver.Count("cuptiPmSamplingEnable") == 1);
  const uint64_t before = running.source->ticks()[0].ticks;
  std::ofstream(path) << std::string(511, ' ') << "\n";
  running.AwaitSamples(before + 20);
  running.Stop();
  CHECK(driver.Count("cuptiPmSamplingEnable") == 2);
  CHECK(running.states.Count("ok", "", "", kFirstGpu) == 1);
  CHECK(running.source->ticks()[0].missed >= 300);  // the gap, in windows of a millisecond
  REQUIRE(std::system((std::string("rm -rf ") + root).c_str()) == 0);
}

TEST_CASE("times that are not on CUPTI's clock are brought to ours and said") {
  const FakeDriver driver("pm_clock_offset_ns = -3600000000000\n");
  Running running(kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  running.AwaitSamples(200);
  running.Stop();
  const int64_t stop_ns = MonotonicNs();
  CHECK(running.states.Count("degraded", "foreign_clock", "time", kFirstGpu) == 1);
  RowRecorder& rows = running.rows();
  REQUIRE(rows.size() >= 200);
  CHECK(*rows.Time(0) >= running.start_ns);
  // The newest was taken to end when it was decoded: those after it can seem to end that much
  // later.
  CHECK(*rows.Time(rows.size() - 1) <= stop_ns + 5 * kMs);
}

TEST_CASE("statistics once a second and at the end") {
  const FakeDriver driver("");
  Running running(kMs, 1300 * kMs);
  REQUIRE_MESSAGE(running.status.ok(), Text(running));
  running.AwaitEnd(driver);
  RowRecorder& stats = running.stats();
  REQUIRE(stats.size() >= 2);
  if (stats.size() != 3) return;  // the supervisor got no CPU for a second
  CHECK(stats.Text(2, "gpu") == kFirstGpu);
  CHECK(*stats.U64(2, "samples") == running.rows().size());
  CHECK(*stats.U64(2, "samples") > *stats.U64(1, "samples"));
  CHECK(*stats.U64(2, "decodes") >= 10);
  CHECK(*stats.U64(2, "decode_ns") > 0);
  CHECK(*stats.U64(2, "evaluate_ns") > 0);
  CHECK(*stats.F64(1, "image_ratio") > 0.1);
  CHECK(*stats.U64(1, "backlog_ns") >= 90 * kMs);
  const Source::Ticks ticks = running.source->ticks()[1];
  CHECK(ticks.ticks + ticks.missed == 2);
  CHECK(running.source->cpu_ns() > 0);
}

// ---- the clock alone ----

TEST_CASE("a step of the realtime clock moves no window") {
  PmClock clock;
  constexpr int64_t kOffset = 1'700'000'000'000'000'000;
  const auto pair = [](int64_t monotonic_ns, int64_t offset) {
    return PmClock::Pair{monotonic_ns, monotonic_ns + 50 + offset, monotonic_ns + 100};
  };
  CHECK_FALSE(clock.Update(pair(1'000'000, kOffset)));
  PmClock::Window window = clock.Convert(static_cast<uint64_t>(kOffset + 1'000'000),
                                         static_cast<uint64_t>(kOffset + 2'000'000));
  CHECK(window.start_ns == 1'000'000);
  CHECK(window.end_ns == 2'000'000);
  // An hour forward, 5 ms later; two windows were stamped before it, the others after.
  const int64_t stepped = kOffset + 3'600'000'000'000;
  CHECK(clock.Update(pair(6'000'000, stepped)));
  for (int64_t i = 2; i < 6; i++) {
    const int64_t offset = i < 4 ? kOffset : stepped;
    window = clock.Convert(static_cast<uint64_t>(offset + i * 1'000'000),
                           static_cast<uint64_t>(offset + (i + 1) * 1'000'000));
    CHECK(window.end_ns == (i + 1) * 1'000'000);
  }
  CHECK_FALSE(clock.Update(pair(7'000'000, stepped + 20)));
}

TEST_CASE("a wide pair of readings does not spoil what is known") {
  PmClock clock;
  CHECK_FALSE(clock.Update({1000, 5'000'050, 1100}));
  CHECK_FALSE(clock.Update({100'000, 5'990'000, 900'000}));  // scheduled away in between
  CHECK(clock.Convert(5'000'050, 5'000'051).start_ns == 1050);
}

}  // namespace
}  // namespace warpgauge
