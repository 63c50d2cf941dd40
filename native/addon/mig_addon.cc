#include "addon/mig_addon.h"

#include <string>

#include "addon/errors.h"
#include "addon/options_reader.h"
#include "addon/promise_work.h"
#include "addon/value_maker.h"
#include "gpu/nvml/mig_change.h"
#include "gpu/nvml/mig_reading.h"

namespace warpgauge {
namespace {

napi_value NumberOrNull(const ValueMaker& make, napi_env env, int64_t number) {
  napi_value null = nullptr;
  napi_get_null(env, &null);
  return number < 0 ? null : make.Number(static_cast<double>(number));
}

napi_value TextOrNull(const ValueMaker& make, napi_env env, const std::string& text) {
  napi_value null = nullptr;
  napi_get_null(env, &null);
  return text.empty() ? null : make.Text(text);
}

napi_value Numbers(const ValueMaker& make, const std::vector<unsigned>& numbers) {
  napi_value array = make.Array();
  for (const unsigned number : numbers) make.Push(array, make.Number(number));
  return array;
}

// What was read as a promise of JavaScript, worked on a pool thread.
struct ReadingWork {
  using Value = MigSystemReading;
  std::string path, root, uuid;
  [[nodiscard]] Result<Value> Run() const { return ReadMig(path, root, uuid); }
  static napi_value Make(napi_env env, const Value& value);
};

struct ChangeWork {
  using Value = MigChangeResult;
  std::string path;
  MigChange change;
  [[nodiscard]] Result<Value> Run() const { return ChangeMig(path, change); }
  static napi_value Make(napi_env env, const Value& value) {
    const ValueMaker make(env);
    napi_value object = make.Object();
    make.Set(object, "activation", make.Number(value.activation));
    make.Set(object, "created", NumberOrNull(make, env, value.created));
    make.Set(object, "uuid", TextOrNull(make, env, value.uuid));
    return object;
  }
};

napi_value ProfileObject(napi_env env, const MigProfileReading& profile) {
  const ValueMaker make(env);
  napi_value object = make.Object();
  make.Set(object, "number", make.Number(profile.number));
  make.Set(object, "id", make.Number(profile.id));
  make.Set(object, "name", TextOrNull(make, env, profile.name));
  make.Set(object, "slices", make.Number(profile.slices));
  make.Set(object, "memorySlices", make.Number(profile.memory_slices));
  make.Set(object, "count", make.Number(profile.count));
  make.Set(object, "starts", Numbers(make, profile.starts));
  make.Set(object, "memoryMib", NumberOrNull(make, env, profile.memory_mib));
  make.Set(object, "multiprocessors", NumberOrNull(make, env, profile.multiprocessors));
  make.Set(object, "copyEngines", NumberOrNull(make, env, profile.copy_engines));
  make.Set(object, "decoders", NumberOrNull(make, env, profile.decoders));
  make.Set(object, "encoders", NumberOrNull(make, env, profile.encoders));
  make.Set(object, "jpegs", NumberOrNull(make, env, profile.jpegs));
  make.Set(object, "ofas", NumberOrNull(make, env, profile.ofas));
  return object;
}

napi_value InstanceObject(napi_env env, const MigInstanceReading& instance) {
  const ValueMaker make(env);
  napi_value object = make.Object();
  make.Set(object, "id", make.Number(instance.id));
  make.Set(object, "profile", make.Number(instance.profile));
  make.Set(object, "start", make.Number(instance.start));
  make.Set(object, "size", make.Number(instance.size));
  napi_value compute = make.Array();
  for (const MigComputeReading& one : instance.compute) {
    napi_value entry = make.Object();
    make.Set(entry, "id", make.Number(one.id));
    make.Set(entry, "profile", make.Number(one.profile));
    make.Set(entry, "slices", make.Number(one.slices));
    make.Set(entry, "start", NumberOrNull(make, env, one.start));
    make.Set(entry, "uuid", TextOrNull(make, env, one.uuid));
    make.Set(entry, "pids", Numbers(make, one.pids));
    make.Push(compute, entry);
  }
  make.Set(object, "compute", compute);
  napi_value profiles = make.Array();
  for (const MigComputeProfileReading& one : instance.compute_profiles) {
    napi_value entry = make.Object();
    make.Set(entry, "number", make.Number(one.number));
    make.Set(entry, "id", make.Number(one.id));
    make.Set(entry, "slices", make.Number(one.slices));
    make.Set(entry, "count", make.Number(one.count));
    make.Set(entry, "starts", Numbers(make, one.starts));
    make.Push(profiles, entry);
  }
  make.Set(object, "computeProfiles", profiles);
  return object;
}

napi_value ReadingWork::Make(napi_env env, const Value& value) {
  const ValueMaker make(env);
  napi_value gpus = make.Array();
  for (const MigGpuReading& gpu : value.gpus) {
    napi_value object = make.Object();
    make.Set(object, "uuid", make.Text(gpu.uuid));
    make.Set(object, "name", make.Text(gpu.name));
    make.Set(object, "pciAddress", make.Text(gpu.pci_address));
    napi_value null = nullptr;
    napi_get_null(env, &null);
    make.Set(object, "mode", gpu.mode_known ? make.Flag(gpu.mode) : null);
    make.Set(object, "pending", gpu.mode_known ? make.Flag(gpu.pending) : null);
    make.Set(
        object, "withoutReset", gpu.without_reset < 0 ? null : make.Flag(gpu.without_reset != 0));
    make.Set(object, "modeCode", make.Number(gpu.mode_code));
    make.Set(object, "profilesCode", make.Number(gpu.profiles_code));
    make.Set(object, "instancesCode", make.Number(gpu.instances_code));
    make.Set(object, "pids", Numbers(make, gpu.pids));
    napi_value profiles = make.Array();
    for (const MigProfileReading& one : gpu.profiles) make.Push(profiles, ProfileObject(env, one));
    make.Set(object, "profiles", profiles);
    napi_value instances = make.Array();
    for (const MigInstanceReading& one : gpu.instances) {
      make.Push(instances, InstanceObject(env, one));
    }
    make.Set(object, "instances", instances);
    make.Push(gpus, object);
  }
  napi_value object = make.Object();
  make.Set(object, "library", make.Text(value.library));
  make.Set(object, "driverVersion", TextOrNull(make, env, value.driver));
  make.Set(object, "simulated", make.Flag(value.simulated));
  make.Set(object, "gpus", gpus);
  return object;
}

// TypeScript: readMig(path: string, root: string, uuid: string): Promise<NativeMigSystem>
Napi::Value ReadMigJs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsString() || !info[2].IsString()) {
    return Throw(env, Status("ERR_INVALID_ARGUMENT", "readMig takes a path, a root and a UUID"));
  }
  ReadingWork work;
  work.path = info[0].As<Napi::String>().Utf8Value();
  work.root = info[1].As<Napi::String>().Utf8Value();
  work.uuid = info[2].As<Napi::String>().Utf8Value();
  return QueueWork(env, std::move(work), "warpgauge:readMig");
}

