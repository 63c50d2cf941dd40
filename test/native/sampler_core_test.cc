#include <doctest/doctest.h>

#include <chrono>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/sampler_core.h"
#include "sanitized.h"
#include "test_sources.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;

// Factories are plain functions: they find the state of their test by the source's instance. Never
// destroyed: a thread that is left behind may still look.
std::map<std::string, TestSourceState*>& States() {
  static auto& states = *new std::map<std::string, TestSourceState*>;
  return states;
}

Result<std::unique_ptr<Source>> Works(const SourceRequest& request, StateSink& /*states*/) {
  return std::unique_ptr<Source>(new TestSource(States()[request.instance]));
}
Result<std::unique_ptr<Source>> Counts(const SourceRequest& request, StateSink& /*states*/) {
  return std::unique_ptr<Source>(new TestSource(States()[request.instance], TableKind::kEvent));
}
Result<std::unique_ptr<Source>> Threaded(const SourceRequest& request, StateSink& /*states*/) {
  return std::unique_ptr<Source>(new ThreadedTestSource(States()[request.instance]));
}
// Two tables whose ids mean the same names, and one with names of its own.
class NamingSource final : public Source {
 public:
  NamingSource() {
    for (const char* suffix : {"a", "b", "alone"}) {
      TableSpec spec;
      spec.suffix = suffix;
      if (spec.suffix != "alone") spec.names = "name";
      spec.columns = {{.name = "time", .type = ColumnType::kTime, .nullable = false},
                      {.name = "what", .type = ColumnType::kNameId}};
      specs_.push_back(std::move(spec));
    }
  }
  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return specs_; }
  void Sample(size_t table, int64_t tick_ns, TableWriter& rows) override {
    if (!rows.BeginTick(tick_ns, 1) || !rows.BeginRow(tick_ns)) return;
    rows.SetCode(1, rows.names(1).Code("of " + specs_[table].suffix));
    rows.EndRow();
    rows.EndTick();
  }

 private:
  std::vector<TableSpec> specs_;
};
Result<std::unique_ptr<Source>> Names(const SourceRequest& /*request*/, StateSink& /*states*/) {
  return std::unique_ptr<Source>(new NamingSource());
}
Result<std::unique_ptr<Source>> Lacks(const SourceRequest& /*request*/, StateSink& /*states*/) {
  return Status("ERR_UNAVAILABLE", "no such thing here").WithSource("open", 2);
}
Result<std::unique_ptr<Source>> Refuses(const SourceRequest& /*request*/, StateSink& /*states*/) {
  return Status("ERR_PERMISSION", "not allowed").WithSource("open", 13);
}

SamplerSource Ask(SourceFactory factory,
                  const std::string& name,
                  int64_t interval_ns,
                  bool optional = false) {
  SamplerSource source;
  source.request.name = name;
  source.request.instance = name;
  source.request.interval_ns = interval_ns;
  source.factory = factory;
  source.optional = optional;
  return source;
}

SamplerCore* Open(std::vector<SamplerSource> sources, int64_t batch_ms = 20) {
  auto* core = new SamplerCore(std::move(sources), {.batch_ns = batch_ms * kMs});
  REQUIRE(core->Open([](void* /*none*/) {}, nullptr).ok());
  const int64_t deadline_ns = MonotonicNs() + 20'000 * kMs;
  while (core->phase() == SamplerCore::Phase::kOpening && MonotonicNs() < deadline_ns) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return core;
}

void Close(SamplerCore* core) {
  core->Stop();
  core->Unref();
}

uint64_t DrainRows(SamplerCore* core, size_t wanted) {
  uint64_t rows = 0;
  for (;;) {
    size_t table = 0;
    const DeliveredSlab one = core->Take(&table);
    if (one.slab == nullptr) return rows;
    if (table == wanted) rows += one.slab->rows_;
    one.slab->Unref();
  }
}

TEST_CASE("tables that share their names share one list and one table of names") {
  SamplerCore* core = Open({Ask(Names, "cuda", 1 * kMs), Ask(Names, "cuda@2", 1 * kMs)});
  REQUIRE(core->phase() == SamplerCore::Phase::kOpened);
  const auto& tables = core->tables();
  REQUIRE(tables.size() == 6);
  CHECK(tables[0]->names_table == "cuda.name");
  CHECK(tables[1]->names_table == "cuda.name");
  CHECK(tables[2]->names_table == "cuda.alone.name");
  CHECK(tables[3]->names_table == "cuda@2.name");
  NameList& shared = tables[0]->writer->names(1);
  CHECK(&shared == &tables[1]->writer->names(1));
  CHECK(&shared != &tables[2]->writer->names(1));
  CHECK(&shared != &tables[3]->writer->names(1));
  CHECK(shared.Since(0) == std::vector<std::string>{"of a", "of b"});
  Close(core);
}

