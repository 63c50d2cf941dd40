#include <doctest/doctest.h>

#include <cstdlib>

#include "core/clock.h"
#include "row_recorder.h"

namespace warpgauge {
namespace {

TableSpec EveryType() {
  TableSpec spec;
  spec.columns = {
      {.name = "time", .type = ColumnType::kTime, .kind = ColumnKind::kKey, .nullable = false},
      {.name = "disk", .type = ColumnType::kName, .kind = ColumnKind::kKey, .nullable = false},
      {.name = "reads", .type = ColumnType::kUint64},
      {.name = "delta", .type = ColumnType::kInt64},
      {.name = "busy_ratio", .type = ColumnType::kFloat64},
      {.name = "link", .type = ColumnType::kUint32},
      {.name = "node", .type = ColumnType::kInt32},
      {.name = "state", .type = ColumnType::kUint8},
      {.name = "ok", .type = ColumnType::kBool},
      {.name = "path", .type = ColumnType::kNameId},
      {.name = "mapped_path", .type = ColumnType::kNameId},
      {.name = "seen", .type = ColumnType::kTime},
  };
  return spec;
}

TableSpec OneCounter() {
  TableSpec spec;
  spec.columns = {{.name = "time", .type = ColumnType::kTime, .nullable = false},
                  {.name = "n", .type = ColumnType::kUint64}};
  return spec;
}

void WriteTick(TableWriter& rows, int64_t time_ns, uint32_t announced, uint32_t written) {
  if (!rows.BeginTick(time_ns, announced)) return;
  for (uint32_t i = 0; i < written; i++) {
    if (!rows.BeginRow(time_ns)) continue;
    rows.SetU64(1, i);
    rows.EndRow();
  }
  rows.EndTick();
}

TEST_CASE("every buffer of a slab starts at 64 bytes and none overlaps") {
  for (const uint32_t capacity : {1u, 7u, 64u, 513u}) {
    const SlabLayout layout = SlabLayout::For(EveryType(), capacity);
    size_t end = 0;
    for (const SlabLayout::Column& column : layout.columns) {
      CHECK(column.data % 64 == 0);
      CHECK(column.data >= end);
      const size_t cell = CellBytes(column.type);
      end = column.data + (cell == 0 ? (capacity + 7) / 8 : cell * capacity);
      if (column.validity == SlabLayout::kNone) continue;
      CHECK(column.validity % 64 == 0);
      CHECK(column.validity >= end);
      end = column.validity + (capacity + 7) / 8;
    }
    CHECK(layout.bytes >= end);
    Slab* slab = Slab::Make(layout);
    REQUIRE(slab != nullptr);
    CHECK(reinterpret_cast<uintptr_t>(slab->base()) % 64 == 0);
    for (size_t i = 0; i < layout.bytes; i++) REQUIRE(slab->base()[i] == 0);
    slab->Unref();
  }
}

TEST_CASE("cells of every type come back and what was not set is null") {
  RowRecorder rows(EveryType(), 3);
  TableWriter& out = rows.writer();
  const int64_t now = MonotonicNs();
  for (int tick = 0; tick < 20; tick++) {
    REQUIRE(out.BeginTick(now + tick, 2));
    REQUIRE(out.BeginRow(now + tick));
    out.SetCode(1, out.names(1).Code("sda"));
    out.SetU64(2, UINT64_MAX);
    out.SetI64(3, -5);
    out.SetF64(4, 0.25);
    out.SetU32(5, 7);
    out.SetI32(6, -1);
    out.SetU8(7, 255);
    out.SetBool(8, tick % 2 == 0);
    out.SetCode(9, out.names(9).Code("/bin/true"));
    out.SetCode(10, out.names(10).Code("/bin/false"));
    out.SetTime(11, now - 1);
    out.EndRow();
    REQUIRE(out.BeginRow(now + tick));
    out.SetCode(1, out.names(1).Code("sdb"));
    out.SetCode(9, -1);
    out.EndRow();
    out.EndTick();
  }
  REQUIRE(rows.size() == 40);
  CHECK(rows.slabs() == 20);  // two rows do not fit beside two others in three
  for (size_t tick = 0; tick < 20; tick++) {
    const size_t full = 2 * tick;
    CHECK(rows.Time(full) == now + static_cast<int64_t>(tick));
    CHECK(rows.Text(full, "disk") == "sda");
    CHECK(rows.U64(full, "reads") == UINT64_MAX);
    CHECK(rows.I64(full, "delta") == -5);
    CHECK(rows.F64(full, "busy_ratio") == 0.25);
    CHECK(rows.U32(full, "link") == 7);
    CHECK(rows.I32(full, "node") == -1);
    CHECK(rows.U8(full, "state") == 255);
    CHECK(rows.Bool(full, "ok") == (tick % 2 == 0));
    CHECK(rows.Text(full, "path") == "/bin/true");
    CHECK(rows.Text(full, "mapped_path") == "/bin/false");
    CHECK(rows.Time(full, "seen") == now - 1);
    const size_t bare = full + 1;
    CHECK(rows.Text(bare, "disk") == "sdb");
    for (const char* column : {"reads", "busy_ratio", "ok", "path", "seen"}) {
      CHECK(rows.IsNull(bare, column));
    }
  }
  CHECK(&out.names(9) == &out.names(10));
  CHECK(&out.names(1) != &out.names(9));
  CHECK(rows.RowWhere("disk", "sdb") == size_t{1});
  CHECK_FALSE(rows.RowWhere("disk", "sdc").has_value());
  CHECK_FALSE(rows.U64(0, "link").has_value());  // 4 bytes are not read as 8
}

TEST_CASE("a tick lies in one slab, also when it writes more rows than it announced") {
  RowRecorder rows(OneCounter(), 8);
  WriteTick(rows.writer(), 1000, 5, 5);
  CHECK(rows.last_tick() == std::pair<uint32_t, uint32_t>{0, 5});
  WriteTick(rows.writer(), 2000, 1, 20);
  CHECK(rows.last_tick() == std::pair<uint32_t, uint32_t>{0, 20});
  WriteTick(rows.writer(), 3000, 0, 0);
  CHECK(rows.last_tick().first == rows.last_tick().second);
  REQUIRE(rows.size() == 25);
  for (uint32_t i = 0; i < 20; i++) {
    CHECK(rows.U64(5 + i, "n") == i);
    CHECK(rows.Time(5 + i) == 2000);
  }
  CHECK(rows.lost_rows() == 0);
}

TEST_CASE("rows without a slab are counted once") {
  RowRecorder rows(OneCounter(), 4);
  WriteTick(rows.writer(), 1000, 4, 4);
  rows.refuse_slabs(true);
  WriteTick(rows.writer(), 2000, 3, 3);
  CHECK(rows.lost_rows() == 3);
  // A caller that goes on regardless loses its rows, and they are not counted twice.
  CHECK_FALSE(rows.writer().BeginTick(3000, 2));
  CHECK_FALSE(rows.writer().BeginRow(3000));
  CHECK_FALSE(rows.writer().BeginRow(3000));
  rows.writer().EndTick();
  CHECK(rows.lost_rows() == 5);
  rows.refuse_slabs(false);
  WriteTick(rows.writer(), 4000, 1, 1);
  CHECK(rows.size() == 5);
}

// Keeps what the writer hands over by itself: no reader of it flushes.
class HandOvers : public SlabExchange {
 public:
  explicit HandOvers(const TableSpec& table) : table_(table) {}
  Slab* TakeEmpty(uint32_t rows) override {
    return Slab::Make(SlabLayout::For(table_, rows > 16 ? rows : 16));
  }
  void HandOver(Slab* slab) override {
    rows.push_back(slab->rows_);
    slab->Unref();
  }
  void Publish(Slab* /*slab*/) override {}
  void CountLostRows(uint64_t /*rows*/) override {}
  std::vector<uint32_t> rows;

