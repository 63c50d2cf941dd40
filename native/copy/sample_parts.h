#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "copy/backend.h"
#include "copy/sample.h"
#include "core/clock.h"
#include "os/vmstat.h"

namespace warpgauge {

// What the three kinds of sample (copy, vectorAdd, calibration) are made of.

// Three patterns per sample, so that data of an earlier phase can never pass
// for that of a later one.
inline constexpr uint64_t kFillSalt = 0x66696c6cULL << 32U;
inline constexpr uint64_t kWarmSalt = 0x7761726dULL << 32U;

inline constexpr size_t kNodeSamples = 64;

inline int64_t& PhaseOf(SampleReading* reading, Phase phase) {
  return reading->phases[static_cast<size_t>(phase)];
}

// Adds the time since construction to a phase.
class PhaseTimer {
 public:
  PhaseTimer(SampleReading* reading, Phase phase)
      : total_(&PhaseOf(reading, phase)), start_(MonotonicRawNs()) {}
  PhaseTimer(const PhaseTimer&) = delete;
  PhaseTimer& operator=(const PhaseTimer&) = delete;
  ~PhaseTimer() { *total_ = std::max<int64_t>(*total_, 0) + MonotonicRawNs() - start_; }

 private:
  int64_t* total_;
  int64_t start_;
};

inline Status ZeroPages(const PageProof& proof) {
  return Status("ERR_ZERO_PAGES",
                std::to_string(proof.bytes_zero) +
                    " bytes of the source buffer are the kernel's shared zero page: reading them "
                    "measures one cached page, not memory")
      .WithFix("write the buffer before copying from it (never switch the fill off)");
}

// Before the timed region a warm buffer is there as a whole and on pages of its kind,
// a cold one not at all.
inline Status CheckBefore(const PageProof& proof, PageKind kind, const Region& region, bool cold) {
  if (!cold) return CheckProof(proof, kind, region.mapped_bytes(), false);
  if (proof.bytes_absent == region.mapped_bytes()) return Status::Ok();
  return Status("ERR_PAGES_NOT_GRANTED",
                std::to_string(region.mapped_bytes() - proof.bytes_absent) +
                    " bytes of a cold buffer are there before its first touch: something populates "
                    "every new mapping of this process")
      .WithFix("run without mlockall(MCL_FUTURE) in the process or its preloaded libraries");
}

// Readings around one timed region.
struct SampleRunner::Counters {
  rusage thread{}, process{};
  VmCounters vm;
  int64_t steal_ns = -1;
  uint64_t faults = 0, dtlb = 0;
  uint64_t dtlb_idle_ns = 0;  // how long the counter was enabled without counting
  bool has_faults = false, has_dtlb = false;
};

// Unregisters on every way out: a buffer that stays registered keeps its pages from the pool, and
// the next registration of this process fails.
class Registrations {
 public:
  explicit Registrations(CopyBackend* backend) : backend_(backend) {}
  Registrations(const Registrations&) = delete;
  Registrations& operator=(const Registrations&) = delete;
  ~Registrations() {
    int64_t ns = 0;
    (void)ReleaseAll(&ns);
  }

  // Adds the duration of the call to `*total_ns`.
  Status Add(uint8_t* host, size_t bytes, int64_t* total_ns) {
    int64_t ns = 0;
    if (Status s = backend_->Register(host, bytes, &ns); !s.ok()) return s;
    buffers_.push_back(host);
    *total_ns = std::max<int64_t>(*total_ns, 0) + ns;
    return Status::Ok();
  }

  Status ReleaseAll(int64_t* total_ns) {
    Status first;
    *total_ns = 0;
    while (!buffers_.empty()) {
      int64_t ns = 0;
      Status s = backend_->Unregister(buffers_.back(), &ns);
      buffers_.pop_back();
      *total_ns += ns;
      if (first.ok() && !s.ok()) first = std::move(s);
    }
    return first;
  }

 private:
  CopyBackend* backend_;
  std::vector<uint8_t*> buffers_;
};

}  // namespace warpgauge