TEST_CASE("a sampler runs several sources for exactly its duration and counts from zero") {
  TestSourceState fast;
  TestSourceState slow;
  States() = {{"fast", &fast}, {"slow", &slow}};
  SamplerCore* core = Open({Ask(Works, "fast", kMs), Ask(Works, "slow", 50 * kMs)});
  REQUIRE(core->phase() == SamplerCore::Phase::kOpened);
  REQUIRE(core->tables().size() == 2);
  CHECK(core->tables()[1]->name == "slow");
  CHECK(core->Statistics().tables[0].ticks == 0);  // the measured calls are nobody's rows
  REQUIRE(core->Start(300 * kMs).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(350));
  core->Stop();
  const SamplerStatistics statistics = core->Statistics();
  CHECK(statistics.tables[0].ticks + statistics.tables[0].missed == 300);
  CHECK(statistics.tables[1].ticks + statistics.tables[1].missed == 6);
  CHECK(statistics.tables[0].rows == statistics.tables[0].ticks);
  CHECK(statistics.tables[0].costs[0].calls == statistics.tables[0].ticks);
  CHECK(statistics.cpu_ns > 0);
  CHECK(DrainRows(core, 0) == statistics.tables[0].ticks);
  CHECK(core->StatesSince(0).empty());
  CHECK(fast.alive == 0);
  CHECK(slow.alive == 0);
  Close(core);
}

TEST_CASE("what the machine lacks is a state, what is forbidden a failure") {
  TestSourceState state;
  States() = {{"works", &state}};
  SUBCASE("a lack beside a source that works") {
    SamplerCore* core = Open({Ask(Lacks, "lacks", kMs), Ask(Works, "works", kMs)});
    REQUIRE(core->phase() == SamplerCore::Phase::kOpened);
    const std::vector<StateRecord> states = core->StatesSince(0);
    REQUIRE(states.size() == 1);
    CHECK(states[0].source == "lacks");
    CHECK(states[0].change.state == "unavailable");
    CHECK(states[0].change.reason == "not_supported");
    CHECK(states[0].change.code == 2);
    CHECK(core->StatesSince(1).empty());
    CHECK(core->StatesSince(0).empty());  // what was taken is not kept for hours
    Close(core);
  }
  SUBCASE("nothing but lacks") {
    SamplerCore* core = Open({Ask(Lacks, "lacks", kMs)});
    REQUIRE(core->phase() == SamplerCore::Phase::kFailed);
    CHECK(std::string(core->failure().code()) == "ERR_UNAVAILABLE");
    Close(core);
  }
  SUBCASE("forbidden") {
    SamplerCore* core = Open({Ask(Refuses, "refuses", kMs), Ask(Works, "works", kMs)});
    REQUIRE(core->phase() == SamplerCore::Phase::kFailed);
    CHECK(std::string(core->failure().code()) == "ERR_PERMISSION");
    Close(core);
  }
  SUBCASE("forbidden, but not insisted on") {
    SamplerCore* core = Open({Ask(Refuses, "refuses", kMs, true), Ask(Works, "works", kMs)});
    REQUIRE(core->phase() == SamplerCore::Phase::kOpened);
    CHECK(core->StatesSince(0)[0].change.reason == "no_permission");
    Close(core);
  }
  CHECK(state.alive == 0);
}

TEST_CASE("a source that cannot keep its rate says which it can") {
  TestSourceState state;
  state.spend_ns = 3 * kMs;
  States() = {{"slow", &state}};
  SamplerCore* core = Open({Ask(Works, "slow", kMs)});
  REQUIRE(core->phase() == SamplerCore::Phase::kOpened);
  const std::vector<StateRecord> states = core->StatesSince(0);
  REQUIRE(states.size() == 1);
  CHECK(states[0].change.state == "degraded");
  CHECK(states[0].change.reason == "too_slow");
  CHECK(states[0].change.code >= 3 * kMs);
  Close(core);
}

