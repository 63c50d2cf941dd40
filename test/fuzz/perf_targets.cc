#include <linux/perf_event.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "os/fault_ring_record.h"
#include "os/perf_event_name.h"
#include "os/perf_event_name_table.h"
#include "os/perf_group.h"
#include "targets.h"

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every target
                            // here

FUZZ_TARGET(perf_event) {
  for (const std::string& name : SplitPerfEvents(text)) {
    static_cast<void>(ParsePerfEvent(name));
    FUZZ_CHECK(!PerfColumnName(name).empty());
  }
  static_cast<void>(ParsePerfTerms(text));
  perf_event_attr attr{};
  static_cast<void>(ApplyPerfModifiers(text, &attr));
}

FUZZ_TARGET(perf_name) {
  uint64_t config = 0;
  if (FindPerfCacheName(text, &config)) FUZZ_CHECK(config <= 0x10206);
  for (const std::string& near : NearNames(text.substr(0, 64), PerfEventNames())) {
    FUZZ_CHECK(!near.empty());
  }
}

// What read(2) gave for a group of three.
FUZZ_TARGET(perf_group) {
  const uint64_t ids[] = {5, 6, 7};
  uint64_t values[3] = {};
  PerfGroupTimes times;
  if (ParsePerfGroup(text.data(), text.size(), ids, 3, values, &times)) {
    FUZZ_CHECK(text.size() == 72);
  }
}

FUZZ_TARGET(perf_format) {
  PerfFormat format;
  if (ParsePerfFormat(text, &format)) {
    FUZZ_CHECK(format.bits != 0);
    perf_event_attr attr{};
    FUZZ_CHECK(PlacePerfValue(format, 0, &attr));
  }
  std::vector<int> cpus;
  if (ParseCpuList(text, &cpus)) FUZZ_CHECK(cpus.size() <= 65'536);
}

// The first eight bytes place tail and head in the ring, the rest is its content.
FUZZ_TARGET(fault_ring) {
  constexpr size_t kRingBytes = 4096;
  static const std::unique_ptr<uint8_t[]> scratch = std::make_unique<uint8_t[]>(kRingScratchBytes);
  if (text.size() < 8) return;
  uint32_t tail = 0;
  uint32_t length = 0;
  std::memcpy(&tail, text.data(), sizeof(tail));
  std::memcpy(&length, text.data() + sizeof(tail), sizeof(length));
  text.remove_prefix(8);
  const std::unique_ptr<uint8_t[]> ring(new uint8_t[kRingBytes]());
  std::memcpy(ring.get(), text.data(), text.size() < kRingBytes ? text.size() : kRingBytes);
  uint64_t at = tail;
  const uint64_t head = at + length % (kRingBytes + 1);
  RingRecord record;
  while (at < head) {
    if (ReadRingRecord(ring.get(), kRingBytes, at, head, scratch.get(), &record) !=
        RingRead::kRecord) {
      break;
    }
    FUZZ_CHECK(record.bytes > 0 && record.bytes <= head - at);
    at += record.bytes;
    // Read what the record points at: it must lie in the ring or in the scratch buffer.
    volatile char sum = 0;
    for (const char c : record.name) sum = static_cast<char>(sum + c);
  }
}
