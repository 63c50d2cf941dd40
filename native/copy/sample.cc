#include "copy/sample.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "core/clock.h"

namespace warpgauge {
namespace {

// Three patterns per sample, so that data of an earlier phase can never pass for that of a later
// one.
constexpr uint64_t kFillSalt = 0x66696c6cULL << 32U;
constexpr uint64_t kWarmSalt = 0x7761726dULL << 32U;

// Pages of a buffer that was pinned return to the pool after the ring's references are gone; 16-34
// ms were seen. A pool that is empty for longer than this is really empty.
constexpr int64_t kPinReturnNs = 200'000'000;

constexpr size_t kNodeSamples = 64;

int64_t ToNs(const timeval& t) { return (t.tv_sec * 1'000'000LL + t.tv_usec) * 1000; }

int64_t& PhaseOf(SampleReading* reading, Phase phase) {
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

Status ZeroPages(const PageProof& proof) {
  return Status("ERR_ZERO_PAGES",
                std::to_string(proof.bytes_zero) +
                    " bytes of the source buffer are the kernel's shared zero page: reading them "
                    "measures one "
                    "cached page, not memory")
      .WithFix("write the buffer before copying from it (never switch the fill off)");
}

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

// What the sources of vectorAdd hold: small integers, so that the sum is exact in doubles.
double SourceValue(uint64_t seed, size_t index) {
  return static_cast<double>((index * 2654435761U + seed) & 0xFFFFFU);
}

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

struct SampleRunner::Counters {
  rusage thread{}, process{};
  VmCounters vm;
  int64_t steal_ns = -1;
  uint64_t faults = 0, dtlb = 0;
  bool has_faults = false, has_dtlb = false;
};

SampleRunner::SampleRunner(std::unique_ptr<CopyBackend> backend, int cpu)
    : backend_(std::move(backend)), cpu_(cpu) {
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

// Slow and shared sources first, the thread's own last: what the reading itself costs stays
// outside.
void SampleRunner::ReadBefore(Counters* counters) {
  counters->vm = vmstat_.Read();
  counters->steal_ns = cpu_ >= 0 ? vmstat_.StealNs(cpu_) : -1;
  counters->has_dtlb = dtlb_.Read(&counters->dtlb);
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
  now.steal_ns = cpu_ >= 0 ? vmstat_.StealNs(cpu_) : -1;
  now.vm = vmstat_.Read();

  const auto delta = [](int64_t a, int64_t b) { return a < 0 || b < 0 ? -1 : b - a; };
  if (before.has_faults && now.has_faults) {
    reading->faults_perf = static_cast<int64_t>(now.faults - before.faults);
  }
  if (before.has_dtlb && now.has_dtlb) {
    reading->dtlb_miss = static_cast<int64_t>(now.dtlb - before.dtlb);
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

Result<Region> SampleRunner::MapPatiently(const SampleSpec& spec, PageKind kind) {
  const RegionOptions options{
      .bytes = spec.bytes,
      .kind = kind == PageKind::k4KSplit ? PageKind::kThp : kind,
      .numa_node = spec.numa_node,
  };
  const int64_t deadline = MonotonicNs() + (pinned_before_ ? kPinReturnNs : 0);
  for (;;) {
    auto region = Region::Map(options);
    if (region.ok() || MonotonicNs() >= deadline ||
        std::strncmp(region.status.code(), "ERR_POOL", 8) != 0) {
      return region;
    }
    usleep(2000);
  }
}

// Allocate, touch and free the same kind and size: in a virtual machine the first touch of memory
// that the hypervisor took back costs up to 20 times the fault it is meant to measure. It also
// proves, without any danger of SIGBUS, that the pages can be had at all.
Status SampleRunner::Condition(const SampleSpec& spec) {
  auto region = MapPatiently(spec, spec.kind);
  if (!region.ok()) return region.status;
  return region.value.Populate(1);
}

// Walks memory larger than the last-level cache, so that the timed region starts with nothing of
// the user's buffer in it.
void SampleRunner::Flush(size_t bytes) {
  if (bytes == 0) return;
  if (flush_memory_.mapped_bytes() < bytes) {
    flush_memory_.Unmap();
    auto region = Region::Map({.bytes = bytes, .kind = PageKind::kThp});
    if (!region.ok()) region = Region::Map({.bytes = bytes, .kind = PageKind::k4K});
    if (!region.ok() || !region.value.Populate(1).ok()) return;
    flush_memory_ = std::move(region.value);
    // Without a write every page would be the zero page, and the walk would evict nothing.
    std::memset(flush_memory_.data(), 1, bytes);
  }
  const volatile uint8_t* p = flush_memory_.data();
  for (size_t i = 0; i < bytes; i += 64) (void)p[i];
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
  pinned_before_ = spec.pin == PinMode::kRegister || spec.op == SampleOp::kPin;
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

Status SampleRunner::TimeCopy(const SampleSpec& spec, uint8_t* host, SampleReading* reading) {
  backend_->set_fault(spec.fault);
  Counters before;
  ReadBefore(&before);
  reading->time_ns = MonotonicNs();
  const auto timing = spec.op == SampleOp::kHtoD ? backend_->CopyHtoD(host, spec.bytes, spec.pin)
                                                 : backend_->CopyDtoH(host, spec.bytes, spec.pin);
  ReadAfter(before, reading);
  if (!timing.ok()) return timing.status;
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
  if (spec.cold && spec.condition) {
    const PhaseTimer timer(reading, Phase::kCondition);
    if (Status s = Condition(spec); !s.ok()) return s;
  }

  Region region;
  {
    const PhaseTimer timer(reading, Phase::kMap);
    auto mapped = MapPatiently(spec, spec.kind);
    if (!mapped.ok()) return mapped.status;
    region = std::move(mapped.value);
  }
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
  if (Status s = CheckProof(reading->page_before, spec.kind, region.mapped_bytes(), spec.cold);
      !s.ok()) {
    return s;
  }
  if (registers && !copies) Flush(spec.flush_bytes);

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
    if (!spec.cold) {
      if (!to_device) {
        if (Status s = backend_->LoadDevice(Pattern(spec.pattern_seed ^ kWarmSalt), spec.bytes);
            !s.ok()) {
          return s;
        }
      }
      const auto warm = to_device ? backend_->CopyHtoD(region.data(), spec.bytes, spec.pin)
                                  : backend_->CopyDtoH(region.data(), spec.bytes, spec.pin);
      if (!warm.ok()) return warm.status;
    }
    if (Status s = to_device ? backend_->PoisonDevice(spec.bytes)
                             : backend_->LoadDevice(pattern, spec.bytes);
        !s.ok()) {
      return s;
    }
    reading->has_gpu = backend_->device() != nullptr;
    if (reading->has_gpu) {
      if (Status s = backend_->Wake(); !s.ok()) return s;
      reading->gpu_before = backend_->ReadGpu();
    }
    if (spec.flush_bytes > 0) {
      const PhaseTimer timer(reading, Phase::kFlush);
      Flush(spec.flush_bytes);
      backend_->RewarmStaging(spec.bytes);
    }
    if (Status s = TimeCopy(spec, region.data(), reading); !s.ok()) return s;
    if (reading->has_gpu) reading->gpu_after = backend_->ReadGpu();
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

// pin = hostalloc: the driver owns the memory, so there is nothing of ours to prove and nothing to
// be cold.
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
    if (!to_device) {
      if (Status s = backend_->LoadDevice(Pattern(spec.pattern_seed ^ kWarmSalt), spec.bytes);
          !s.ok()) {
        return s;
      }
    }
    const auto warm = to_device ? backend_->CopyHtoD(host, spec.bytes, spec.pin)
                                : backend_->CopyDtoH(host, spec.bytes, spec.pin);
    if (!warm.ok()) return warm.status;
    if (Status s = to_device ? backend_->PoisonDevice(spec.bytes)
                             : backend_->LoadDevice(pattern, spec.bytes);
        !s.ok()) {
      return s;
    }
    reading->has_gpu = backend_->device() != nullptr;
    if (Status s = backend_->Wake(); !s.ok()) return s;
    if (reading->has_gpu) reading->gpu_before = backend_->ReadGpu();
    if (spec.flush_bytes > 0) {
      const PhaseTimer timer(reading, Phase::kFlush);
      Flush(spec.flush_bytes);
      backend_->RewarmStaging(spec.bytes);
    }
    if (Status s = TimeCopy(spec, host, reading); !s.ok()) return s;
    if (reading->has_gpu) reading->gpu_after = backend_->ReadGpu();
    return Verify(spec, host, pattern, reading);
  };
  Status status = run();
  const PhaseTimer timer(reading, Phase::kUnmap);
  Status freed = backend_->HostFree(host);
  return status.ok() ? std::move(freed) : std::move(status);
}

// What one page of a kind costs by itself, on mappings that no copy uses: the touch (a fault in
// user mode), the population (a fault inside the kernel) or the pinning of a written buffer.
Status SampleRunner::RunCalibration(const SampleSpec& spec, SampleReading* reading) {
  const bool pins = spec.op == SampleOp::kPin;
  if (pins) {
    if (Status s = backend_->CheckRegister(spec.bytes); !s.ok()) return s;
  } else if (spec.condition) {
    const PhaseTimer timer(reading, Phase::kCondition);
    if (Status s = Condition(spec); !s.ok()) return s;
  }
  Region region;
  {
    const PhaseTimer timer(reading, Phase::kMap);
    auto mapped = MapPatiently(spec, spec.kind);
    if (!mapped.ok()) return mapped.status;
    region = std::move(mapped.value);
  }
  if (pins) {
    const Pattern pattern(spec.pattern_seed);
    if (Status s = Prepare(spec, &region, &pattern, reading); !s.ok()) return s;
  }
  if (spec.flush_bytes > 0) {
    const PhaseTimer timer(reading, Phase::kFlush);
    Flush(spec.flush_bytes);
  }

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

// c = a + b through the device, all three vectors on pages of the kind. A and B are always written,
// `cold` is about C alone: the textbook sample never writes it and so times its page faults.
Status SampleRunner::RunVectorAdd(const SampleSpec& spec, SampleReading* reading) {
  const size_t count = spec.bytes / sizeof(double);
  const bool registers = spec.pin == PinMode::kRegister;
  if (Status s = backend_->Reserve(spec.bytes, true); !s.ok()) return s;
  if (spec.cold && spec.condition) {
    const PhaseTimer timer(reading, Phase::kCondition);
    if (Status s = Condition(spec); !s.ok()) return s;
  }
  std::array<Region, 3> vectors;
  for (Region& vector : vectors) {
    const PhaseTimer timer(reading, Phase::kMap);
    auto mapped = MapPatiently(spec, spec.kind);
    if (!mapped.ok()) return mapped.status;
    vector = std::move(mapped.value);
  }
  const Pattern fill(spec.pattern_seed ^ kFillSalt);
  for (size_t i = 0; i < vectors.size(); i++) {
    const bool source = i < 2;
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
    if (Status s =
            CheckProof(proof.value, spec.kind, vectors[i].mapped_bytes(), !source && spec.cold);
        !s.ok()) {
      return s;
    }
    reading->page_before = proof.value;  // of C in the end
  }
  reading->has_page_before = true;

  Registrations registrations(backend_.get());
  if (registers) {
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
  if (Status s = backend_->Wake(); !s.ok()) return s;
  reading->has_gpu = backend_->device() != nullptr;
  if (reading->has_gpu) reading->gpu_before = backend_->ReadGpu();
  if (spec.flush_bytes > 0) {
    const PhaseTimer timer(reading, Phase::kFlush);
    Flush(spec.flush_bytes);
    backend_->RewarmStaging(spec.bytes);
  }

  backend_->set_fault(spec.fault);
  Counters before;
  ReadBefore(&before);
  reading->time_ns = MonotonicNs();
  const auto timing = backend_->VectorAdd(a, b, c, count, spec.pin);
  ReadAfter(before, reading);
  if (!timing.ok()) return timing.status;
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
