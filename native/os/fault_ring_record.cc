#include "os/fault_ring_record.h"

#include <linux/perf_event.h>

#include <algorithm>
#include <cstring>

namespace warpgauge {
namespace {

constexpr size_t kHeaderBytes = sizeof(perf_event_header);
static_assert(kHeaderBytes == 8);
// The trailer of every record that is no sample: pid, tid, time, cpu, reserved, identifier.
constexpr size_t kTrailerBytes = 32;

// Takes fields off the front of a record; past its end they are 0 and ok() turns false.
class Fields {
 public:
  Fields(const uint8_t* at, size_t bytes) : at_(at), left_(bytes) {}

  template <typename T>
  T Take() {
    T value{};
    if (left_ < sizeof(T)) {
      left_ = 0;
      is_ok_ = false;
      return value;
    }
    std::memcpy(&value, at_, sizeof(T));
    at_ += sizeof(T);
    left_ -= sizeof(T);
    return value;
  }
  void Skip(size_t bytes) {
    if (left_ < bytes) {
      left_ = 0;
      is_ok_ = false;
      return;
    }
    at_ += bytes;
    left_ -= bytes;
  }
  // The rest as text up to its first zero byte.
  [[nodiscard]] std::string_view Text() const {
    const auto* text = reinterpret_cast<const char*>(at_);
    return {text, strnlen(text, left_)};
  }
  [[nodiscard]] bool ok() const { return is_ok_; }

 private:
  const uint8_t* at_;
  size_t left_;
  bool is_ok_ = true;
};

bool DecodeSample(Fields fields, RingRecord* record) {
  record->type = RingRecordType::kFault;
  record->id = fields.Take<uint64_t>();
  record->ip = fields.Take<uint64_t>();
  record->pid = fields.Take<uint32_t>();
  record->tid = fields.Take<uint32_t>();
  record->time_ns = static_cast<int64_t>(fields.Take<uint64_t>());
  record->address = fields.Take<uint64_t>();
  record->cpu = fields.Take<uint32_t>();
  return fields.ok();
}

bool DecodeMmap(Fields fields, bool is_mmap2, RingRecord* record) {
  record->type = RingRecordType::kMmap;
  record->pid = fields.Take<uint32_t>();
  record->tid = fields.Take<uint32_t>();
  record->start = fields.Take<uint64_t>();
  const auto length = fields.Take<uint64_t>();
  record->end = record->start + std::min(length, UINT64_MAX - record->start);
  fields.Skip(sizeof(uint64_t));  // offset in the file
  if (is_mmap2) {
    record->device_major = fields.Take<uint32_t>();
    record->device_minor = fields.Take<uint32_t>();
    record->inode = fields.Take<uint64_t>();
    fields.Skip(sizeof(uint64_t) + 2 * sizeof(uint32_t));  // generation, prot, flags
  }
  record->name = fields.Text();
  return fields.ok();
}

bool DecodeBody(const perf_event_header& header, Fields body, RingRecord* record) {
  switch (header.type) {
    case PERF_RECORD_MMAP:
    case PERF_RECORD_MMAP2:
      return DecodeMmap(body, header.type == PERF_RECORD_MMAP2, record);
    case PERF_RECORD_COMM:
      record->type = RingRecordType::kComm;
      record->is_exec = (header.misc & PERF_RECORD_MISC_COMM_EXEC) != 0;
      record->pid = body.Take<uint32_t>();
      record->tid = body.Take<uint32_t>();
      record->name = body.Text();
      return body.ok();
    case PERF_RECORD_FORK:
    case PERF_RECORD_EXIT:
      record->type =
          header.type == PERF_RECORD_FORK ? RingRecordType::kFork : RingRecordType::kExit;
      record->pid = body.Take<uint32_t>();
      record->parent_pid = body.Take<uint32_t>();
      record->tid = body.Take<uint32_t>();
      return body.ok();
    case PERF_RECORD_LOST:
      record->type = RingRecordType::kLost;
      body.Skip(sizeof(uint64_t));  // identity of the event: all of a ring lose together
      record->lost = body.Take<uint64_t>();
      return body.ok();
    default:
      record->type = RingRecordType::kOther;
      return true;
  }
}

}  // namespace

uint64_t FaultSampleType() {
  return PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME |
         PERF_SAMPLE_ADDR | PERF_SAMPLE_CPU;
}

RingRead ReadRingRecord(const uint8_t* ring,
                        size_t size,
                        uint64_t tail,
                        uint64_t head,
                        uint8_t* scratch,
                        RingRecord* record) {
  const uint64_t readable = head - tail;
  if (readable == 0) return RingRead::kEmpty;
  if (readable > size || readable < kHeaderBytes) return RingRead::kTorn;

  const auto copy = [&](uint64_t from, size_t bytes, uint8_t* to) {
    const size_t offset = from & (size - 1);
    const size_t first = std::min(bytes, size - offset);
    std::memcpy(to, ring + offset, first);
    std::memcpy(to + first, ring, bytes - first);
  };
  perf_event_header header;
  copy(tail, sizeof(header), reinterpret_cast<uint8_t*>(&header));
  if (header.size < kHeaderBytes || header.size > readable) return RingRead::kTorn;

  const size_t offset = tail & (size - 1);
  const uint8_t* bytes = ring + offset;
  if (offset + header.size > size) {
    copy(tail, header.size, scratch);
    bytes = scratch;
  }
  *record = {};
  record->bytes = header.size;
  const uint8_t* body = bytes + kHeaderBytes;
  const size_t body_bytes = header.size - kHeaderBytes;
  if (header.type == PERF_RECORD_SAMPLE) {
    return DecodeSample(Fields(body, body_bytes), record) ? RingRead::kRecord : RingRead::kTorn;
  }
  if (body_bytes < kTrailerBytes) return RingRead::kTorn;
  if (!DecodeBody(header, Fields(body, body_bytes - kTrailerBytes), record)) return RingRead::kTorn;
  Fields trailer(body + body_bytes - kTrailerBytes, kTrailerBytes);
  trailer.Skip(2 * sizeof(uint32_t));  // who caused the record, not whom it is about
  record->time_ns = static_cast<int64_t>(trailer.Take<uint64_t>());
  record->cpu = trailer.Take<uint32_t>();
  trailer.Skip(sizeof(uint32_t));
  record->id = trailer.Take<uint64_t>();
  return RingRead::kRecord;
}

}  // namespace warpgauge
