#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/slab.h"
#include "core/table_writer.h"
#include "gpu/cupti/lane_reader.h"
#include "gpu/cupti/process_watch.h"
#include "gpu/cupti/trace_rows.h"
#include "targets.h"

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every target

namespace {

// Rows go nowhere; each slab is checked to have no more rows than room when it is handed over.
class Nowhere final : public SlabExchange {
 public:
  explicit Nowhere(const TableSpec& table) : layout_(SlabLayout::For(table, 300)) {}
  Slab* TakeEmpty(uint32_t rows) override { return rows <= 300 ? Slab::Make(layout_) : nullptr; }
  void HandOver(Slab* slab) override {
    FUZZ_CHECK(slab->rows_ <= slab->layout().capacity);
    rows_ += slab->rows_;
    slab->Unref();
  }
  void Publish(Slab* /*slab*/) override {}
  void CountLostRows(uint64_t /*rows*/) override {}
  [[nodiscard]] uint64_t rows() const { return rows_; }

 private:
  SlabLayout layout_;
  uint64_t rows_ = 0;
};

}  // namespace

// Records as a foreign process may write them: any bytes.
FUZZ_TARGET(trace_records) {
  NameList names;
  std::array<std::unique_ptr<Nowhere>, kTraceTables> exchanges;
  std::array<std::unique_ptr<TableWriter>, kTraceTables> writers;
  std::array<TableWriter*, kTraceTables> by_table{};
  for (size_t i = 0; i < kTraceTables; i++) {
    const TableSpec spec = DescribeTraceTable(static_cast<TraceTable>(i), 2'000'000, true);
    exchanges[i] = std::make_unique<Nowhere>(spec);
    writers[i] = std::make_unique<TableWriter>(spec, *exchanges[i], 100'000'000, &names);
    by_table[i] = writers[i].get();
  }
  TraceRows rows;
  rows.Attach(by_table, 0);
  rows.BeginLook(1'000'000'000);
  TraceDecoder decoder(rows);
  std::vector<wg_record> records(text.size() / WG_RECORD_BYTES);
  if (!records.empty())
    std::memcpy(records.data(), text.data(), records.size() * sizeof records[0]);
  decoder.Take(records.data(), records.size());
  decoder.Finish();
  rows.EndLook();
  for (const auto& writer : writers) writer->Flush();
  uint64_t written = 0;
  for (const auto& exchange : exchanges) written += exchange->rows();
  FUZZ_CHECK(decoder.events() + decoder.rejected() <= records.size());
  FUZZ_CHECK(written <= decoder.events());
}

// A lane, its first page included, in memory and as a file.
FUZZ_TARGET(trace_lane) {
  constexpr uint32_t kCapacity = 256;
  constexpr size_t kBytes = WG_TRACE_PAGE + kCapacity * WG_RECORD_BYTES;
  static void* const memory = std::aligned_alloc(4096, kBytes);
  std::memset(memory, 0, kBytes);
  std::memcpy(memory, text.data(), text.size() < kBytes ? text.size() : kBytes);
  std::array<wg_record, 100> records{};
  wg_lane facts{};
  MemoryLaneReader reader(static_cast<wg_lane*>(memory), kCapacity);
  FUZZ_CHECK(reader.State() <= WG_LANE_ENDED);
  FUZZ_CHECK(reader.Look(&facts));
  FUZZ_CHECK(std::memchr(facts.command, 0, sizeof facts.command) != nullptr);
  FUZZ_CHECK(std::memchr(facts.detail, 0, sizeof facts.detail) != nullptr);
  size_t taken = 0;
  while (const size_t count = reader.Take(records.data(), records.size())) taken += count;
  FUZZ_CHECK(taken <= kCapacity);

  static const int folder = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::string name = "warpgauge-fuzz-" + std::to_string(getpid());
  const int fd = openat(folder, name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return;
  FUZZ_CHECK(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  auto file = FileLaneReader::Open(folder, name, 1U << 20);
  if (file.ok()) {
    for (int i = 0; i < 1000; i++) {
      if (file.value->Take(records.data(), records.size()) == 0) break;
    }
    FUZZ_CHECK(file.value->taken() + file.value->overwritten() <= uint64_t{1} << 41);
  }
  close(fd);
  unlinkat(folder, name.c_str(), 0);
}

FUZZ_TARGET(trace_process) {
  StartTicksOf(text);
  FUZZ_CHECK(InnermostPidOf(text) == 0 || text.find("NSpid:") != std::string_view::npos);
}