TEST_CASE("stop returns while a driver call hangs, at every stage") {
  TestSourceState state;
  TestSourceState other;
  States() = {{"hangs", &state}, {"goes on", &other}};
  const auto stop = [](SamplerCore* core) {
    const int64_t before_ns = MonotonicNs();
    core->Stop();
    const int64_t took_ns = MonotonicNs() - before_ns;
    if (!kSanitized) CHECK(took_ns < 900 * kMs);
  };
  SUBCASE("while opening") {
    state.hang = 1;
    auto* core = new SamplerCore({Ask(Works, "hangs", kMs)}, {});
    REQUIRE(core->Open([](void* /*none*/) {}, nullptr).ok());
    while (state.hanging == 0) std::this_thread::yield();
    stop(core);
    CHECK_FALSE(core->has_tables());  // the opener may go on to make them
    stop(core);
    core->Unref();
  }
  SUBCASE("while running") {
    SamplerCore* core = Open({Ask(Works, "hangs", kMs), Ask(Works, "goes on", kMs)});
    REQUIRE(core->Start(0).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    state.hang = 1;
    while (state.hanging == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop(core);
    const SamplerStatistics statistics = core->Statistics();
    const TableStatistics& table = statistics.tables[0];
    CHECK(table.ticks >= 1);
    CHECK(table.missed >= 40);  // what passed while it hung
    REQUIRE(core->StatesSince(0).size() >= 1);
    CHECK(core->StatesSince(0)[0].change.reason == "hung");
    CHECK(DrainRows(core, 0) > 0);
    stop(core);
    core->Unref();
  }
  CHECK(state.alive == (state.calls > 0 ? 1 : 0));
  state.Release();
  const int64_t deadline_ns = MonotonicNs() + 20'000 * kMs;
  while (state.alive + other.alive != 0 && MonotonicNs() < deadline_ns) std::this_thread::yield();
  CHECK(state.alive == 0);
  CHECK(other.alive == 0);
}

TEST_CASE("samplers that hang are stopped one after the other within a second") {
  TestSourceState state;
  States() = {{"hangs", &state}};
  std::vector<SamplerCore*> cores;
  for (int i = 0; i < 8; i++) {
    cores.push_back(Open({Ask(Works, "hangs", kMs)}));
    REQUIRE(cores.back()->Start(0).ok());
  }
  state.hang = 1;
  while (state.hanging < 8) std::this_thread::yield();
  const int64_t before_ns = MonotonicNs();
  for (SamplerCore* core : cores) Close(core);
  if (!kSanitized) CHECK(MonotonicNs() - before_ns < 900 * kMs);
  state.Release();
  while (state.alive != 0) std::this_thread::yield();
}

TEST_CASE("memory is that of slabs in every state until they are taken, then it is the taker's") {
  TestSourceState state;
  States() = {{"kept", &state}};
  SamplerCore* core = Open({Ask(Works, "kept", kMs)}, 10);
  const int64_t unwritten = core->Statistics().memory_bytes;
  REQUIRE(core->Start(200 * kMs).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const SamplerStatistics running = core->Statistics();
  CHECK(running.undelivered_bytes > 0);
  CHECK(running.memory_bytes >= unwritten + running.undelivered_bytes);
  CHECK(running.delivered_bytes == 0);
  core->Stop();
  std::vector<Slab*> taken;
  int64_t bytes = 0;
  for (size_t table = 0;;) {
    Slab* slab = core->Take(&table).slab;
    if (slab == nullptr) break;
    taken.push_back(slab);
    bytes += static_cast<int64_t>(slab->layout().bytes);
  }
  REQUIRE(taken.size() > 5);
  const SamplerStatistics all = core->Statistics();
  CHECK(all.delivered_bytes == bytes);
  CHECK(all.memory_bytes < unwritten);  // queues are left: the empty slabs are freed
  for (size_t i = 0; i + 1 < taken.size(); i++) taken[i]->Unref();
  const int64_t last = static_cast<int64_t>(taken.back()->layout().bytes);
  CHECK(core->Statistics().delivered_bytes == last);
  core->Unref();
  taken.back()->Unref();  // outlives the sampler, and what counts it
}

TEST_CASE("a slab that its taker gave back is used again, empty") {
  TestSourceState state;
  States() = {{"again", &state}};
  SamplerCore* core = Open({Ask(Works, "again", kMs)}, 10);
  REQUIRE(core->Start(0).ok());
  std::set<const uint8_t*> seen;
  std::vector<Slab*> kept;
  size_t again = 0;
  const int64_t until_ns = MonotonicNs() + 10'000 * kMs;
  while (again < 5 && MonotonicNs() < until_ns) {
    size_t table = 0;
    Slab* slab = core->Take(&table).slab;
    if (slab == nullptr) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    REQUIRE(slab->rows_ > 0);
    const size_t begin = slab->layout().columns[0].data;
    const auto* times = reinterpret_cast<const int64_t*>(slab->base() + begin);
    for (uint32_t row = 1; row < slab->rows_; row++) CHECK(times[row] > times[row - 1]);
    for (uint32_t row = slab->rows_; row < slab->layout().capacity; row++) CHECK(times[row] == 0);
    again += seen.insert(slab->base()).second ? 0 : 1;
    std::memset(slab->base(), 0xFF, slab->layout().bytes);
    slab->GiveBack();
  }
  CHECK(again == 5);
  core->Stop();
  for (size_t table = 0;;) {
    Slab* slab = core->Take(&table).slab;
    if (slab == nullptr) break;
    kept.push_back(slab);
  }
  if (!kept.empty()) kept.front()->GiveBack();  // nobody would use it any more
  CHECK(DrainRows(core, 0) == 0);
  core->Unref();
  for (size_t i = 1; i < kept.size(); i++) kept[i]->GiveBack();
}

TEST_CASE("the last tick has no entity that vanished, and grows without loss") {
  TestSourceState state;
  States() = {{"keyed", &state}};
  state.keys = 3;
  SamplerCore* core = Open({Ask(Works, "keyed", kMs)});
  REQUIRE(core->Start(0).ok());
  const auto rows_of_last = [&] {
    const uint64_t calls = state.calls;
    while (state.calls < calls + 2) std::this_thread::yield();
    Slab* slab = core->Latest(0);
    REQUIRE(slab != nullptr);
    const uint32_t rows = slab->rows_;
    slab->Unref();
    return rows;
  };
  CHECK(rows_of_last() == 3);
  state.keys = 700;  // far beyond what slabs were made for
  CHECK(rows_of_last() == 700);
  state.keys = 1;
  CHECK(rows_of_last() == 1);
  state.keys = 0;
  CHECK(rows_of_last() == 0);
  core->Stop();
  CHECK(core->Statistics().tables[0].dropped_rows == 0);
  CHECK(DrainRows(core, 0) == core->Statistics().tables[0].rows);
  Close(core);
}

TEST_CASE("a source with threads of its own writes, pauses, ends and keeps its counts") {
  TestSourceState state;
  States() = {{"threaded", &state}};
  SamplerCore* core = Open({Ask(Threaded, "threaded", kMs)});
  REQUIRE(core->phase() == SamplerCore::Phase::kOpened);
  CHECK(state.calls == 0);  // it is not called to be measured
  REQUIRE(core->Start(0).ok());
  while (state.calls < 5) std::this_thread::yield();
  core->SetPaused(true);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const uint64_t calls = state.calls;
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(state.calls == calls);
  core->Stop();
  CHECK(state.alive == 0);
  const SamplerStatistics statistics = core->Statistics();
  CHECK(statistics.tables[0].ticks == calls);
  CHECK(statistics.tables[0].costs.at(0).name == "call");
  CHECK(DrainRows(core, 0) == calls);
  Close(core);
}

TEST_CASE("counts of events start at zero with the sampler") {
  TestSourceState state;
  state.keys = 2;
  States() = {{"events", &state}};
  SamplerCore* core = Open({Ask(Counts, "events", kMs)});
  REQUIRE(core->Start(50 * kMs).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(80));
  core->Stop();
  const TableWriter& writer = *core->tables()[0]->writer;
  CHECK(writer.event_counts().Count(0) == core->Statistics().tables[0].ticks);
  CHECK(writer.event_counts().Count(1) == core->Statistics().tables[0].ticks);
  Close(core);
}

TEST_CASE("samplers come and go while their threads work") {
  TestSourceState state;
  States() = {{"busy", &state}};
  for (int i = 0; i < 20; i++) {
    SamplerCore* core = Open({Ask(Works, "busy", 100'000)}, 1);
    REQUIRE(core->Start(0).ok());
    if (i % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(i % 5));
    if (i % 3 == 0) core->SetPaused(true);
    if (i % 4 == 0) core->Flush();
    if (i % 5 != 0) core->Stop();
    DrainRows(core, 0);
    Close(core);
  }
  CHECK(state.alive == 0);
}

}  // namespace
}  // namespace warpgauge
