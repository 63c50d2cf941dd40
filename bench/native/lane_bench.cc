// One side of the lane benchmark, in a process of its own: the engine with a perf group of 6
// software counters, or the bare ticker in C with the same reads. One JSON line, read by
// bench/cases/lane.ts and gpu.ts:
//   {"cpu_ns":...,"p99_late_ns":...,"ticks":...,"missed":...}
// cpu_ns is that of the whole process from tick 0 to the end. A tick is late by the time from the
// deadline that it waited for to the time of its row.
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "arguments.h"
#include "core/clock.h"
#include "core/sampler_core.h"
#include "floor.h"
#include "os/perf_source.h"

namespace warpgauge {
namespace {

struct Setting {
  int64_t interval_ns = 0;
  int64_t duration_ns = 0;
  bool reads = true;
};

struct Outcome {
  int64_t start_ns = 0;
  int64_t cpu_ns = 0;
  size_t missed = 0;
  std::vector<int64_t> wake_ns;
};

void SleepUntil(int64_t deadline_ns) {
  timespec until{};
  until.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000);
  until.tv_nsec = static_cast<decltype(until.tv_nsec)>(deadline_ns % 1'000'000'000);
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kBatchNs = 100 * kMillisecond;

Outcome RunLane(const Setting& setting) {
  SamplerSource asked;
  asked.request.name = asked.request.instance = "perf";
  asked.request.interval_ns = setting.interval_ns;
  asked.request.options["events"] =
      "task-clock+page-faults+context-switches+cpu-migrations+minor-faults+major-faults";
  asked.request.options["tid"] = std::to_string(getpid());
  asked.factory = MakePerfSource;
  auto* core = new SamplerCore({asked}, SamplerOptions{});
  const Status opening = core->Open([](void*) {}, nullptr);
  if (!opening.ok()) Fail("SamplerCore::Open", opening);
  while (core->phase() == SamplerCore::Phase::kOpening) SleepUntil(MonotonicNs() + kMillisecond);
  if (core->phase() != SamplerCore::Phase::kOpened) Unavailable("perf", core->failure());

  Outcome outcome;
  const int64_t cpu_before = ReadClock(CLOCK_PROCESS_CPUTIME_ID);
  if (Status s = core->Start(setting.duration_ns); !s.ok()) Fail("SamplerCore::Start", s);
  outcome.start_ns = core->start_ns();
  const int64_t utc_offset = UtcOffsetNs();
  const int64_t end_ns = outcome.start_ns + setting.duration_ns;
  outcome.wake_ns.reserve(static_cast<size_t>(setting.duration_ns / setting.interval_ns));
  bool is_over = false;
  while (!is_over) {
    SleepUntil(std::min(MonotonicNs() + kBatchNs, end_ns + kMillisecond));
    is_over = MonotonicNs() >= end_ns;
    if (is_over) core->Stop();
    size_t table = 0;
    for (DeliveredSlab taken = core->Take(&table); taken.slab != nullptr;
         taken = core->Take(&table)) {
      const Slab& slab = *taken.slab;
      const auto* times =
          reinterpret_cast<const int64_t*>(slab.base() + slab.layout().columns[0].data);
      for (uint32_t row = 0; row < slab.rows_; row++) {
        outcome.wake_ns.push_back(times[row] - utc_offset);
      }
      taken.slab->Unref();
    }
  }
  outcome.cpu_ns = ReadClock(CLOCK_PROCESS_CPUTIME_ID) - cpu_before;
  const SamplerStatistics statistics = core->Statistics();
  outcome.missed = statistics.tables[0].missed;
  if (statistics.tables[0].dropped_rows != 0) {
    Fail("the lane", Status("ERR_DATA_MISMATCH", "rows were dropped"));
  }
  core->Unref();
  return outcome;
}

Outcome RunTicker(const Setting& setting) {
  floor_file file{-1, 0, -1};
  if (setting.reads) {
    const std::vector<uint64_t> configs = {PERF_COUNT_SW_TASK_CLOCK,
                                           PERF_COUNT_SW_PAGE_FAULTS,
                                           PERF_COUNT_SW_CONTEXT_SWITCHES,
                                           PERF_COUNT_SW_CPU_MIGRATIONS,
                                           PERF_COUNT_SW_PAGE_FAULTS_MIN,
                                           PERF_COUNT_SW_PAGE_FAULTS_MAJ};
    // Of this thread, which sleeps meanwhile, as in RunLane: counters of a running thread cost
    // more.
    file.fd = floor_open_group(configs.data(), configs.size(), getpid());
    file.bytes = (3 + 2 * configs.size()) * sizeof(uint64_t);
    if (file.fd < 0) Unavailable("perf", Status("ERR_SYSCALL", std::strerror(-file.fd)));
  }
  Outcome outcome;
  outcome.wake_ns.resize(static_cast<size_t>(setting.duration_ns / setting.interval_ns));
  floor_ticks ticks{outcome.wake_ns.data(), 0, 0};
  const int64_t cpu_before = ReadClock(CLOCK_PROCESS_CPUTIME_ID);
  outcome.start_ns = MonotonicNs() + kMillisecond;
  std::thread ticker([&] {
    floor_tick(outcome.start_ns, setting.interval_ns, setting.duration_ns, &file, &ticks);
  });
  ticker.join();
  outcome.cpu_ns = ReadClock(CLOCK_PROCESS_CPUTIME_ID) - cpu_before;
  outcome.wake_ns.resize(ticks.ticks);
  outcome.missed = ticks.missed;
  return outcome;
}

int64_t P99Late(const Outcome& outcome, int64_t interval_ns) {
  std::vector<int64_t> late;
  int64_t next = 0;
  for (const int64_t wake : outcome.wake_ns) {
    late.push_back(wake - (outcome.start_ns + next * interval_ns));
    next = (wake - outcome.start_ns) / interval_ns + 1;
  }
  if (late.empty()) Fail("the lane", Status("ERR_DATA_MISMATCH", "no tick ran"));
  const auto at = late.begin() + static_cast<ptrdiff_t>((late.size() - 1) * 99 / 100);
  std::nth_element(late.begin(), at, late.end());
  return *at;
}

int Main(int argc, char** argv) {
  Setting setting;
  const std::string side = Argument(argc, argv, "--side", "");
  setting.interval_ns = static_cast<int64_t>(NumberArgument(argc, argv, "--interval-ns", 100'000));
  setting.duration_ns = static_cast<int64_t>(NumberArgument(argc, argv, "--duration-ns", 0));
  setting.reads = NumberArgument(argc, argv, "--reads", 1) != 0;
  if ((side != "lane" && side != "ticker") || setting.interval_ns <= 0 ||
      setting.duration_ns < setting.interval_ns) {
    std::fprintf(stderr, "Expected --side lane|ticker, --interval-ns and --duration-ns\n");
    return 2;
  }
  const Outcome outcome = side == "lane" ? RunLane(setting) : RunTicker(setting);
  const auto deadlines = static_cast<size_t>(setting.duration_ns / setting.interval_ns);
  if (outcome.wake_ns.size() + outcome.missed != deadlines) {
    Fail("the lane", Status("ERR_DATA_MISMATCH", "ticks + missed is not the number of deadlines"));
  }
  std::printf("{\"cpu_ns\":%lld,\"p99_late_ns\":%lld,\"ticks\":%zu,\"missed\":%zu}\n",
              static_cast<long long>(outcome.cpu_ns),  // NOLINT(google-runtime-int): for printf
              static_cast<long long>(                  // NOLINT(google-runtime-int)
                  P99Late(outcome, setting.interval_ns)),
              outcome.wake_ns.size(),
              outcome.missed);
  return 0;
}

}  // namespace
}  // namespace warpgauge

int main(int argc, char** argv) { return warpgauge::Main(argc, argv); }
