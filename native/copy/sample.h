#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "copy/backend.h"
#include "core/status.h"
#include "memory/page_kind.h"
#include "memory/page_proof.h"
#include "memory/region.h"
#include "os/perf_event.h"
#include "os/vmstat.h"

namespace warpgauge {

enum class SampleOp : uint8_t { kHtoD, kDtoH, kVectorAdd, kTouch, kPopulate, kPin };

// One request: complete and valid, TypeScript decides every default
// (NativeSampleSpec in lib/addon.ts).
struct SampleSpec {
  SampleOp op = SampleOp::kDtoH;
  PinMode pin = PinMode::kNone;
  bool cold = false;
  bool driver_memory = false;  // kind "driver": the backend allocates
  PageKind kind = PageKind::k4K;
  size_t bytes = 0;
  uint64_t pattern_seed = 0;
  int numa_node = -1;
  bool condition = true;
  bool fill = true;
  size_t flush_bytes = 0;
  CopyFault fault;
  // CUPTI watches the timed copies (backend.h).
  bool witness = false;
};

enum class Phase : uint8_t {
  kCondition,
  kMap,
  kFault,
  kFlush,
  kRegister,
  kCopy,
  kCopyA,
  kCopyB,
  kKernel,
  kCopyC,
  kVerify,
  kUnregister,
  kUnmap,
  kCount,
};
const char* PhaseName(Phase phase);

// Raw readings; -1 where something could not be read. Judging them is TypeScript's work.
struct SampleReading {
  int64_t time_ns = 0;
  int64_t host_ns = 0;
  int64_t event_ns = -1;
  int64_t user_ns = 0, sys_ns = 0;
  int64_t faults_perf = -1;
  int64_t minflt_thread = 0, majflt_thread = 0, minflt_proc = 0;
  int64_t pins_approx = -1;
  int64_t dtlb_miss = -1;
  int64_t steal_ns = -1;
  int64_t vcsw = 0, ivcsw = 0;
  int64_t compact_stall = -1, allocstall = -1, thp_fault_alloc = -1, thp_fault_fallback = -1;
  bool has_gpu = false;
  GpuCondition gpu_before, gpu_after;
  std::array<int64_t, static_cast<size_t>(Phase::kCount)>
      phases{};  // -1: the cell has no such phase
  bool has_page_before = false, has_page_after = false;
  PageProof page_before, page_after;
  uint64_t nodes = 0;  // bit mask
  bool verified = false;
  const char* verified_by = nullptr;
  int64_t first_bad_offset = -1;
  bool has_witness = false;
  CopyWitnessReading witness;
  std::string witness_why;  // asked for, but could not be had
};

// Runs samples on the calling thread, which must be pinned by its owner: counters are those of
// this thread. Every sample, warm ones too, has its own new mapping: a buffer kept across
// samples let the luck of the allocator decide 89 of 90 A/A verdicts. Single-threaded; lives as
// long as the copying child.
class SampleRunner {
 public:
  // `cpu`: the processor the thread is pinned to, for steal time; -1 when it is not pinned.
  SampleRunner(std::unique_ptr<CopyBackend> backend, int cpu);

  // Fails when the cell cannot be had (no pages, no pinning, no device) or the zero-page guard
  // refuses it; wrong data is no failure but `verified` = false with the offset.
  Result<SampleReading> Run(const SampleSpec& spec);

  [[nodiscard]] CopyBackend& backend() { return *backend_; }
  // nullptr where perf counts no faults; then faults_perf_why() says why.
  [[nodiscard]] const char* faults_scope() const { return faults_scope_; }
  [[nodiscard]] const std::string& faults_why() const { return faults_why_; }
  [[nodiscard]] const std::string& dtlb_why() const { return dtlb_why_; }

 private:
  struct Counters;
  void ReadBefore(Counters* counters);
  void ReadAfter(const Counters& before, SampleReading* reading);
  Status MapPatiently(const SampleSpec& spec, Region* region, int64_t* map_ns) const;
  Status Condition(const SampleSpec& spec, SampleReading* reading) const;
  Status Flush(size_t bytes, SampleReading* reading);
  Status RunCopy(const SampleSpec& spec, SampleReading* reading);
  Status RunDriverCopy(const SampleSpec& spec, SampleReading* reading);
  Status CopyOnce(const SampleSpec& spec,
                  uint8_t* host,
                  const Pattern& pattern,
                  SampleReading* reading);
  Status ReadyToTime(const SampleSpec& spec, SampleReading* reading);
  void BeginWitness(const SampleSpec& spec, SampleReading* reading);
  void EndWitness(const SampleSpec& spec, uint64_t bytes, SampleReading* reading);
  Status TimeCopy(const SampleSpec& spec, uint8_t* host, SampleReading* reading);
  Status Verify(const SampleSpec& spec,
                const uint8_t* host,
                const Pattern& pattern,
                SampleReading* reading);
  Status RunCalibration(const SampleSpec& spec, SampleReading* reading);
  Status RunVectorAdd(const SampleSpec& spec, SampleReading* reading);
  static Status Prepare(const SampleSpec& spec,
                        Region* region,
                        const Pattern* fill,
                        SampleReading* reading);

  std::unique_ptr<CopyBackend> backend_;
  int cpu_;
  VmStat vmstat_;
  PerfCounter faults_;
  PerfCounter dtlb_;
  const char* faults_scope_ = nullptr;
  std::string faults_why_, dtlb_why_;
  Region flush_memory_;
  // When a sample last pinned; hugetlb pages come back late. At first the time of construction, for
  // what a copying child before this one may have held when it died.
  int64_t last_pin_ns_;
};

}  // namespace warpgauge
