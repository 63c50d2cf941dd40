#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gpu/cupti/trace_clock.h"
#include "gpu/cupti/trace_rows.h"
#include "lane_writer.h"
#include "row_recorder.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;
// Some day of CLOCK_REALTIME, and 1,000 s after boot.
constexpr uint64_t kDay = 1'700'000'000'000'000'000;
constexpr int64_t kBoot = 1000 * kSecond;

// All tables, as the source has them.
class Tables {
 public:
  explicit Tables(size_t most_name_bytes = TraceRows::kMostNameBytes) : rows_(most_name_bytes) {
    std::array<TableWriter*, kTraceTables> writers{};
    for (size_t i = 0; i < kTraceTables; i++) {
      const TableSpec spec = DescribeTraceTable(static_cast<TraceTable>(i), 2 * kMs, true);
      tables_.push_back(std::make_unique<RowRecorder>(spec, 64, &names_));
      writers[i] = &tables_.back()->writer();
    }
    rows_.Attach(writers, 0);
    rows_.BeginLook(kBoot);
  }
  RowRecorder& operator[](TraceTable table) {
    rows_.EndLook();
    return *tables_[static_cast<size_t>(table)];
  }
  TraceRows& rows() { return rows_; }
  [[nodiscard]] const NameList& names() const { return names_; }
  size_t Rows() {
    size_t rows = 0;
    for (size_t i = 0; i < kTraceTables; i++) rows += (*this)[static_cast<TraceTable>(i)].size();
    return rows;
  }

 private:
  NameList names_;
  std::vector<std::unique_ptr<RowRecorder>> tables_;
  TraceRows rows_;
};

wg_record Span(wg_record_kind kind, int64_t start_ns, int64_t duration_ns) {
  wg_record record{};
  record.kind = kind;
  record.start = kDay + static_cast<uint64_t>(start_ns);
  record.end = record.start + static_cast<uint64_t>(duration_ns);
  record.device = record.context = record.stream = record.name = WG_NO_ID;
  record.correlation = 99;
  return record;
}

void Give(TraceDecoder& decoder, const std::vector<wg_record>& records) {
  decoder.Take(records.data(), records.size());
}