 private:
  TableSpec table_;
};

TEST_CASE("a slab is handed over when full, when old and when asked") {
  TableSpec spec = OneCounter();
  spec.interval_ns = 10;
  HandOvers taken(spec);
  TableWriter writer(spec, taken, 100);
  // Rows at 0..90: the one at 100 would make the first 100 ns old.
  for (int64_t t = 0; t <= 90; t += 10) WriteTick(writer, t, 1, 1);
  CHECK(taken.rows == std::vector<uint32_t>{10});
  for (int64_t t = 100; t < 100 + 16; t++) WriteTick(writer, t, 1, 1);
  CHECK(taken.rows == std::vector<uint32_t>{10, 16});
  WriteTick(writer, 200, 1, 1);
  writer.FlushIfOld(299);
  CHECK(taken.rows.size() == 2);
  writer.FlushIfOld(300);
  CHECK(taken.rows == std::vector<uint32_t>{10, 16, 1});
  WriteTick(writer, 400, 1, 1);
  writer.Flush();
  writer.Flush();
  CHECK(taken.rows == std::vector<uint32_t>{10, 16, 1, 1});
}

TEST_CASE("names keep their codes and events their counts") {
  RowRecorder rows(EveryType());
  NameList& names = rows.writer().names(1);
  CHECK(names.Code("a") == 0);
  CHECK(names.Code("b") == 1);
  CHECK(names.Code("a") == 0);
  CHECK(names.size() == 2);
  CHECK(names.Since(1) == std::vector<std::string>{"b"});
  CHECK(names.Since(2).empty());
  rows.writer().CountEvent(0);
  rows.writer().CountEvent(1, 4);
  rows.writer().CountEvent(5000, 2);
  rows.writer().CountEvent(-1);
  CHECK(rows.writer().event_counts().Count(0) == 1);
  CHECK(rows.writer().event_counts().Count(1) == 4);
  CHECK(rows.writer().event_counts().Count(5000) == 2);
  CHECK(rows.writer().event_counts().Count(2) == 0);
  CHECK(rows.writer().event_counts().Count(-1) == 0);
}

TEST_CASE("the offset to UTC is one number near the truth") {
  const int64_t offset = UtcOffsetNs();
  const int64_t before = RealtimeNs();
  const int64_t between = MonotonicNs() + offset;
  const int64_t after = RealtimeNs();
  // Both clocks run on; NTP may slew by 500 ppm since the first use.
  constexpr int64_t kTolerance = 1'000'000;
  CHECK(between >= before - kTolerance);
  CHECK(between <= after + kTolerance);
  CHECK(UtcOffsetNs() == offset);
}

}  // namespace
}  // namespace warpgauge
