#include <algorithm>
#include <array>
#include <utility>

#include "copy/sample.h"
#include "copy/sample_parts.h"
#include "core/clock.h"

namespace warpgauge {
namespace {

// What the sources of vectorAdd hold: small integers, so that the sum is exact in doubles.
double SourceValue(uint64_t seed, size_t index) {
  return static_cast<double>((index * 2654435761U + seed) & 0xFFFFFU);
}

}  // namespace

// c = a + b through the device, all three vectors on pages of the kind. A and B are always written,
// `cold` is about C alone: the textbook sample never writes it and so times its page faults.
Status SampleRunner::RunVectorAdd(const SampleSpec& spec, SampleReading* reading) {
  const size_t count = spec.bytes / sizeof(double);
  const bool registers = spec.pin == PinMode::kRegister;
  if (Status s = backend_->Reserve(spec.bytes, true); !s.ok()) return s;
  const Pattern fill(spec.pattern_seed ^ kFillSalt);
  std::array<Region, 3> vectors;
  for (size_t i = 0; i < vectors.size(); i++) {
    const bool source = i < 2;
    // After A and B are there: what conditioning makes ready is for C.
    if (!source) {
      if (Status s = Condition(spec, reading); !s.ok()) return s;
    }
    if (Status s = MapPatiently(spec, &vectors[i], &PhaseOf(reading, Phase::kMap)); !s.ok()) {
      return s;
    }
    if (!source && spec.cold) continue;
    if (Status s = Prepare(spec, &vectors[i], &fill, reading); !s.ok()) return s;
  }
  auto* a = reinterpret_cast<double*>(vectors[0].data());
  auto* b = reinterpret_cast<double*>(vectors[1].data());
  auto* c = reinterpret_cast<double*>(vectors[2].data());
  const auto write_sources = [&](uint64_t seed) {
    for (size_t i = 0; i < count; i++) a[i] = SourceValue(seed, i);
    for (size_t i = 0; i < count; i++) b[i] = SourceValue(seed + 1, i);
  };
  if (spec.fill) {
    const PhaseTimer timer(reading, Phase::kFault);
    write_sources(spec.pattern_seed);
  }
  for (size_t i = 0; i < vectors.size(); i++) {
    const bool source = i < 2;
    const auto proof = vectors[i].Prove();
    if (!proof.ok()) return proof.status;
    if (source && proof.value.bytes_zero > 0) return ZeroPages(proof.value);
    if (Status s = CheckBefore(proof.value, spec.kind, vectors[i], !source && spec.cold); !s.ok()) {
      return s;
    }
    reading->page_before = proof.value;  // of C in the end
  }
  reading->has_page_before = true;

  Registrations registrations(backend_.get());
  if (registers) {
    if (Status s = Flush(spec.flush_bytes, reading); !s.ok()) return s;
    for (Region& vector : vectors) {
      if (Status s =
              registrations.Add(vector.data(), spec.bytes, &PhaseOf(reading, Phase::kRegister));
          !s.ok()) {
        return s;
      }
    }
  }
  if (!spec.cold) {
    const auto warm = backend_->VectorAdd(a, b, c, count, spec.pin);
    if (!warm.ok()) return warm.status;
    fill.Fill(vectors[2].data(), spec.bytes);
  }
  if (Status s = backend_->PoisonDevice(spec.bytes); !s.ok()) return s;
  if (Status s = ReadyToTime(spec, reading); !s.ok()) return s;

  backend_->set_fault(spec.fault);
  BeginWitness(spec, reading);
  Counters before;
  ReadBefore(&before);
  reading->time_ns = MonotonicNs();
  const auto timing = backend_->VectorAdd(a, b, c, count, spec.pin);
  ReadAfter(before, reading);
  if (!timing.ok()) return timing.status;
  EndWitness(spec, 3 * spec.bytes, reading);
  reading->host_ns = timing.value.host_ns;
  PhaseOf(reading, Phase::kCopyA) = timing.value.copy_a.host_ns;
  PhaseOf(reading, Phase::kCopyB) = timing.value.copy_b.host_ns;
  PhaseOf(reading, Phase::kKernel) = timing.value.kernel.host_ns;
  PhaseOf(reading, Phase::kCopyC) = timing.value.copy_c.host_ns;
  const std::array<int64_t, 4> events = {timing.value.copy_a.event_ns,
                                         timing.value.copy_b.event_ns,
                                         timing.value.kernel.event_ns,
                                         timing.value.copy_c.event_ns};
  if (std::all_of(events.begin(), events.end(), [](int64_t ns) { return ns >= 0; })) {
    reading->event_ns = events[0] + events[1] + events[2] + events[3];
  }
  if (reading->has_gpu) reading->gpu_after = backend_->ReadGpu();

  const auto proof_after = vectors[2].Prove();
  if (!proof_after.ok()) return proof_after.status;
  reading->page_after = proof_after.value;
  reading->has_page_after = true;
  reading->nodes = NodesOf(c, spec.bytes, kNodeSamples);
  {
    const PhaseTimer timer(reading, Phase::kVerify);
    reading->verified_by = "compare";
    for (size_t i = 0; i < count && reading->first_bad_offset < 0; i++) {
      if (c[i] != SourceValue(spec.pattern_seed, i) + SourceValue(spec.pattern_seed + 1, i)) {
        reading->first_bad_offset = static_cast<int64_t>(i * sizeof(double));
      }
    }
    reading->verified = reading->first_bad_offset < 0;
  }
  if (registers) {
    if (Status s = registrations.ReleaseAll(&PhaseOf(reading, Phase::kUnregister)); !s.ok())
      return s;
  }
  const PhaseTimer timer(reading, Phase::kUnmap);
  for (Region& vector : vectors) vector.Unmap();
  return Status::Ok();
}

}  // namespace warpgauge