TEST_CASE("times lie on straight lines between pairs") {
  TraceClock clock;
  CHECK(clock.empty());
  clock.Add(ClockPair(kBoot, kDay));
  CHECK(clock.ToMonotonic(kDay) == kBoot);
  CHECK(clock.ToMonotonic(kDay + 500) == kBoot + 500);
  CHECK(clock.ToMonotonic(kDay - 500) == kBoot - 500);
  // NTP slews CLOCK_REALTIME by 500 ppm: 10 us in 20 ms.
  const TraceClock::News news = clock.Add(ClockPair(kBoot + 20 * kMs, kDay + 20 * kMs + 10'000));
  CHECK(news.step_ns == 0);
  CHECK_FALSE(news.is_foreign);
  CHECK(clock.ToMonotonic(kDay + 20 * kMs + 10'000) == kBoot + 20 * kMs);
  CHECK(std::abs(clock.ToMonotonic(kDay + 10 * kMs + 5'000) - (kBoot + 10 * kMs)) <= 1);
  CHECK(std::abs(clock.ToMonotonic(kDay + 40 * kMs + 20'000) - (kBoot + 40 * kMs)) <= 1);
}

TEST_CASE("a step of CLOCK_REALTIME is told, and times on both sides of it stay where they were") {
  for (const int64_t step : {3600 * kSecond, -3600 * kSecond, 5 * kMs, -5 * kMs}) {
    CAPTURE(step);
    TraceClock clock;
    clock.Add(ClockPair(kBoot, kDay));
    clock.Add(ClockPair(kBoot + 20 * kMs, kDay + 20 * kMs));
    const uint64_t after = kDay + static_cast<uint64_t>(step);
    const TraceClock::News news = clock.Add(ClockPair(kBoot + 40 * kMs, after + 40 * kMs));
    CHECK(news.step_ns == step);
    clock.Add(ClockPair(kBoot + 60 * kMs, after + 60 * kMs));
    CHECK(clock.ToMonotonic(kDay + 10 * kMs) == kBoot + 10 * kMs);
    CHECK(clock.ToMonotonic(kDay + 21 * kMs) == kBoot + 21 * kMs);
    CHECK(clock.ToMonotonic(after + 50 * kMs) == kBoot + 50 * kMs);
    CHECK(clock.ToMonotonic(after + 70 * kMs) == kBoot + 70 * kMs);
    if (std::abs(step) > 40 * kMs) {
      CHECK(clock.ToMonotonic(after + 39 * kMs) == kBoot + 39 * kMs);
    }
  }
}

TEST_CASE("what was before a step back stays there when it comes with the pair after it") {
  for (const int64_t step : {-3 * kMs, -5 * kMs, -30 * kMs, -60 * kMs, -100 * kMs}) {
    CAPTURE(step);
    TraceClock clock;
    clock.Add(ClockPair(kBoot, kDay));
    clock.Add(ClockPair(kBoot + 20 * kMs, kDay + 20 * kMs));
    const uint64_t after = kDay + static_cast<uint64_t>(step);
    CHECK(clock.Add(ClockPair(kBoot + 40 * kMs, after + 40 * kMs)).step_ns == step);
    for (const int64_t ms : {20, 21, 30, 39}) {
      CHECK(clock.ToMonotonic(kDay + static_cast<uint64_t>(ms * kMs)) == kBoot + ms * kMs);
    }
    // What began long before, and what ended while the flush was running.
    if (step <= -60 * kMs) CHECK(clock.ToMonotonic(kDay + 10 * kMs) == kBoot + 10 * kMs);
    if (step <= -30 * kMs) CHECK(clock.ToMonotonic(after + 41 * kMs) == kBoot + 41 * kMs);
  }
}

TEST_CASE("a clock of another tool has any origin and any rate") {
  TraceClock clock;
  // 2.4 ticks a nanosecond, from 0 on.
  const auto pair = [](int64_t ns) {
    wg_record record = ClockPair(kBoot + ns, static_cast<uint64_t>(ns * 12 / 5));
    record.of.clock.realtime_ns = static_cast<int64_t>(kDay) + ns;
    return record;
  };
  CHECK(clock.Add(pair(1 * kMs)).is_foreign);
  CHECK_FALSE(clock.Add(pair(21 * kMs)).is_foreign);  // told once
  CHECK(clock.Add(pair(41 * kMs)).step_ns == 0);
  CHECK(std::abs(clock.ToMonotonic(static_cast<uint64_t>(31 * kMs * 12 / 5)) -
                 (kBoot + 31 * kMs)) <= 2);
  CHECK(std::abs(clock.ToMonotonic(static_cast<uint64_t>(81 * kMs * 12 / 5)) -
                 (kBoot + 81 * kMs)) <= 2);
}

TEST_CASE("pairs that cannot be, and those of a writer that was not scheduled, are left out") {
  TraceClock clock;
  wg_record bad = ClockPair(kBoot, kDay);
  bad.of.clock.monotonic_after_ns = bad.of.clock.monotonic_before_ns - 1;
  CHECK(clock.Add(bad).is_refused);
  bad = ClockPair(INT64_MAX / 2, kDay);
  CHECK(clock.Add(bad).is_refused);
  CHECK(clock.empty());
  clock.Add(ClockPair(kBoot, kDay));
  CHECK(clock.Add(ClockPair(kBoot - 1, kDay)).is_refused);  // back in time
  // Read 2 ms apart: half of that is the error of it.
  wg_record wide = ClockPair(kBoot + 20 * kMs, kDay + 20 * kMs, 4 * kMs);
  wide.start += 2 * kMs;
  clock.Add(wide);
  CHECK(clock.ToMonotonic(kDay + 20 * kMs) == kBoot + 20 * kMs);
}

TEST_CASE("a copy becomes a row with the words of its numbers") {
  Tables tables;
  TraceDecoder decoder(tables.rows());
  decoder.set_pid(4711);
  wg_record copy = Span(WG_RECORD_MEMCPY, 5 * kMs, 1234);
  copy.device = 1;
  copy.context = 2;
  copy.stream = 3;
  copy.flags = WG_FLAG_ASYNC | WG_FLAG_GRAPH | WG_FLAG_COPIES;
  copy.of.memcpy.bytes = uint64_t{1} << 33;
  copy.of.memcpy.copies = 5;
  copy.of.memcpy.graph = 6;
  copy.of.memcpy.graph_node = uint64_t{7} << 32;
  copy.of.memcpy.copy_kind = 2;
  copy.of.memcpy.source = 3;
  copy.of.memcpy.destination = 1;
  wg_record peer = Span(WG_RECORD_PEER_MEMCPY, 6 * kMs, 10);
  peer.device = 0;
  peer.of.memcpy.copy_kind = 10;
  peer.of.memcpy.destination_device = 1;
  wg_record unknown = Span(WG_RECORD_MEMCPY, 7 * kMs, 10);
  unknown.device = 9;
  unknown.of.memcpy.copy_kind = 99;
  Give(decoder,
       {ClockPair(kBoot, kDay), DeviceIs(0, 0x10), DeviceIs(1, 0x20, true), copy, peer, unknown});
  RowRecorder& rows = tables[TraceTable::kMemcpy];
  REQUIRE(rows.size() == 3);
  CHECK(rows.Time(0) == kBoot + 5 * kMs);
  CHECK(rows.U64(0, "duration_ns") == 1234);
  CHECK(rows.U32(0, "pid") == 4711);
  CHECK(rows.Text(0, "gpu") == "MIG-20212223-2425-2627-2829-2a2b2c2d2e2f");
  CHECK(rows.U32(0, "device") == 1);
  CHECK(rows.Text(0, "direction") == "DtoH");
  CHECK(rows.U64(0, "bytes") == uint64_t{1} << 33);
  CHECK(rows.Text(0, "source_memory") == "device");
  CHECK(rows.Text(0, "destination_memory") == "pageable");
  CHECK(rows.Bool(0, "async") == true);
  CHECK(rows.U32(0, "context") == 2);
  CHECK(rows.U32(0, "stream") == 3);
  CHECK(rows.U32(0, "correlation") == 99);
  CHECK(rows.IsNull(0, "destination_gpu"));
  CHECK(rows.U32(0, "graph") == 6);
  CHECK(rows.U64(0, "graph_node") == uint64_t{7} << 32);
  CHECK(rows.U64(0, "copies") == 5);
  CHECK(rows.Text(1, "gpu") == "GPU-10111213-1415-1617-1819-1a1b1c1d1e1f");
  CHECK(rows.Text(1, "direction") == "PtoP");
  CHECK(rows.Text(1, "destination_gpu") == "MIG-20212223-2425-2627-2829-2a2b2c2d2e2f");
  CHECK(rows.IsNull(1, "copies"));
  CHECK(rows.IsNull(1, "graph"));
  CHECK(rows.Bool(1, "async") == false);
  // A GPU that was not told of and a direction that does not exist are null, and the row stays.
  CHECK(rows.IsNull(2, "gpu"));
  CHECK(rows.U32(2, "device") == 9);
  CHECK(rows.IsNull(2, "direction"));
  CHECK(rows.IsNull(2, "context"));
  CHECK(decoder.events() == 3);
  CHECK(decoder.rejected() == 0);
}

TEST_CASE("names come in pieces, before their first use, and are the same in all tables") {
  Tables tables;
  TraceDecoder decoder(tables.rows());
  const std::string longest(WG_NAME_LONGEST, 'k');
  std::vector<wg_record> records = {
      ClockPair(kBoot, kDay), NameIs(0, "axpy<float>"), NameIs(1, "cuMemcpyHtoD_v2")};
  for (size_t at = 0; at < longest.size(); at += WG_NAME_CHUNK) {
    records.push_back(NameIs(2, longest, at));
  }
  wg_record kernel = Span(WG_RECORD_KERNEL, 1 * kMs, 10);
  kernel.flags = WG_FLAG_CLUSTER;
  kernel.of.kernel.grid_x = 1;
  kernel.of.kernel.grid_y = 2;
  kernel.of.kernel.grid_z = 3;
  kernel.of.kernel.block_x = 4;
  kernel.of.kernel.block_z = 6;
  kernel.of.kernel.cluster_y = 8;
  kernel.of.kernel.registers_per_thread = 40;
  kernel.of.kernel.dynamic_shared_bytes = 4096;
  for (const uint32_t name : {0U, 2U, 3U, uint32_t{WG_NO_ID}}) {
    kernel.name = name;
    records.push_back(kernel);
  }
  kernel.flags = 0;
  records.push_back(NameIs(0, "another"));  // an id keeps its name
  kernel.name = 0;
  records.push_back(kernel);
  wg_record call = Span(WG_RECORD_API, 1 * kMs, 10);
  call.name = 1;
  call.of.api.cbid = 277;
  call.of.api.tid = 4712;
  call.of.api.result = 700;
  records.push_back(call);
  Give(decoder, records);
  RowRecorder& kernels = tables[TraceTable::kKernel];
  REQUIRE(kernels.size() == 5);
  CHECK(kernels.Text(0, "name") == "axpy<float>");
  CHECK(kernels.Text(1, "name") == longest);
  CHECK(kernels.IsNull(2, "name"));  // was never told
  CHECK(kernels.IsNull(3, "name"));
  CHECK(kernels.Text(4, "name") == "axpy<float>");
  CHECK(kernels.U32(0, "grid_z") == 3);
  CHECK(kernels.U32(0, "block_x") == 4);
  CHECK(kernels.U32(0, "block_z") == 6);
  CHECK(kernels.U32(0, "cluster_y") == 8);
  CHECK(kernels.IsNull(4, "cluster_y"));
  CHECK(kernels.U32(0, "registers_per_thread") == 40);
  CHECK(kernels.U32(0, "dynamic_shared_bytes") == 4096);
  CHECK(kernels.U32(0, "local_bytes_per_thread") == 0);
  CHECK(kernels.IsNull(0, "pid"));  // not known
  RowRecorder& calls = tables[TraceTable::kApi];
  CHECK(calls.Text(0, "name") == "cuMemcpyHtoD_v2");
  CHECK(calls.Text(0, "api") == "driver");
  CHECK(calls.U32(0, "tid") == 4712);
  CHECK(calls.I32(0, "result") == 700);
  CHECK(calls.IsNull(0, "external_kind"));
}

TEST_CASE("an external correlation is told with the call that it precedes") {
  Tables tables;
  TraceDecoder decoder(tables.rows());
  wg_record external{};
  external.kind = WG_RECORD_EXTERNAL;
  external.correlation = 7;
  external.of.external.external = 4;
  external.of.external.id = uint64_t{1} << 40;
  wg_record with = Span(WG_RECORD_API, 1 * kMs, 10);
  with.flags = WG_FLAG_RUNTIME;
  with.correlation = 7;
  wg_record without = with;
  without.correlation = 7 + 8192;  // the same place in any table of 2^13
  Give(decoder, {ClockPair(kBoot, kDay), external, with, without});
  RowRecorder& calls = tables[TraceTable::kApi];
  REQUIRE(calls.size() == 2);
  CHECK(calls.Text(0, "api") == "runtime");
  CHECK(calls.Text(0, "external_kind") == "custom1");
  CHECK(calls.U64(0, "external_id") == uint64_t{1} << 40);
  CHECK(calls.IsNull(1, "external_kind"));
  CHECK(calls.IsNull(1, "external_id"));
}

TEST_CASE("the other kinds have their rows") {
  Tables tables;
  TraceDecoder decoder(tables.rows());
  wg_record set = Span(WG_RECORD_MEMSET, 1 * kMs, 10);
  set.of.memset.bytes = 4096;
  set.of.memset.value = 0xff;
  set.of.memset.memory = 5;
  wg_record fault = Span(WG_RECORD_UNIFIED_MEMORY, 2 * kMs, 0);
  fault.of.unified_memory.counter = 3;
  fault.of.unified_memory.address = 0x7f00'0000'0000;
  fault.of.unified_memory.source = fault.of.unified_memory.destination = WG_NO_ID;
  wg_record migration = Span(WG_RECORD_UNIFIED_MEMORY, 3 * kMs, 77);
  migration.of.unified_memory.counter = 1;
  migration.of.unified_memory.value = 65536;
  migration.of.unified_memory.source = WG_NO_ID;
  migration.of.unified_memory.destination = 2;
  wg_record wait = Span(WG_RECORD_SYNCHRONIZATION, 4 * kMs, 10);
  wait.of.synchronization.type = 3;
  wait.of.synchronization.event = WG_NO_ID;
  wait.stream = 7;
  wg_record cost = Span(WG_RECORD_OVERHEAD, 5 * kMs, 10);
  cost.of.overhead.overhead = 0x40000;
  wg_record compiler = Span(WG_RECORD_OVERHEAD, 5 * kMs, 10);
  compiler.of.overhead.overhead = 1;
  compiler.correlation = 0;
  Give(decoder, {ClockPair(kBoot, kDay), set, fault, migration, wait, cost, compiler});
  RowRecorder& sets = tables[TraceTable::kMemset];
  CHECK(sets.U64(0, "bytes") == 4096);
  CHECK(sets.U32(0, "value") == 0xff);
  CHECK(sets.Text(0, "memory") == "managed");
  RowRecorder& managed = tables[TraceTable::kUnifiedMemory];
  CHECK(managed.Text(0, "counter") == "cpu_page_fault");
  CHECK(managed.IsNull(0, "duration_ns"));
  CHECK(managed.U64(0, "address") == 0x7f00'0000'0000);
  CHECK(managed.IsNull(0, "source_device"));
  CHECK(managed.U64(1, "duration_ns") == 77);
  CHECK(managed.U64(1, "value") == 65536);
  CHECK(managed.U32(1, "destination_device") == 2);
  RowRecorder& waits = tables[TraceTable::kSynchronization];
  CHECK(waits.Text(0, "type") == "stream");
  CHECK(waits.IsNull(0, "context"));
  CHECK(waits.U32(0, "stream") == 7);
  CHECK(waits.IsNull(0, "event"));
  CHECK(waits.U32(0, "correlation") == 99);
  RowRecorder& costs = tables[TraceTable::kOverhead];
  CHECK(costs.Text(0, "overhead") == "module_loading");
  CHECK(costs.U32(0, "correlation") == 99);
  CHECK(costs.Text(1, "overhead") == "compiler");
  CHECK(costs.IsNull(1, "correlation"));
}

TEST_CASE("a range is told when it ends; without an end, and as an instant, it has no duration") {
  Tables tables;
  TraceDecoder decoder(tables.rows());
  const auto mark = [](uint32_t id, uint32_t flags, int64_t at, uint32_t name) {
    wg_record record = Span(WG_RECORD_MARKER, at, 0);
    record.of.marker.id = id;
    record.of.marker.marker_flags = flags;
    record.of.marker.domain = WG_NO_ID;
    record.of.marker.tid = 5;
    record.name = name;
    return record;
  };
  Give(decoder,
       {ClockPair(kBoot, kDay),
        NameIs(0, "step"),
        NameIs(1, "load"),
        mark(1, WG_MARKER_START, 1 * kMs, 0),
        mark(2, WG_MARKER_START, 2 * kMs, 1),
        mark(3, WG_MARKER_INSTANT, 3 * kMs, 1),
        mark(1, WG_MARKER_END, 4 * kMs, WG_NO_ID),
        mark(8, WG_MARKER_END, 4 * kMs, WG_NO_ID)});
  RowRecorder& rows = tables[TraceTable::kMarker];
  REQUIRE(rows.size() == 2);
  CHECK(rows.IsNull(0, "duration_ns"));
  CHECK(rows.Time(1) == kBoot + 1 * kMs);
  CHECK(rows.U64(1, "duration_ns") == 3 * kMs);
  CHECK(rows.Text(1, "name") == "step");
  CHECK(rows.U32(1, "tid") == 5);
  decoder.Finish();
  REQUIRE(tables[TraceTable::kMarker].size() == 3);
  CHECK(rows.Text(2, "name") == "load");
  CHECK(rows.IsNull(2, "duration_ns"));
}

TEST_CASE("records that cannot be are counted and leave no row") {
  Tables tables;
  TraceDecoder decoder(tables.rows());
  Give(decoder, {ClockPair(kBoot, kDay)});
  wg_record none{};
  wg_record kind = Span(WG_RECORD_MEMCPY, 1, 1);
  kind.kind = 77;
  wg_record no_start = Span(WG_RECORD_KERNEL, 1, 1);
  no_start.start = 0;
  wg_record backwards = Span(WG_RECORD_MEMSET, 1000, 1);
  backwards.end = backwards.start - 1;
  wg_record no_boot = Span(WG_RECORD_MEMCPY, 0, 1);
  no_boot.start = 1;
  no_boot.end = 2;
  wg_record name = NameIs(WG_MOST_NAMES, "far");
  wg_record cut = NameIs(0, "short");
  cut.of.text.length = WG_NAME_CHUNK + 1;
  wg_record beyond = NameIs(0, "short");
  beyond.of.text.total = 3;
  wg_record gap = NameIs(0, std::string(200, 'x'), WG_NAME_CHUNK);  // its beginning is missing
  wg_record endless = NameIs(0, "");
  endless.of.text.total = 10;
  wg_record device = DeviceIs(5000, 1);
  const std::vector<wg_record> bad = {
      none, kind, no_start, backwards, no_boot, name, cut, beyond, gap, endless, device};
  Give(decoder, bad);
  CHECK(decoder.rejected() == bad.size());
  CHECK(tables.Rows() == 0);
}

TEST_CASE("names take no more memory than their writer's table would") {
  constexpr uint32_t kFit = uint32_t{WG_MOST_NAME_BYTES} / WG_NAME_LONGEST;
  constexpr uint32_t kMore = 64;
  Tables tables(size_t{kFit + kMore} * WG_NAME_LONGEST);
  const auto give_names = [](TraceDecoder& decoder, uint32_t first, uint32_t count, char letter) {
    std::vector<wg_record> records;
    for (uint32_t id = first; id < first + count; id++) {
      std::string name(WG_NAME_LONGEST, letter);
      name.replace(0, 5, std::to_string(10'000 + id));
      for (size_t at = 0; at < name.size(); at += WG_NAME_CHUNK) {
        records.push_back(NameIs(id, name, at));
      }
    }
    Give(decoder, records);
  };
  TraceDecoder decoder(tables.rows());
  give_names(decoder, WG_MOST_NAMES - kFit, kFit, 'n');
  CHECK(decoder.rejected() == 0);
  give_names(decoder, WG_MOST_NAMES - 10, 10, 'n');  // told again, as in a file
  CHECK(decoder.rejected() == 0);
  give_names(decoder, 0, 1, 'm');
  CHECK(decoder.rejected() == 1);
  CHECK(tables.names().size() == kFit);
  // And all lanes together no more than some of them.
  TraceDecoder other(tables.rows());
  give_names(other, 0, kMore + 1, 'o');
  CHECK(other.rejected() == 1);
  CHECK(tables.names().size() == kFit + kMore);
}

TEST_CASE("without any pair our own reading places the records, and that is told") {
  Tables tables;
  TraceDecoder decoder(tables.rows());
  wg_record copy = Span(WG_RECORD_MEMCPY, 0, 10);
  copy.start = static_cast<uint64_t>(RealtimeNs());
  copy.end = copy.start + 10;
  const int64_t before = MonotonicNs();
  Give(decoder, {copy});
  CHECK(std::abs(*tables[TraceTable::kMemcpy].Time(0) - before) < kSecond);
  CHECK(decoder.TakeClockNews().is_missing);
  CHECK_FALSE(decoder.TakeClockNews().is_missing);
}

}  // namespace
}  // namespace warpgauge
