#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "os/perf_group.h"
#include "os/perf_group_totals.h"
#include "os/task_list.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

// What read(2) gives for a group: number, enabled, running, then value and id of each.
std::vector<uint64_t> Buffer(uint64_t enabled,
                             uint64_t running,
                             const std::vector<std::pair<uint64_t, uint64_t>>& events) {
  std::vector<uint64_t> words = {events.size(), enabled, running};
  for (const auto& [value, id] : events) {
    words.push_back(value);
    words.push_back(id);
  }
  return words;
}

// One tick of one row from such buffers, as the source does it.
void Tick(PerfTotals* totals, const std::vector<std::vector<uint64_t>>& buffers) {
  totals->Begin();
  for (const std::vector<uint64_t>& buffer : buffers) {
    const uint64_t ids[] = {71, 72};
    uint64_t values[2] = {};
    PerfGroupTimes times;
    REQUIRE(ParsePerfGroup(buffer.data(), buffer.size() * 8, ids, 2, values, &times));
    totals->AddCount(0, 0, values[0], times);
    totals->AddCount(0, 1, values[1], times);
    totals->AddTimes(0, 0, times);
  }
}

}  // namespace

TEST_CASE("perf group: values go to their ids, whatever their order") {
  const uint64_t ids[] = {5, 6, 7};
  uint64_t values[3] = {};
  PerfGroupTimes times;
  const auto straight = Buffer(100, 90, {{1, 5}, {2, 6}, {3, 7}});
  REQUIRE(ParsePerfGroup(straight.data(), straight.size() * 8, ids, 3, values, &times));
  CHECK(values[0] == 1);
  CHECK(values[2] == 3);
  CHECK(times.enabled_ns == 100);
  CHECK(times.running_ns == 90);
  const auto turned = Buffer(100, 90, {{3, 7}, {1, 5}, {2, 6}});
  REQUIRE(ParsePerfGroup(turned.data(), turned.size() * 8, ids, 3, values, &times));
  CHECK(values[0] == 1);
  CHECK(values[1] == 2);
  CHECK(values[2] == 3);
}

TEST_CASE("perf group: a torn, longer or foreign answer is refused") {
  const uint64_t ids[] = {5, 6};
  uint64_t values[2] = {};
  PerfGroupTimes times;
  const auto good = Buffer(10, 10, {{1, 5}, {2, 6}});
  for (size_t bytes = 0; bytes < good.size() * 8; bytes++) {
    // A copy of exactly that size, so that a sanitizer sees each byte read behind it.
    const auto* const begin = reinterpret_cast<const unsigned char*>(good.data());
    const std::vector<unsigned char> torn(begin, begin + bytes);
    CHECK_FALSE(ParsePerfGroup(torn.data(), bytes, ids, 2, values, &times));
  }
  const auto longer = Buffer(10, 10, {{1, 5}, {2, 6}, {3, 7}});
  CHECK_FALSE(ParsePerfGroup(longer.data(), longer.size() * 8, ids, 2, values, &times));
  const auto foreign = Buffer(10, 10, {{1, 5}, {2, 9}});
  CHECK_FALSE(ParsePerfGroup(foreign.data(), foreign.size() * 8, ids, 2, values, &times));
  auto lying = good;
  lying[0] = UINT64_MAX;
  CHECK_FALSE(ParsePerfGroup(lying.data(), lying.size() * 8, ids, 2, values, &times));
  CHECK(times.enabled_ns == 0);
}

TEST_CASE("perf totals: whole counts are summed and not marked") {
  PerfTotals totals(2, 1);
  totals.AddRow();
  Tick(&totals, {Buffer(1000, 1000, {{10, 71}, {20, 72}}), Buffer(500, 500, {{1, 71}, {2, 72}})});
  const PerfTotals::Count count = totals.Take(0, 0);
  CHECK(count.is_known);
  CHECK_FALSE(count.is_estimate);
  CHECK(count.value == 11);
  CHECK(totals.Take(0, 1).value == 22);
  CHECK(totals.times(0, 0).enabled_ns == 1500);
}

TEST_CASE("perf totals: a multiplexed count is an estimate, marked, and never falls") {
  PerfTotals totals(2, 1);
  totals.AddRow();
  Tick(&totals, {Buffer(1000, 250, {{100, 71}, {7, 72}})});
  PerfTotals::Count count = totals.Take(0, 0);
  CHECK(count.is_estimate);
  CHECK(count.value == 400);  // 100 * 1000 / 250
  CHECK(totals.times(0, 0).running_ns == 250);
  // On the CPU for longer, with few events: 110 * 1100 / 350 = 345.7 would be a fall.
  Tick(&totals, {Buffer(1100, 350, {{110, 71}, {7, 72}})});
  count = totals.Take(0, 0);
  CHECK(count.is_estimate);
  CHECK(count.value == 400);
  Tick(&totals, {Buffer(2000, 1000, {{300, 71}, {7, 72}})});
  CHECK(totals.Take(0, 0).value == 600);
}

TEST_CASE("perf totals: never on a counter is unknown, not yet enabled is 0, unread is unknown") {
  PerfTotals totals(2, 1);
  totals.AddRow();
  Tick(&totals, {Buffer(5'000'000'000, 0, {{0, 71}, {0, 72}})});
  CHECK_FALSE(totals.Take(0, 0).is_known);
  CHECK(totals.Take(0, 0).starved_ns == 5'000'000'000);
  Tick(&totals, {Buffer(0, 0, {{0, 71}, {0, 72}})});
  CHECK(totals.Take(0, 0).is_known);
  CHECK(totals.Take(0, 0).value == 0);
  Tick(&totals, {Buffer(9, 9, {{4, 71}, {4, 72}})});
  totals.AddUnread(0, 1);
  CHECK(totals.Take(0, 0).is_known);
  CHECK_FALSE(totals.Take(0, 1).is_known);  // a part of the sum is missing
  totals.Begin();
  CHECK_FALSE(totals.Take(0, 0).is_known);
}

TEST_CASE("perf totals: a removed row takes its sums with it") {
  PerfTotals totals(1, 1);
  for (uint64_t row = 0; row < 3; row++) totals.AddRow();
  totals.Begin();
  for (size_t row = 0; row < 3; row++) {
    totals.AddCount(row, 0, 10 * (row + 1), {1, 1});
    CHECK(totals.Take(row, 0).value == 10 * (row + 1));
  }
  totals.RemoveRow(1);
  CHECK(totals.rows() == 2);
  CHECK(totals.Take(1, 0).value == 30);
}

TEST_CASE("tasks: threads of this process, and a process that ends while it is watched") {
  const std::vector<Task> tasks = ListThreads(getpid());
  REQUIRE(!tasks.empty());
  CHECK(std::count(tasks.begin(), tasks.end(), Task{getpid(), getpid()}) == 1);
  CHECK(ThreadStartNs({getpid(), getpid()}) > 0);
  CHECK(ThreadStartNs({getpid(), 4194304}) == 0);
  CHECK(ListThreads(4194304).empty());
  CHECK(std::string(TaskWatch::Open(4194304).status.code()) == "ERR_GONE");

  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  const Result<TaskWatch> watch = TaskWatch::Open(child);
  REQUIRE(watch.ok());
  CHECK_FALSE(watch.value.IsGone());
  kill(child, SIGKILL);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  CHECK(watch.value.IsGone());  // a zombie
  waitpid(child, nullptr, 0);
  CHECK(watch.value.IsGone());
}
