// The pure parts of the gpu source: schedule, counters, layouts, clocks, processes.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "fake_driver.h"
#include "gpu/nvml/device.h"
#include "gpu/nvml/gpm.h"
#include "gpu/nvml/gpu_tables.h"
#include "gpu/nvml/metrics.h"
#include "gpu/nvml/pcie_bytes.h"
#include "gpu/nvml/processes.h"
#include "gpu/nvml/sample_clock.h"
#include "gpu/nvml/schedule.h"
#include "gpu/nvml/scheme.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST_CASE("what fits into the share runs as asked") {
  const std::vector<CallDemand> demands = {{1'000, 10 * kMs}, {2'000, 100 * kMs}, {500, 0}};
  const std::vector<int64_t> plan = PlanSchedule(demands, 0.005);
  CHECK(plan == std::vector<int64_t>{10 * kMs, 100 * kMs, 0});
}

TEST_CASE("the dearest call gives way first, in whole multiples, until the rest fits") {
  const std::vector<CallDemand> demands = {
      {1'000, 10 * kMs}, {3'300'000, 10 * kMs}, {300'000, 100 * kMs}, {80'000, 1000 * kMs}};
  const std::vector<int64_t> plan = PlanSchedule(demands, 0.005);
  CHECK(ShareOf(demands, plan) <= 0.005);
  CHECK(plan[0] == 10 * kMs);
  CHECK(plan[1] > plan[2]);
  for (size_t i = 0; i < plan.size(); i++) {
    CHECK(plan[i] >= demands[i].wanted_ns);
    CHECK(plan[i] % demands[i].wanted_ns == 0);
  }
}

TEST_CASE(
    "the costs of an H200: microsecond calls keep their rate, what takes milliseconds gives way") {
  // Medians in ns measured on an H200, driver 580.159.04 (docs/results/2026-11-20-h200-monitor.md).
  const int64_t dear[] = {2'883'000,
                          2'621'000,
                          1'704'000,
                          1'573'000,
                          1'180'000,
                          721'000,
                          590'000,
                          524'000,
                          524'000,
                          360'000,
                          262'000,
                          213'000};
  const int64_t cheap[] = {
      15'400, 5'100, 900, 4'100, 3'100, 3'100, 2'300, 2'000, 1'400, 1'000, 800, 600, 600, 600};
  std::vector<CallDemand> demands;
  for (const int64_t cost : dear) demands.push_back({cost, 1000 * kMs});
  for (const int64_t cost : cheap) demands.push_back({cost, 20 * kMs});
  const std::vector<int64_t> plan = PlanSchedule(demands, 0.005);
  CHECK(ShareOf(demands, plan) <= 0.005);
  for (size_t i = std::size(dear); i < plan.size(); i++) CHECK(plan[i] == 20 * kMs);
  CHECK(plan[0] >= plan[std::size(dear) - 1]);
  // PCIe bytes with GPM's rates cost as much as the process lists, and are worth more.
  demands.push_back({1'704'000, 100 * kMs, false, true});
  const std::vector<int64_t> with_pcie = PlanSchedule(demands, 0.005);
  CHECK(ShareOf(demands, with_pcie) <= 0.005);
  CHECK(with_pcie.back() <= 2000 * kMs);
}

TEST_CASE("a hopeless budget is still kept, and exempt calls stand outside it") {
  std::vector<CallDemand> demands = {{20'000'000, 10 * kMs}, {1'000'000, 10 * kMs}};
  std::vector<int64_t> plan = PlanSchedule(demands, 0.00001);
  CHECK(ShareOf(demands, plan) <= 0.00001);
  demands.push_back({700'000, 40 * kMs, true});
  plan = PlanSchedule(demands, 0.005);
  CHECK(plan[2] == 40 * kMs);
  CHECK(ShareOf(demands, plan) <= 0.005);
}

// An H200's calls with their costs (docs/results/2026-11-20-h200-nvml-calls.md) through plan and
// budget in simulated time, each taking up to half as long again as it was measured: what the
// driver was inside for, in the dearest 10 s.
TEST_CASE("no 10 s hold more driver time than the share, and every call is made") {
  struct Call {
    int64_t cost_ns, wanted_ns;
    bool last;
    int64_t interval_ns = 0, due_ns = 0, waiting_ns = 0, made = 0;
  };
  for (const int64_t fast_ns : {10 * kMs, 100 * kMs}) {
    std::vector<Call> calls;
    for (int i = 0; i < 15; i++) calls.push_back({i < 14 ? 350 : 4'400, fast_ns, false});
    for (const int64_t cost : {2'864'000,
                               84'000,
                               80'000,
                               138'000,
                               799'000,
                               565'000,
                               2'060'000,
                               2'451'000,
                               206'000,
                               282'000,
                               4'236'000}) {
      calls.push_back({cost, 1000 * kMs, false});
    }
    calls.push_back({472'000, 250 * kMs, true});
    std::vector<CallDemand> demands;
    for (const Call& call : calls) {
      demands.push_back({call.cost_ns, call.wanted_ns, false, call.last});
    }
    const double share = 0.005;
    const std::vector<int64_t> plan = PlanSchedule(demands, share * kPlannedPart);
    for (size_t i = 0; i < calls.size(); i++) calls[i].interval_ns = plan[i];
    CallBudget budget;
    budget.SetShare(share);
    constexpr int64_t kStepNs = 10 * kMs;
    constexpr int kSteps = 30'000;  // 300 s
    std::vector<int64_t> spent_ns(kSteps);
    uint32_t random = 1;
    for (int step = 1; step < kSteps; step++) {
      const int64_t now_ns = step * kStepNs;
      for (Call& call : calls) {
        if (now_ns % call.wanted_ns != 0 || now_ns < call.due_ns) continue;
        const bool can_wait = call.cost_ns >= kDearCallNs && !call.last;
        if (can_wait && call.waiting_ns == 0) call.waiting_ns = now_ns;
        if (can_wait && budget.WaitNs(now_ns, call.waiting_ns) > 0) continue;
        call.waiting_ns = 0;
        random = random * 1'664'525 + 1'013'904'223;
        const int64_t took_ns = call.cost_ns + call.cost_ns * (random >> 16) / 65536 / 2;
        budget.Charge(now_ns, took_ns);
        spent_ns[static_cast<size_t>(step)] += took_ns;
        call.due_ns = now_ns + call.interval_ns;
        call.made++;
      }
    }
    int64_t window_ns = 0;
    int64_t dearest_ns = 0;
    int64_t all_ns = 0;
    for (size_t step = 0; step < kSteps; step++) {
      all_ns += spent_ns[step];
      window_ns += spent_ns[step] - (step >= 1000 ? spent_ns[step - 1000] : 0);
      dearest_ns = std::max(dearest_ns, window_ns);
    }
    CHECK(static_cast<double>(dearest_ns) <= share * 10e9);
    CHECK(static_cast<double>(all_ns) >= share * 0.6 * kSteps * kStepNs);  // and it is made use of
    for (const Call& call : calls) {
      CAPTURE(call.cost_ns);
      // None starves, though all took a quarter longer than the plan knows.
      CHECK(call.made >= kSteps * kStepNs / call.interval_ns / 4);
    }
  }
}

TEST_CASE("a call that stalls keeps the others waiting for 10 s at most") {
  CallBudget budget;
  budget.SetShare(0.005);
  CHECK(budget.WaitNs(kMs, kMs) == 0);
  budget.Charge(2 * kMs, 5'000 * kMs);
  const int64_t wait_ns = budget.WaitNs(2 * kMs, 2 * kMs);
  CHECK(wait_ns > 9'900 * kMs);
  CHECK(wait_ns <= 10'000 * kMs + 1);
  CHECK(budget.WaitNs(2 * kMs + wait_ns, 2 * kMs) == 0);
}

TEST_CASE("a link's rate by generation and width") {
  CHECK(PcieBytesPerSecond(5, 16) == doctest::Approx(63.015e9).epsilon(0.001));
  CHECK(PcieBytesPerSecond(3, 16) == doctest::Approx(15.754e9).epsilon(0.001));
  CHECK(PcieBytesPerSecond(1, 1) == 250e6);
  CHECK(PcieBytesPerSecond(0, 0) >= PcieBytesPerSecond(5, 16));
}

TEST_CASE("a 32-bit counter is exact below the gap that it can turn in, and ambiguous above") {
  ByteCounter counter;
  const double rate = PcieBytesPerSecond(5, 16);
  uint64_t truth = 4'000'000'000;
  int64_t now = 1'000'000'000;
  const uint64_t first = truth;
  counter.Update(static_cast<uint32_t>(truth), 32, now, rate);
  CHECK(counter.window_ns() == 0);
  // Jittered polls of 20 to 60 ms at 55 GB/s.
  for (int i = 0; i < 200; i++) {
    const int64_t gap = (20 + i * 7 % 41) * kMs;
    now += gap;
    truth += static_cast<uint64_t>(55e9 * static_cast<double>(gap) * 1e-9);
    counter.Update(static_cast<uint32_t>(truth), 32, now, rate);
    CHECK_FALSE(counter.ambiguous());
  }
  CHECK(counter.total() - first == truth - first);
  now += 80 * kMs;
  counter.Update(static_cast<uint32_t>(truth), 32, now, rate);
  CHECK(counter.ambiguous());
}

TEST_CASE(
    "another source's rate tells how often a counter turned, and a wrong one is not trusted") {
  const double link = PcieBytesPerSecond(5, 16);
  for (const double error : {0.99, 1.0, 1.01}) {
    ByteCounter counter;
    uint64_t truth = 7;
    counter.Update(truth, 32, 0, link);
    truth += 22'000'000'000;
    counter.Update(static_cast<uint32_t>(truth), 32, 400 * kMs, link, 55e9 * error);
    CHECK(counter.total() == truth);
    CHECK_FALSE(counter.ambiguous());
  }
  ByteCounter counter;
  counter.Update(0, 32, 0, link);
  counter.Update(static_cast<uint32_t>(22'000'000'000), 32, 400 * kMs, link, 50e9);
  CHECK(counter.ambiguous());
}

TEST_CASE("64 bits are believed when they were seen, and a restart adds nothing") {
  ByteCounter counter;
  counter.Update(uint64_t{5} << 32, 64, 0, 63e9);
  counter.Update((uint64_t{5} << 32) + 100, 64, 10'000 * kMs, 63e9);
  CHECK(counter.total() == (uint64_t{5} << 32) + 100);
  CHECK_FALSE(counter.ambiguous());
  counter.Restart();
  counter.Update(50, 64, 20'000 * kMs, 63e9);
  CHECK(counter.total() == (uint64_t{5} << 32) + 100);
  CHECK(counter.ambiguous());
  counter.Update(60, 64, 20'010 * kMs, 63e9);
  CHECK(counter.total() == (uint64_t{5} << 32) + 110);
}

TEST_CASE("values are decoded by their type, whatever lies in the other half") {
  NvmlValueBits bits{};
  bits.u64 = 0x7f29'0000'0001'4e25;
  CHECK(DecodeNvmlValue(kNvmlValueUint, bits).u64 == 0x14e25);
  CHECK(DecodeNvmlValue(kNvmlValueUlongLong, bits).u64 == 0x7f29'0000'0001'4e25);
  bits.u64 = 0x0000'0000'ffff'fff8;
  CHECK(DecodeNvmlValue(kNvmlValueInt, bits).i64 == -8);
  bits.f64 = 2.5;
  CHECK(DecodeNvmlValue(kNvmlValueDouble, bits).AsDouble() == 2.5);
  CHECK(DecodeNvmlValue(9, bits).type == NvmlNumber::Type::kNone);
  CHECK(NvmlCounterBits(kNvmlValueUint) == 32);
  CHECK(NvmlCounterBits(kNvmlValueUlong) == 64);
  CHECK(NvmlCounterBits(kNvmlValueDouble) == 0);
  for (const uint64_t blank : {kNvmlNotAvailable64,
                               uint64_t{kNvmlNotAvailable32},
                               uint64_t{0x7ffffff0},
                               uint64_t{0x7ffffffffffffff3}}) {
    CHECK(IsBlank(blank));
  }
  CHECK_FALSE(IsBlank(0));
  CHECK_FALSE(IsBlank(0x7fffffef));
}

TEST_CASE("a number of GPM that is none does not come out") {
  size_t count = 0;
  const GpmColumn* columns = GpmColumns(&count);
  GpuCell cell;
  NvmlGpmMetric metric{1, 0, 95.5, "gract", "", "%"};
  SetGpmCell(metric, columns[0], &cell);
  CHECK(cell.f64 == doctest::Approx(0.955));
  for (const double bad : {std::nan(""), -1.0, 100.5, 808334905.0, 1e300}) {
    metric.value = bad;
    SetGpmCell(metric, columns[0], &cell);
    CHECK_FALSE(cell.valid);
    CHECK(std::strcmp(cell.reason, "out_of_range") == 0);
  }
  metric.code = kNvmlNotSupported;
  SetGpmCell(metric, columns[0], &cell);
  CHECK(std::strcmp(cell.reason, "not_supported") == 0);
}

TEST_CASE("stamps since 1970 and since boot both land on our clock") {
  const ClockReading now{100'000 * kMs, 1'790'000'000'000 * kMs, 160'000 * kMs};
  SampleClock epoch;
  CHECK(epoch.StampOf(now.monotonic_ns, now) == 0);
  CHECK(epoch.ToMonotonic(1'790'000'000'000'000 - 20'000, now) == 99'980 * kMs);
  CHECK(epoch.domain() == SampleClock::Domain::kRealtime);
  SampleClock boot;
  CHECK(boot.ToMonotonic(160'000'000 - 20'000, now) == 99'980 * kMs);
  CHECK(boot.domain() == SampleClock::Domain::kBoottime);
  CHECK(boot.StampOf(99'980 * kMs, now) == 160'000'000 - 20'000);
  // The realtime clock stepped an hour: the verdict stays.
  ClockReading later = now;
  later.realtime_ns += 3'600'000 * kMs;
  CHECK(boot.ToMonotonic(160'000'000, later) == 100'000 * kMs);
}

TEST_CASE("a process in two lists is one row with its newest sample") {
  const std::vector<NvmlProcessEntry> compute = {{10, 1000}, {11, kNvmlNotAvailable64}};
  const std::vector<NvmlProcessEntry> graphics = {{10, 2000}, {12, 5}};
  NvmlProcessUse older{10, 1, 50, 5, 0, 0};
  NvmlProcessUse newer{10, 2, 60, 6, 0, 0};
  const std::vector<GpuProcess> merged = MergeProcesses(compute, graphics, {}, {newer, older});
  REQUIRE(merged.size() == 3);
  CHECK(merged[0].compute);
  CHECK(merged[0].graphics);
  CHECK(merged[0].memory == 2000);
  CHECK(merged[0].use.sm == 60);
  CHECK(merged[1].memory == kNvmlNotAvailable64);
  CHECK_FALSE(merged[1].has_use);
}

TEST_CASE("a process is looked up with its container pid and cgroup, unless pids are other ones") {
  char root[] = "/tmp/warpgauge-proc-XXXXXX";
  REQUIRE(mkdtemp(root) != nullptr);
  const std::string at = root;
  REQUIRE(std::system(("mkdir -p " + at + "/proc/77 " + at + "/proc/self/ns").c_str()) == 0);
  std::string fields;
  for (int i = 4; i < 22; i++) fields += " 0";
  std::ofstream(at + "/proc/77/stat") << "77 (a) b) S" << fields << " 4242 0\n";
  std::ofstream(at + "/proc/77/status") << "Name:\ta\nNSpid:\t77\t5\nThreads:\t1\n";
  std::ofstream(at + "/proc/77/cgroup") << "0::/system.slice/docker-1.scope\n";
  {
    ProcessLookup lookup(at);
    const ProcessIdentity* identity = lookup.Find(77);
    REQUIRE(identity != nullptr);
    CHECK(identity->start_ticks == 4242);
    CHECK(identity->container_pid == 5);
    CHECK(identity->name == "a) b");
    CHECK(identity->cgroup == "/system.slice/docker-1.scope");
    CHECK(lookup.Find(78) == nullptr);
  }
  REQUIRE(symlink("pid:[4026532000]", (at + "/proc/self/ns/pid").c_str()) == 0);
  ProcessLookup lookup(at);
  CHECK_FALSE(lookup.in_initial_namespace());
  CHECK(lookup.Find(77) == nullptr);
  REQUIRE(std::system(("rm -rf " + at).c_str()) == 0);
}

TEST_CASE("columns and metrics of a table cover each other, no id of the unstable list is asked") {
  for (const GpuTable table : {GpuTable::kMain, GpuTable::kSlow}) {
    size_t next = 0;
    for (const GpuMetric& metric : GpuMetrics()) {
      if (metric.table != table) continue;
      CHECK(metric.first == next);
      next += metric.count;
    }
    CHECK(next == ValueColumns(table).size());
    const TableSpec spec = MakeGpuTable(table);
    CHECK(spec.columns[FirstValueColumn(table)].name == ValueColumns(table)[0].name);
    CHECK(spec.columns[ReadColumn(table)].name == "read");
    CHECK(spec.columns.size() == ReadColumn(table) + 1);
  }
  for (const char* column : {"window_ns", "gpu"}) {
    CHECK(MakeGpuTable(GpuTable::kGpm).columns[column[0] == 'w' ? 2 : 1].name == column);
  }
}

TEST_CASE("PCI addresses as NVML and as /sys write them") {
  CHECK(PciAddressOf("00000000:83:00.0") == "0000:83:00.0");
  CHECK(PciAddressOf("00000001:AF:00.0") == "0001:af:00.0");
  CHECK(PciAddressOf("0000:01:00.0") == "0000:01:00.0");
}

}  // namespace
}  // namespace warpgauge
