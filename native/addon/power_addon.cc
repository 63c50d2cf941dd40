#include "addon/power_addon.h"

#include <string>

#include "addon/errors.h"
#include "addon/options_reader.h"
#include "addon/promise_work.h"
#include "addon/value_maker.h"
#include "gpu/nvml/power_change.h"
#include "gpu/nvml/power_reading.h"

namespace warpgauge {
namespace {

struct PowerReadingWork {
  using Value = PowerSystemReading;
  std::string path, root, uuid;
  bool clocks = false;
  [[nodiscard]] Result<Value> Run() const { return ReadPower(path, root, uuid, clocks); }
  static napi_value Make(napi_env env, const Value& value);
};

struct PowerChangeWork {
  using Value = bool;
  std::string path;
  PowerChange change;
  [[nodiscard]] Result<Value> Run() const {
    Status status = ChangePower(path, change);
    if (!status.ok()) return status;
    return true;
  }
  static napi_value Make(napi_env env, const Value& /*value*/) {
    napi_value undefined = nullptr;
    napi_get_undefined(env, &undefined);
    return undefined;
  }
};

napi_value Numbers(const ValueMaker& make, const std::vector<unsigned>& numbers) {
  napi_value array = make.Array();
  for (const unsigned number : numbers) make.Push(array, make.Number(number));
  return array;
}

// `{value, code}`: value is null where code is not 0.
napi_value ValueObject(napi_env env, const PowerValue& value) {
  const ValueMaker make(env);
  napi_value null = nullptr;
  napi_get_null(env, &null);
  napi_value object = make.Object();
  make.Set(object,
           "value",
           value.code == kNvmlSuccess ? make.Number(static_cast<double>(value.value)) : null);
  make.Set(object, "code", make.Number(value.code));
  return object;
}

napi_value PowerReadingWork::Make(napi_env env, const Value& value) {
  const ValueMaker make(env);
  napi_value null = nullptr;
  napi_get_null(env, &null);
  napi_value gpus = make.Array();
  for (const PowerGpuReading& gpu : value.gpus) {
    napi_value object = make.Object();
    make.Set(object, "uuid", make.Text(gpu.uuid));
    make.Set(object, "name", make.Text(gpu.name));
    make.Set(object, "pciAddress", make.Text(gpu.pci_address));
    make.Set(object, "persistence", ValueObject(env, gpu.persistence));
    make.Set(object, "limitRequestedMw", ValueObject(env, gpu.limit_requested));
    make.Set(object, "limitEnforcedMw", ValueObject(env, gpu.limit_enforced));
    make.Set(object, "limitDefaultMw", ValueObject(env, gpu.limit_default));
    make.Set(object, "limitMinMw", ValueObject(env, gpu.limit_min));
    make.Set(object, "limitMaxMw", ValueObject(env, gpu.limit_max));
    make.Set(object, "drawMw", ValueObject(env, gpu.draw));
    make.Set(object, "energyMj", ValueObject(env, gpu.energy));
    make.Set(object, "smClockMhz", ValueObject(env, gpu.sm_clock));
    make.Set(object, "memoryClockMhz", ValueObject(env, gpu.memory_clock));
    make.Set(object, "smClockMaxMhz", ValueObject(env, gpu.sm_clock_max));
    make.Set(object, "memoryClockMaxMhz", ValueObject(env, gpu.memory_clock_max));
    make.Set(object, "eventReasons", ValueObject(env, gpu.event_reasons));
    make.Set(object, "utilizationPercent", ValueObject(env, gpu.utilization));
    make.Set(object, "supportedCode", make.Number(gpu.supported_code));
    make.Set(object, "supportedMemoryMhz", Numbers(make, gpu.supported_memory));
    make.Set(object, "supportedSmMhz", Numbers(make, gpu.supported_sm));
    make.Push(gpus, object);
  }
  napi_value object = make.Object();
  make.Set(object, "library", make.Text(value.library));
  make.Set(object, "driverVersion", value.driver.empty() ? null : make.Text(value.driver));
  make.Set(object, "simulated", make.Flag(value.simulated));
  make.Set(object, "gpus", gpus);
  return object;
}

// TypeScript: readPower(path: string, root: string, uuid: string, clocks: boolean): Promise<NativePowerSystem>
Napi::Value ReadPowerJs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsString() || !info[2].IsString() || !info[3].IsBoolean()) {
    return Throw(
        env,
        Status("ERR_INVALID_ARGUMENT", "readPower takes a path, a root, a UUID and a boolean"));
  }
  PowerReadingWork work;
  work.path = info[0].As<Napi::String>().Utf8Value();
  work.root = info[1].As<Napi::String>().Utf8Value();
  work.uuid = info[2].As<Napi::String>().Utf8Value();
  work.clocks = info[3].As<Napi::Boolean>().Value();
  return QueueWork(env, std::move(work), "warpgauge:readPower");
}

// TypeScript: changePower(path: string, change: NativePowerChange): Promise<void>
Napi::Value ChangePowerJs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) {
    return Throw(env, Status("ERR_INVALID_ARGUMENT", "changePower takes a path and a change"));
  }
  PowerChangeWork work;
  work.path = info[0].As<Napi::String>().Utf8Value();
  OptionsReader reader(env, info[1], "changePower");
  const std::string kind = reader.Text("kind");
  PowerChange& change = work.change;
  if (kind == "power-limit") {
    change.kind = PowerChange::Kind::kPowerLimit;
  } else if (kind == "lock-sm") {
    change.kind = PowerChange::Kind::kLockSm;
  } else if (kind == "reset-sm") {
    change.kind = PowerChange::Kind::kResetSm;
  } else if (kind == "lock-memory") {
    change.kind = PowerChange::Kind::kLockMemory;
  } else if (kind == "reset-memory") {
    change.kind = PowerChange::Kind::kResetMemory;
  } else if (kind == "persistence") {
    change.kind = PowerChange::Kind::kPersistence;
  } else {
    reader.Refuse("kind");
  }
  constexpr int64_t kMost = 1 << 30;
  change.gpu = reader.Text("gpu");
  change.limit_mw = static_cast<unsigned>(reader.Integer("limitMw", 0, kMost));
  change.low_mhz = static_cast<unsigned>(reader.Integer("lowMhz", 0, kMost));
  change.high_mhz = static_cast<unsigned>(reader.Integer("highMhz", 0, kMost));
  change.enabled = reader.Flag("enabled");
  if (Status status = reader.status(); !status.ok()) return Throw(env, status);
  return QueueWork(env, std::move(work), "warpgauge:changePower");
}

}  // namespace

void InitPower(Napi::Env env, Napi::Object exports) {
  exports.Set("readPower", Napi::Function::New(env, ReadPowerJs, "readPower"));
  exports.Set("changePower", Napi::Function::New(env, ChangePowerJs, "changePower"));
}

}  // namespace warpgauge
