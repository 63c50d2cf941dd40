#include "addon/copy_addon.h"

#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/options_reader.h"
#include "addon/page_proof_object.h"
#include "copy/cuda_backend.h"
#include "copy/host_backend.h"
#include "copy/sample.h"
#include "gpu/cupti/trace_tables.h"
#include "os/cpu_cache.h"

namespace warpgauge {
namespace {

// A count or a duration as number, null where native could not read it.
Napi::Value OrNull(Napi::Env env, int64_t value) {
  if (value < 0) return env.Null();
  return Napi::Number::New(env, static_cast<double>(value));
}

Napi::Value FlagOrNull(Napi::Env env, int value) {
  if (value < 0) return env.Null();
  return Napi::Boolean::New(env, value != 0);
}

Napi::Object GpuObject(Napi::Env env, const GpuCondition& state) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("smMhz", OrNull(env, state.sm_mhz));
  object.Set("memoryMhz", OrNull(env, state.memory_mhz));
  object.Set("pcieGen", OrNull(env, state.pcie_gen));
  object.Set("pcieWidth", OrNull(env, state.pcie_width));
  object.Set("replays", OrNull(env, state.replays));
  object.Set("throttle", OrNull(env, state.throttle));
  return object;
}

Napi::Value DeviceObject(Napi::Env env, const BackendDevice* device) {
  if (device == nullptr) return env.Null();
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", device->name);
  object.Set("uuid", device->uuid);
  object.Set("pciAddress", device->pci_address);
  object.Set("computeCapability", device->compute_capability);
  object.Set("driver", device->driver);
  object.Set("cuda", device->cuda);
  object.Set("memoryBytes", static_cast<double>(device->memory_bytes));
  object.Set("numaNode", device->numa_node);
  object.Set("pageableAccess", FlagOrNull(env, device->pageable_access));
  object.Set("hostPageTables", FlagOrNull(env, device->host_page_tables));
  object.Set("simulated", device->simulated);
  return object;
}

// The word of a field, translated; an unknown one is refused.
template <typename T, size_t kCount>
T OneOf(OptionsReader* given, const char* key, const std::pair<const char*, T> (&words)[kCount]) {
  const std::string text = given->Text(key);
  for (const auto& [word, value] : words) {
    if (text == word) return value;
  }
  given->Refuse(key);
  return words[0].second;
}

SampleSpec ReadSpec(OptionsReader* given) {
  constexpr std::pair<const char*, SampleOp> kOps[] = {
      {"HtoD", SampleOp::kHtoD},
      {"DtoH", SampleOp::kDtoH},
      {"vectorAdd", SampleOp::kVectorAdd},
      {"touch", SampleOp::kTouch},
      {"populate", SampleOp::kPopulate},
      {"pin", SampleOp::kPin},
  };
  constexpr std::pair<const char*, PinMode> kPins[] = {
      {"none", PinMode::kNone},
      {"register", PinMode::kRegister},
      {"hostalloc", PinMode::kHostAlloc},
  };
  SampleSpec spec;
  spec.op = OneOf(given, "op", kOps);
  spec.pin = OneOf(given, "pin", kPins);
  const std::string kind = given->Text("kind");
  spec.driver_memory = kind == "driver";
  if (!spec.driver_memory && !ParsePageKind(kind.c_str(), &spec.kind)) given->Refuse("kind");
  spec.cold = OneOf<bool>(given, "state", {{"cold", true}, {"warm", false}});
  spec.bytes = static_cast<size_t>(given->Integer("bytes", 1, kMaxInteger));
  spec.pattern_seed = static_cast<uint64_t>(given->Integer("patternSeed", 0, kMaxInteger));
  spec.numa_node = static_cast<int>(given->Integer("numaNode", -1, INT32_MAX));
  spec.condition = given->Flag("condition");
  spec.fill = given->Flag("fill");
  spec.flush_bytes = static_cast<size_t>(given->Integer("flushBytes", 0, kMaxInteger));
  spec.fault.drop_page = given->Integer("dropPage", -1, kMaxInteger);
  spec.fault.stretch = given->Number("stretch");
  spec.witness = given->Flag("witness");
  return spec;
}

Napi::Value WitnessObject(Napi::Env env, const CopyWitnessReading& witness) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("copyNs", static_cast<double>(witness.copy_ns));
  object.Set("records", static_cast<double>(witness.records));
  object.Set("bytesHtoD", static_cast<double>(witness.bytes_htod));
  object.Set("bytesDtoH", static_cast<double>(witness.bytes_dtoh));
  Napi::Array memory = Napi::Array::New(env);
  uint32_t n = 0;
  for (uint32_t kind = 0; kind < 32; kind++) {
    if ((witness.host_memory >> kind & 1U) == 0) continue;
    const char* name = MemoryKindName(kind);
    memory.Set(n++, name != nullptr ? std::string(name) : "unknown (" + std::to_string(kind) + ")");
  }
  object.Set("memory", memory);
  return object;
}

