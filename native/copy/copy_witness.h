#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "copy/backend.h"
#include "gpu/cupti/lane_reader.h"
#include "gpu/cupti/self_trace.h"

namespace warpgauge {

// CUPTI's view of single copies of this process: its memcpy records between Begin and End. Once
// open, CUPTI stays in the process and every copy goes through it, also those nobody asks about.
// One thread.
class CopyWitness {
 public:
  // All errors of SelfTrace::Open.
  static Result<std::unique_ptr<CopyWitness>> Open();

  // Forgets the records of what was copied before. All copies must have been waited for.
  Status Begin();
  // Waits until the records of the copies since Begin hold `bytes`, at most a second: what came
  // until then is the answer, and the caller compares. ERR_UNAVAILABLE when CUPTI stopped or lost
  // records.
  Result<CopyWitnessReading> End(uint64_t bytes);

 private:
  explicit CopyWitness(std::unique_ptr<SelfTrace> trace);
  [[nodiscard]] Status Health();
  // Waits until two more flushes have come back: what was copied before is then in the lane.
  Status AwaitFlushes();
  // The records that are there now, added to `reading`.
  void Drain(CopyWitnessReading* reading);

  std::unique_ptr<SelfTrace> trace_;
  MemoryLaneReader reader_;
  uint64_t lost_before_ = 0;
};

}  // namespace warpgauge
