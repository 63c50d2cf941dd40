#include "copy/sample.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "copy/sample_parts.h"
#include "core/clock.h"

namespace warpgauge {
namespace {

// Pages of a buffer that was pinned return to the pool after the ring's references are gone: 16-34
// ms on a quiet machine, more on a busy one. A pool that is still empty after this is really empty.
constexpr int64_t kPinReturnNs = 2'000'000'000;

constexpr char kMultiplexed[] =
    "the counter shared the CPU's counting units with others during a sample (multiplexed)";

int64_t ToNs(const timeval& t) { return (t.tv_sec * 1'000'000LL + t.tv_usec) * 1000; }

}  // namespace

const char* PhaseName(Phase phase) {
  switch (phase) {
    case Phase::kCondition:
      return "condition";
    case Phase::kMap:
      return "map";
    case Phase::kFault:
      return "fault";
    case Phase::kFlush:
      return "flush";
    case Phase::kRegister:
      return "register";
    case Phase::kCopy:
      return "copy";
    case Phase::kCopyA:
      return "copy_a";
    case Phase::kCopyB:
      return "copy_b";
    case Phase::kKernel:
      return "kernel";
    case Phase::kCopyC:
      return "copy_c";
    case Phase::kVerify:
      return "verify";
    case Phase::kUnregister:
      return "unregister";
    case Phase::kUnmap:
      return "unmap";
    case Phase::kCount:
      break;
  }
  return "";
}

SampleRunner::SampleRunner(std::unique_ptr<CopyBackend> backend, int cpu)
    : backend_(std::move(backend)), cpu_(cpu), last_pin_ns_(MonotonicNs()) {
  if (auto counter = OpenPageFaults(&faults_scope_); counter.ok()) {
    faults_ = std::move(counter.value);
  } else {
    faults_why_ = counter.status.message();
  }
  const char* dtlb_scope = nullptr;
  if (auto counter = OpenDtlbLoadMisses(&dtlb_scope); counter.ok()) {
    dtlb_ = std::move(counter.value);
  } else {
    dtlb_why_ = counter.status.message();
  }
}

// Slow and shared sources first, the thread's own last: what the reading
// itself costs stays outside.
void SampleRunner::ReadBefore(Counters* counters) {
  counters->vm = vmstat_.Read();
  counters->steal_ns = cpu_ >= 0 ? vmstat_.StealNs(cpu_) : -1;
  counters->has_dtlb = dtlb_.Read(&counters->dtlb);
  counters->dtlb_idle_ns = dtlb_.time_enabled_ns() - dtlb_.time_running_ns();
  getrusage(RUSAGE_SELF, &counters->process);
  getrusage(RUSAGE_THREAD, &counters->thread);
  counters->has_faults = faults_.Read(&counters->faults);
}

void SampleRunner::ReadAfter(const Counters& before, SampleReading* reading) {
  Counters now;
  now.has_faults = faults_.Read(&now.faults);
  getrusage(RUSAGE_THREAD, &now.thread);
  getrusage(RUSAGE_SELF, &now.process);
  now.has_dtlb = dtlb_.Read(&now.dtlb);
  now.dtlb_idle_ns = dtlb_.time_enabled_ns() - dtlb_.time_running_ns();
  now.steal_ns = cpu_ >= 0 ? vmstat_.StealNs(cpu_) : -1;
  now.vm = vmstat_.Read();

  const auto delta = [](int64_t a, int64_t b) { return a < 0 || b < 0 ? -1 : b - a; };
  if (before.has_faults && now.has_faults) {
    reading->faults_perf = static_cast<int64_t>(now.faults - before.faults);
  }
  if (before.has_dtlb && now.has_dtlb) {
    if (now.dtlb_idle_ns == before.dtlb_idle_ns) {
      reading->dtlb_miss = static_cast<int64_t>(now.dtlb - before.dtlb);
      dtlb_why_.clear();
    } else {
      dtlb_why_ = kMultiplexed;
    }
  }
  reading->user_ns = ToNs(now.thread.ru_utime) - ToNs(before.thread.ru_utime);
  reading->sys_ns = ToNs(now.thread.ru_stime) - ToNs(before.thread.ru_stime);
  reading->minflt_thread = now.thread.ru_minflt - before.thread.ru_minflt;
  reading->majflt_thread = now.thread.ru_majflt - before.thread.ru_majflt;
  reading->minflt_proc = now.process.ru_minflt - before.process.ru_minflt;
  reading->vcsw = now.thread.ru_nvcsw - before.thread.ru_nvcsw;
  reading->ivcsw = now.thread.ru_nivcsw - before.thread.ru_nivcsw;
  reading->steal_ns = delta(before.steal_ns, now.steal_ns);
  reading->pins_approx = delta(before.vm.nr_foll_pin_acquired, now.vm.nr_foll_pin_acquired);
  reading->compact_stall = delta(before.vm.compact_stall, now.vm.compact_stall);
  reading->allocstall = delta(before.vm.allocstall, now.vm.allocstall);
  reading->thp_fault_alloc = delta(before.vm.thp_fault_alloc, now.vm.thp_fault_alloc);
  reading->thp_fault_fallback = delta(before.vm.thp_fault_fallback, now.vm.thp_fault_fallback);
}

// The wait for pages that a pinned buffer still holds is no part of `*map_ns`, the
// mapping that succeeds is.
Status SampleRunner::MapPatiently(const SampleSpec& spec, Region* region, int64_t* map_ns) const {
  const RegionOptions options{
      .bytes = spec.bytes,
      .kind = spec.kind == PageKind::k4KSplit ? PageKind::kThp : spec.kind,
      .numa_node = spec.numa_node,
  };
  // Whatever ran in between: the pages may still be on their way. They count as the pool's own, so
  // a pool without any page is not waited for.
  const int64_t deadline = last_pin_ns_ + kPinReturnNs;
  for (;;) {
    const int64_t start = MonotonicRawNs();
    auto mapped = Region::Map(options);
    const int64_t end = MonotonicRawNs();
    if (mapped.ok()) {
      *region = std::move(mapped.value);
      *map_ns = std::max<int64_t>(*map_ns, 0) + end - start;
      return Status::Ok();
    }
    if (MonotonicNs() >= deadline || std::strcmp(mapped.status.code(), "ERR_POOL_SHORT") != 0) {
      return mapped.status;
    }
    usleep(2000);
  }
}

// Allocate, touch and free the same kind and size: in a virtual machine the first touch of memory
// that the hypervisor took back costs up to 20 times the fault it is meant to measure. It also
// proves, without any danger of SIGBUS, that the pages can be had at all. Nothing may populate
// memory between this and the cold touch, or it takes the pages that were just made ready.
Status SampleRunner::Condition(const SampleSpec& spec, SampleReading* reading) const {
  if (!spec.cold || !spec.condition) return Status::Ok();
  const PhaseTimer timer(reading, Phase::kCondition);
  Region region;
  int64_t map_ns = 0;
  if (Status s = MapPatiently(spec, &region, &map_ns); !s.ok()) return s;
  if (spec.pin != PinMode::kRegister) return region.Populate(1);
  // Conditioned by populating, cold thp registration was bimodal, 0.1-3.9x of 4k from run to run;
  // conditioned by registering it was 3.85x [3.43, 4.31] in the one run made. Probably
  // FOLL_LONGTERM takes pages from unmovable lists, which populating does not touch; that was not
  // traced.
  Registrations registrations(backend_.get());
  int64_t pin_ns = 0;
  if (Status s = registrations.Add(region.data(), spec.bytes, &pin_ns); !s.ok()) return s;
  return registrations.ReleaseAll(&pin_ns);
}

// Walks memory larger than the last-level cache, so that what is timed next starts with nothing of
// the user's buffer in it. Fails rather than leave the caches as they are: the sample would claim a
// flush that never was.
Status SampleRunner::Flush(size_t bytes, SampleReading* reading) {
  if (bytes == 0) return Status::Ok();
  const PhaseTimer timer(reading, Phase::kFlush);
  if (flush_memory_.mapped_bytes() < bytes) {
    flush_memory_.Unmap();
    auto region = Region::Map({.bytes = bytes, .kind = PageKind::kThp});
    if (!region.ok()) region = Region::Map({.bytes = bytes, .kind = PageKind::k4K});
    if (!region.ok()) return region.status;
    if (Status s = region.value.Populate(1); !s.ok()) return s;
    flush_memory_ = std::move(region.value);
  }
  const volatile uint8_t* p = flush_memory_.data();
  for (size_t i = 0; i < bytes; i += 64) (void)p[i];
  return Status::Ok();
}

Result<SampleReading> SampleRunner::Run(const SampleSpec& spec) {
  SampleReading reading;
  reading.phases.fill(-1);
  backend_->set_fault({});
  Status status;
  switch (spec.op) {
    case SampleOp::kHtoD:
    case SampleOp::kDtoH:
      status = spec.driver_memory ? RunDriverCopy(spec, &reading) : RunCopy(spec, &reading);
      break;
    case SampleOp::kVectorAdd:
      status = RunVectorAdd(spec, &reading);
      break;
    case SampleOp::kTouch:
    case SampleOp::kPopulate:
    case SampleOp::kPin:
      status = RunCalibration(spec, &reading);
      break;
  }
  backend_->set_fault({});
  if (spec.pin == PinMode::kRegister || spec.op == SampleOp::kPin) last_pin_ns_ = MonotonicNs();
  if (!status.ok()) return status;
  return reading;
}

// Populates and fills a warm buffer; leaves a cold one untouched. With `fill` off (test hook) the
// buffer is only read, as a benchmark that forgets to write its source does.
Status SampleRunner::Prepare(const SampleSpec& spec,
                             Region* region,
                             const Pattern* fill,
                             SampleReading* reading) {
  if (fill == nullptr) return Status::Ok();
  const PhaseTimer timer(reading, Phase::kFault);
  if (!spec.fill) {
    const volatile uint8_t* p = region->data();
    for (size_t i = 0; i < region->mapped_bytes(); i += k4KiB) (void)p[i];
    return Status::Ok();
  }
  if (Status s = region->Populate(1); !s.ok()) return s;
  if (spec.kind == PageKind::k4KSplit) {
    if (Status s = region->SplitTo4K(); !s.ok()) return s;
  }
  fill->Fill(region->data(), spec.bytes);
  return Status::Ok();
}

// What CUPTI cannot be had for fails no sample: it is told with it.
void SampleRunner::BeginWitness(const SampleSpec& spec, SampleReading* reading) {
  if (!spec.witness) return;
  if (Status s = backend_->BeginWitness(); !s.ok()) reading->witness_why = s.message();
}

void SampleRunner::EndWitness(const SampleSpec& spec, uint64_t bytes, SampleReading* reading) {
  if (!spec.witness || !reading->witness_why.empty()) return;
  const auto seen = backend_->EndWitness(bytes);
  reading->has_witness = seen.ok();
  if (seen.ok()) {
    reading->witness = seen.value;
  } else {
    reading->witness_why = seen.status.message();
  }
}

Status SampleRunner::TimeCopy(const SampleSpec& spec, uint8_t* host, SampleReading* reading) {
  backend_->set_fault(spec.fault);
  BeginWitness(spec, reading);
  Counters before;
  ReadBefore(&before);
  reading->time_ns = MonotonicNs();
  const auto timing = spec.op == SampleOp::kHtoD ? backend_->CopyHtoD(host, spec.bytes, spec.pin)
                                                 : backend_->CopyDtoH(host, spec.bytes, spec.pin);
  ReadAfter(before, reading);
  if (!timing.ok()) return timing.status;
  EndWitness(spec, spec.bytes, reading);
  reading->host_ns = timing.value.host_ns;
  reading->event_ns = timing.value.event_ns;
  PhaseOf(reading, Phase::kCopy) = timing.value.host_ns;
  return Status::Ok();
}

Status SampleRunner::Verify(const SampleSpec& spec,
                            const uint8_t* host,
                            const Pattern& pattern,
                            SampleReading* reading) {
  const PhaseTimer timer(reading, Phase::kVerify);
  if (spec.op == SampleOp::kDtoH) {
    reading->verified_by = "compare";
    reading->first_bad_offset = pattern.FirstMismatch(host, spec.bytes);
  } else {
    reading->verified_by = backend_->htod_verification();
    const auto bad = backend_->VerifyHtoD(host, spec.bytes, pattern);
    if (!bad.ok()) return bad.status;
    reading->first_bad_offset = bad.value;
  }
  reading->verified = reading->first_bad_offset < 0;
  return Status::Ok();
}

// The untimed copy of a warm buffer, with other data than the timed one; then the timed copy, out
// of idle clocks and with nothing of the buffer in the caches.
Status SampleRunner::CopyOnce(const SampleSpec& spec,
                              uint8_t* host,
                              const Pattern& pattern,
                              SampleReading* reading) {
  const bool to_device = spec.op == SampleOp::kHtoD;
  if (!spec.cold) {
    if (!to_device) {
      const Pattern other(spec.pattern_seed ^ kWarmSalt);
      if (Status s = backend_->LoadDevice(other, spec.bytes); !s.ok()) return s;
    }
    const auto warm = to_device ? backend_->CopyHtoD(host, spec.bytes, spec.pin)
                                : backend_->CopyDtoH(host, spec.bytes, spec.pin);
    if (!warm.ok()) return warm.status;
  }
  if (Status s = to_device ? backend_->PoisonDevice(spec.bytes)
                           : backend_->LoadDevice(pattern, spec.bytes);
      !s.ok()) {
    return s;
  }
  if (Status s = ReadyToTime(spec, reading); !s.ok()) return s;
  if (Status s = TimeCopy(spec, host, reading); !s.ok()) return s;
  if (reading->has_gpu) reading->gpu_after = backend_->ReadGpu();
  return Status::Ok();
}

// Wakes link and clocks, reads them, and empties the caches of the user's data.
Status SampleRunner::ReadyToTime(const SampleSpec& spec, SampleReading* reading) {
  reading->has_gpu = backend_->device() != nullptr;
  if (Status s = backend_->Wake(); !s.ok()) return s;
  if (reading->has_gpu) reading->gpu_before = backend_->ReadGpu();
  if (Status s = Flush(spec.flush_bytes, reading); !s.ok()) return s;
  if (spec.flush_bytes > 0) backend_->RewarmStaging(spec.bytes);
  return Status::Ok();
}

Status SampleRunner::RunCopy(const SampleSpec& spec, SampleReading* reading) {
  const bool to_device = spec.op == SampleOp::kHtoD;
  const bool registers = spec.pin == PinMode::kRegister;
  // A cold HtoD copy would read the zero page; cold HtoD exists as registration alone.
  const bool copies = !(to_device && spec.cold);
  const Pattern pattern(spec.pattern_seed);
  const Pattern fill(spec.pattern_seed ^ kFillSalt);

  if (registers) {
    if (Status s = backend_->CheckRegister(spec.bytes); !s.ok()) return s;
  }
  if (Status s = backend_->Reserve(spec.bytes, false); !s.ok()) return s;
  if (Status s = Condition(spec, reading); !s.ok()) return s;

  Region region;
  if (Status s = MapPatiently(spec, &region, &PhaseOf(reading, Phase::kMap)); !s.ok()) return s;
  if (!spec.cold) {
    if (Status s = Prepare(spec, &region, to_device ? &pattern : &fill, reading); !s.ok()) return s;
  }
  const auto proof_before = region.Prove();
  if (!proof_before.ok()) return proof_before.status;
  reading->page_before = proof_before.value;
  reading->has_page_before = true;
  if (to_device && copies && reading->page_before.bytes_zero > 0) {
    return ZeroPages(reading->page_before);
  }
  if (Status s = CheckBefore(reading->page_before, spec.kind, region, spec.cold); !s.ok()) return s;
  // Registration is timed too, and conditioning has left the pages it will zero in the caches.
  if (registers) {
    if (Status s = Flush(spec.flush_bytes, reading); !s.ok()) return s;
  }

  Registrations registrations(backend_.get());  // after `region`: released before it is unmapped
  if (registers) {
    Counters before;
    if (!copies) {
      ReadBefore(&before);
      reading->time_ns = MonotonicNs();
    }
    if (Status s =
            registrations.Add(region.data(), spec.bytes, &PhaseOf(reading, Phase::kRegister));
        !s.ok()) {
      return s;
    }
    if (!copies) {
      ReadAfter(before, reading);
      reading->host_ns = PhaseOf(reading, Phase::kRegister);
      reading->verified =
          true;  // nothing was copied; the proof afterwards covers what registration did
    }
  }

  if (copies) {
    if (Status s = CopyOnce(spec, region.data(), pattern, reading); !s.ok()) return s;
  }

  const auto proof_after = region.Prove();
  if (!proof_after.ok()) return proof_after.status;
  reading->page_after = proof_after.value;
  reading->has_page_after = true;
  reading->nodes = NodesOf(region.data(), region.mapped_bytes(), kNodeSamples);
  if (copies) {
    if (Status s = Verify(spec, region.data(), pattern, reading); !s.ok()) return s;
  }
  if (registers) {
    if (Status s = registrations.ReleaseAll(&PhaseOf(reading, Phase::kUnregister)); !s.ok())
      return s;
  }
  const PhaseTimer timer(reading, Phase::kUnmap);
  region.Unmap();
  return Status::Ok();
}

// pin = hostalloc: the driver owns the memory, so there is nothing of ours to prove
// and nothing to be cold.
Status SampleRunner::RunDriverCopy(const SampleSpec& spec, SampleReading* reading) {
  const bool to_device = spec.op == SampleOp::kHtoD;
  const Pattern pattern(spec.pattern_seed);
  if (Status s = backend_->Reserve(spec.bytes, false); !s.ok()) return s;
  uint8_t* host = nullptr;
  {
    const PhaseTimer timer(reading, Phase::kMap);
    auto allocated = backend_->HostAlloc(spec.bytes);
    if (!allocated.ok()) return allocated.status;
    host = allocated.value;
  }
  const auto run = [&]() -> Status {
    {
      const PhaseTimer timer(reading, Phase::kFault);
      (to_device ? pattern : Pattern(spec.pattern_seed ^ kFillSalt)).Fill(host, spec.bytes);
    }
    if (Status s = CopyOnce(spec, host, pattern, reading); !s.ok()) return s;
    return Verify(spec, host, pattern, reading);
  };
  Status status = run();
  const PhaseTimer timer(reading, Phase::kUnmap);
  Status freed = backend_->HostFree(host);
  return status.ok() ? std::move(freed) : std::move(status);
}

}  // namespace warpgauge