Napi::Object SampleObject(Napi::Env env, const SampleReading& reading, const SampleRunner& runner) {
  Napi::Object object = Napi::Object::New(env);
  const auto set = [&](const char* key, int64_t value) {
    object.Set(key, static_cast<double>(value));
  };
  const auto set_or_null = [&](const char* key, int64_t value) {
    object.Set(key, OrNull(env, value));
  };
  const auto text_or_null = [&](const char* key, const char* text) {
    object.Set(key, text == nullptr ? env.Null() : Napi::String::New(env, text));
  };
  set("timeNs", reading.time_ns);
  set("hostNs", reading.host_ns);
  set_or_null("eventNs", reading.event_ns);
  set("userNs", reading.user_ns);
  set("sysNs", reading.sys_ns);
  set_or_null("faultsPerf", reading.faults_perf);
  text_or_null("faultsPerfScope", runner.faults_scope());
  text_or_null("faultsPerfWhy",
               runner.faults_why().empty() ? nullptr : runner.faults_why().c_str());
  set("minfltThread", reading.minflt_thread);
  set("majfltThread", reading.majflt_thread);
  set("minfltProc", reading.minflt_proc);
  set_or_null("pinsApprox", reading.pins_approx);
  set_or_null("dtlbMiss", reading.dtlb_miss);
  text_or_null("dtlbWhy", runner.dtlb_why().empty() ? nullptr : runner.dtlb_why().c_str());
  set_or_null("stealNs", reading.steal_ns);
  set("vcsw", reading.vcsw);
  set("ivcsw", reading.ivcsw);
  set_or_null("compactStall", reading.compact_stall);
  set_or_null("allocstall", reading.allocstall);
  set_or_null("thpFaultAlloc", reading.thp_fault_alloc);
  set_or_null("thpFaultFallback", reading.thp_fault_fallback);
  object.Set("gpuBefore", reading.has_gpu ? GpuObject(env, reading.gpu_before) : env.Null());
  object.Set("gpuAfter", reading.has_gpu ? GpuObject(env, reading.gpu_after) : env.Null());
  Napi::Object phases = Napi::Object::New(env);
  for (size_t i = 0; i < reading.phases.size(); i++) {
    if (reading.phases[i] < 0) continue;
    phases.Set(PhaseName(static_cast<Phase>(i)), static_cast<double>(reading.phases[i]));
  }
  object.Set("phases", phases);
  object.Set("pageBefore",
             reading.has_page_before ? PageProofObject(env, reading.page_before) : env.Null());
  object.Set("pageAfter",
             reading.has_page_after ? PageProofObject(env, reading.page_after) : env.Null());
  Napi::Array nodes = Napi::Array::New(env);
  for (uint32_t node = 0, n = 0; node < 64; node++) {
    if ((reading.nodes >> node & 1U) != 0) nodes.Set(n++, node);
  }
  object.Set("numaNodes", nodes);
  object.Set("verified", reading.verified);
  text_or_null("verifiedBy", reading.verified_by);
  set("firstBadOffset", reading.first_bad_offset);
  object.Set("cupti", reading.has_witness ? WitnessObject(env, reading.witness) : env.Null());
  text_or_null("cuptiWhy", reading.witness_why.empty() ? nullptr : reading.witness_why.c_str());
  return object;
}

