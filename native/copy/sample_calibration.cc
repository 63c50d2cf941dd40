#include <utility>

#include "copy/sample.h"
#include "copy/sample_parts.h"
#include "core/clock.h"

namespace warpgauge {

// What one page of a kind costs by itself, on mappings that no copy uses: the touch (a fault in
// user mode), the population (a fault inside the kernel) or the pinning of a written buffer.
Status SampleRunner::RunCalibration(const SampleSpec& spec, SampleReading* reading) {
  const bool pins = spec.op == SampleOp::kPin;
  if (pins) {
    if (Status s = backend_->CheckRegister(spec.bytes); !s.ok()) return s;
  } else if (Status s = Condition(spec, reading); !s.ok()) {
    return s;
  }
  Region region;
  if (Status s = MapPatiently(spec, &region, &PhaseOf(reading, Phase::kMap)); !s.ok()) return s;
  if (pins) {
    const Pattern pattern(spec.pattern_seed);
    if (Status s = Prepare(spec, &region, &pattern, reading); !s.ok()) return s;
  }
  if (Status s = Flush(spec.flush_bytes, reading); !s.ok()) return s;

  Registrations registrations(backend_.get());
  Counters before;
  Status status;
  ReadBefore(&before);
  reading->time_ns = MonotonicNs();
  if (pins) {
    status = registrations.Add(region.data(), spec.bytes, &reading->host_ns);
  } else {
    const int64_t start = MonotonicRawNs();
    if (spec.op == SampleOp::kPopulate) {
      status = region.Populate(1);
    } else {
      volatile uint8_t* p = region.data();
      for (size_t i = 0; i < spec.bytes; i += k4KiB) p[i] = 1;
    }
    reading->host_ns = MonotonicRawNs() - start;
  }
  ReadAfter(before, reading);
  if (!status.ok()) return status;
  if (pins) {
    PhaseOf(reading, Phase::kRegister) = reading->host_ns;
    if (Status s = registrations.ReleaseAll(&PhaseOf(reading, Phase::kUnregister)); !s.ok())
      return s;
  }
  const auto proof = region.Prove();
  if (!proof.ok()) return proof.status;
  reading->page_after = proof.value;
  reading->has_page_after = true;
  reading->verified = true;  // no data moves; the proof is the check
  const PhaseTimer timer(reading, Phase::kUnmap);
  region.Unmap();
  return Status::Ok();
}

}  // namespace warpgauge