// TypeScript: changeMig(path: string, change: NativeMigChange): Promise<NativeMigChangeResult>
Napi::Value ChangeMigJs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) {
    return Throw(env, Status("ERR_INVALID_ARGUMENT", "changeMig takes a path and a change"));
  }
  ChangeWork work;
  work.path = info[0].As<Napi::String>().Utf8Value();
  OptionsReader reader(env, info[1], "changeMig");
  const std::string kind = reader.Text("kind");
  MigChange& change = work.change;
  if (kind == "set-mode") {
    change.kind = MigChange::Kind::kSetMode;
  } else if (kind == "create-instance") {
    change.kind = MigChange::Kind::kCreateInstance;
  } else if (kind == "destroy-instance") {
    change.kind = MigChange::Kind::kDestroyInstance;
  } else if (kind == "create-compute") {
    change.kind = MigChange::Kind::kCreateCompute;
  } else if (kind == "destroy-compute") {
    change.kind = MigChange::Kind::kDestroyCompute;
  } else {
    reader.Refuse("kind");
  }
  constexpr int64_t kMost = 1 << 20;
  change.gpu = reader.Text("gpu");
  change.enabled = reader.Flag("enabled");
  change.profile = static_cast<unsigned>(reader.Integer("profile", 0, kMost));
  change.start = static_cast<unsigned>(reader.Integer("start", 0, kMost));
  change.size = static_cast<unsigned>(reader.Integer("size", 0, kMost));
  change.instance = static_cast<unsigned>(reader.Integer("instance", 0, kMost));
  change.compute = static_cast<unsigned>(reader.Integer("compute", 0, kMost));
  if (Status status = reader.status(); !status.ok()) return Throw(env, status);
  return QueueWork(env, std::move(work), "warpgauge:changeMig");
}

}  // namespace

void InitMig(Napi::Env env, Napi::Object exports) {
  exports.Set("readMig", Napi::Function::New(env, ReadMigJs, "readMig"));
  exports.Set("changeMig", Napi::Function::New(env, ChangeMigJs, "changeMig"));
}

}  // namespace warpgauge
