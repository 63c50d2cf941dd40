#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace warpgauge {

// What the fault events ask the kernel to write into every record (perf_event_attr.sample_type with
// sample_id_all): the decoder below knows this one layout and no other.
uint64_t FaultSampleType();

enum class RingRecordType : uint8_t { kFault, kMmap, kComm, kFork, kExit, kLost, kOther };

// One decoded record of a perf ring. Texts point into the ring or the scratch buffer and live until
// the record is consumed.
struct RingRecord {
  RingRecordType type = RingRecordType::kOther;
  uint32_t bytes = 0;   // of the ring, to move the tail by
  int64_t time_ns = 0;  // clock of the event (CLOCK_MONOTONIC); 0: the record carries none
  uint64_t id = 0;      // of the event (of the one it was inherited from)
  uint32_t pid = 0;
  uint32_t tid = 0;
  uint32_t cpu = 0;
  uint64_t ip = 0;       // kFault
  uint64_t address = 0;  // kFault
  uint64_t start = 0;    // kMmap: [start, end)
  uint64_t end = 0;
  uint64_t inode = 0;
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  std::string_view name;    // kMmap: path, "//anon", "[heap]" ...; kComm: the new name
  bool is_exec = false;     // kComm: by execve, so the old mappings are gone
  uint32_t parent_pid = 0;  // kFork, kExit
  uint64_t lost = 0;        // kLost: records that found no room
};

// Bytes that one record can have at most: its size is 16 bits wide.
inline constexpr size_t kRingScratchBytes = size_t{64} * 1024;

enum class RingRead : uint8_t {
  kRecord,  // one record was decoded
  kEmpty,   // tail == head
  kTorn,    // the bytes between tail and head are no records: give them all up
};

// Decodes the record at `tail` of a ring of `size` bytes (a power of two), of which [tail, head) is
// readable; both count bytes since the ring was made. A record that wraps around the end is joined
// in `scratch` (kRingScratchBytes). Pure: any bytes as input, never a read outside the ring.
RingRead ReadRingRecord(const uint8_t* ring,
                        size_t size,
                        uint64_t tail,
                        uint64_t head,
                        uint8_t* scratch,
                        RingRecord* record);

}  // namespace warpgauge