// TypeScript: openBackend(options: NativeBackendOptions): NativeBackendInfo
Napi::Value OpenBackend(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  OptionsReader given(env, info[0], "openBackend");
  const bool cuda = OneOf<bool>(&given, "backend", {{"host", false}, {"cuda", true}});
  const auto device = static_cast<int>(given.Integer("device", 0, INT32_MAX));
  const std::string cuda_path = given.Text("cudaPath");
  const std::string nvml_path = given.Text("nvmlPath");
  if (Status s = given.status(); !s.ok()) return Throw(env, s);
  auto* environment = env.GetInstanceData<Environment>();
  environment->runner.reset();
  auto backend = cuda ? OpenCudaBackend(device, cuda_path, nvml_path) : HostBackend::Open();
  if (!backend.ok()) return Throw(env, backend.status);
  environment->runner =
      std::make_unique<SampleRunner>(std::move(backend.value), environment->pinned_cpu);
  CopyBackend& opened = environment->runner->backend();
  Napi::Object result = Napi::Object::New(env);
  result.Set("backend", opened.name());
  result.Set("stagingBytes", static_cast<double>(kStagingBytes));
  result.Set("llcBytes", static_cast<double>(LastLevelCacheBytes()));
  result.Set("device", DeviceObject(env, opened.device()));
  return result;
}

// TypeScript: runSample(spec: NativeSampleSpec): NativeSample
Napi::Value RunSample(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto* environment = env.GetInstanceData<Environment>();
  if (environment->runner == nullptr) {
    return Throw(env, Status("ERR_CLOSED", "openBackend must come before runSample"));
  }
  OptionsReader given(env, info[0], "runSample");
  const SampleSpec spec = ReadSpec(&given);
  if (Status s = given.status(); !s.ok()) return Throw(env, s);
  auto reading = environment->runner->Run(spec);
  if (!reading.ok()) return Throw(env, reading.status);
  return SampleObject(env, reading.value, *environment->runner);
}

// C: int sched_setaffinity(pid_t, size_t, const cpu_set_t*); int prctl(PR_SET_PDEATHSIG, ...)
// TypeScript: enterChild(options: { readonly parentPid: number; readonly cpu: number }): void
Napi::Value EnterChild(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  OptionsReader given(env, info[0], "enterChild");
  const auto parent = static_cast<pid_t>(given.Integer("parentPid", 1, INT32_MAX));
  const auto cpu = static_cast<int>(given.Integer("cpu", -1, INT32_MAX));
  if (Status s = given.status(); !s.ok()) return Throw(env, s);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    return Throw(env,
                 Status("ERR_SYSCALL",
                        std::string("prctl(PR_SET_PDEATHSIG) failed: ") + std::strerror(errno))
                     .WithSource("prctl", errno));
  }
  // The parent may have died before the request above: then no signal comes, ever.
  if (getppid() != parent) {
    return Throw(env, Status("ERR_INTERRUPTED", "the parent process is gone"));
  }
  if (cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
      return Throw(
          env,
          Status("ERR_SYSCALL",
                 "cannot run on CPU " + std::to_string(cpu) + ": " + std::strerror(errno))
              .WithFix("choose a CPU of `grep Cpus_allowed_list /proc/self/status` with --cpu")
              .WithSource("sched_setaffinity", errno));
    }
    env.GetInstanceData<Environment>()->pinned_cpu = cpu;
  }
  return env.Undefined();
}

}  // namespace

void InitCopy(Napi::Env env, Napi::Object exports) {
  exports.Set("openBackend", Napi::Function::New(env, OpenBackend, "openBackend"));
  exports.Set("runSample", Napi::Function::New(env, RunSample, "runSample"));
  exports.Set("enterChild", Napi::Function::New(env, EnterChild, "enterChild"));
}

}  // namespace warpgauge
