#include "copy/copy_witness.h"

#include <unistd.h>

#include <array>
#include <utility>

#include "core/clock.h"

namespace warpgauge {
namespace {

// Copies of one operation are a handful of records; CUPTI may split large pageable ones.
constexpr uint64_t kLaneBytes = uint64_t{1} << 20;
constexpr uint32_t kPoolBytes = 4U << 20;
constexpr uint32_t kFlushMs = 2;
constexpr int64_t kPatienceNs = 1'000'000'000;
constexpr unsigned kLookUs = 500;
constexpr uint8_t kMostMemoryKinds = 32;
// CUpti_ActivityMemcpyKind.
constexpr uint8_t kHtoD = 1;
constexpr uint8_t kDtoH = 2;

}  // namespace

Result<std::unique_ptr<CopyWitness>> CopyWitness::Open() {
  TraceOptions options;
  options.bytes = kLaneBytes;
  options.kinds = 1U << WG_RECORD_MEMCPY;
  options.api = WG_API_NONE;
  options.flush_ms = kFlushMs;
  options.pool_bytes = kPoolBytes;
  Result<std::unique_ptr<SelfTrace>> trace = SelfTrace::Open(options, "", "");
  if (!trace.ok()) return trace.status;
  return std::unique_ptr<CopyWitness>(new CopyWitness(std::move(trace.value)));
}

CopyWitness::CopyWitness(std::unique_ptr<SelfTrace> trace)
    : trace_(std::move(trace)),
      reader_(trace_->buffer()->lane(0), trace_->buffer()->layout().capacity) {}

Status CopyWitness::Health() {
  wg_lane lane;
  if (!reader_.Look(&lane) || reader_.broken() != nullptr) {
    return {"ERR_UNAVAILABLE", "the records of CUPTI cannot be read"};
  }
  if (lane.state == WG_LANE_REFUSED || lane.state == WG_LANE_ENDED) {
    const std::string detail = lane.detail;
    return {"ERR_UNAVAILABLE",
            "CUPTI gives no records" + (detail.empty() ? std::string() : ": " + detail)};
  }
  const uint64_t lost = lane.dropped + lane.dropped_cupti + lane.without_time;
  if (lost != lost_before_) {
    lost_before_ = lost;
    return {"ERR_UNAVAILABLE", "CUPTI lost records or their times"};
  }
  return Status::Ok();
}

Status CopyWitness::AwaitFlushes() {
  const wg_lane* lane = trace_->buffer()->lane(0);
  const uint64_t first = __atomic_load_n(&lane->flushes, __ATOMIC_ACQUIRE);
  const int64_t end = MonotonicNs() + kPatienceNs;
  // The first may have begun before we looked.
  while (__atomic_load_n(&lane->flushes, __ATOMIC_ACQUIRE) < first + 2) {
    if (MonotonicNs() >= end) return {"ERR_UNAVAILABLE", "CUPTI does not hand its records over"};
    usleep(kLookUs);
  }
  return Status::Ok();
}

void CopyWitness::Drain(CopyWitnessReading* reading) {
  std::array<wg_record, 64> records;
  for (size_t n = reader_.Take(records.data(), records.size()); n > 0;
       n = reader_.Take(records.data(), records.size())) {
    for (size_t i = 0; i < n; i++) {
      const wg_record& record = records[i];
      if (record.kind != WG_RECORD_MEMCPY) continue;
      const auto& copy = record.of.memcpy;
      const bool to_device = copy.copy_kind == kHtoD;
      if (!to_device && copy.copy_kind != kDtoH) continue;
      reading->records++;
      reading->copy_ns += static_cast<int64_t>(record.end - record.start);
      (to_device ? reading->bytes_htod : reading->bytes_dtoh) += copy.bytes;
      const uint8_t memory = to_device ? copy.source : copy.destination;
      if (memory < kMostMemoryKinds) reading->host_memory |= 1U << memory;
    }
  }
}

Status CopyWitness::Begin() {
  if (Status s = AwaitFlushes(); !s.ok()) return s;
  CopyWitnessReading before;
  Drain(&before);
  (void)Health();  // what was lost until now is of no copy that anybody asks about
  return Status::Ok();
}

Result<CopyWitnessReading> CopyWitness::End(uint64_t bytes) {
  CopyWitnessReading reading;
  const int64_t end = MonotonicNs() + kPatienceNs;
  while (reading.bytes_htod + reading.bytes_dtoh < bytes && MonotonicNs() < end) {
    Drain(&reading);
    usleep(kLookUs);
  }
  // One that is too many would come now.
  if (Status s = AwaitFlushes(); !s.ok()) return s;
  Drain(&reading);
  if (Status s = Health(); !s.ok()) return s;
  return reading;
}

}  // namespace warpgauge
