#include "addon/gpu_addon.h"

#include <string>

#include "addon/errors.h"
#include "gpu/nvml/facts.h"

namespace warpgauge {
namespace {

// One call of readGpus: made on the JavaScript thread, worked on a pool thread, ended on the
// JavaScript thread.
struct Reading {
  std::string path, root;
  Result<GpuSystemFacts> result;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
};

Napi::Value TextOrNull(Napi::Env env, const std::string& text) {
  return text.empty() ? env.Null() : Napi::String::New(env, text);
}

Napi::Value NumberOrNull(Napi::Env env, int64_t number) {
  return number < 0 ? env.Null() : Napi::Number::New(env, static_cast<double>(number));
}

Napi::Object GpuObject(Napi::Env env, const GpuFacts& gpu) {
  Napi::Object values = Napi::Object::New(env);
  Napi::Object reasons = Napi::Object::New(env);
  for (const GpuFact& fact : gpu.facts) {
    switch (fact.kind) {
      case GpuFact::Kind::kNull:
        values.Set(fact.name, env.Null());
        reasons.Set(fact.name, fact.reason);
        break;
      case GpuFact::Kind::kText:
        values.Set(fact.name, fact.text);
        break;
      case GpuFact::Kind::kNumber:
        values.Set(fact.name, fact.number);
        break;
      case GpuFact::Kind::kFlag:
        values.Set(fact.name, fact.flag);
        break;
    }
  }
  Napi::Array instances = Napi::Array::New(env);
  for (const MigInstanceFacts& instance : gpu.instances) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("uuid", instance.uuid);
    object.Set("gpuInstance", NumberOrNull(env, instance.gpu_instance));
    object.Set("computeInstance", NumberOrNull(env, instance.compute_instance));
    object.Set("memoryBytes", NumberOrNull(env, instance.memory_bytes));
    object.Set("multiprocessors", NumberOrNull(env, instance.multiprocessors));
    instances.Set(instances.Length(), object);
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("values", values);
  object.Set("reasons", reasons);
  object.Set("instances", instances);
  return object;
}

Napi::Object SystemObject(Napi::Env env, const GpuSystemFacts& system) {
  Napi::Array gpus = Napi::Array::New(env);
  for (const GpuFacts& gpu : system.gpus) gpus.Set(gpus.Length(), GpuObject(env, gpu));
  Napi::Object object = Napi::Object::New(env);
  object.Set("library", system.library);
  object.Set("driverVersion", TextOrNull(env, system.driver));
  object.Set("nvmlVersion", TextOrNull(env, system.nvml));
  object.Set("cudaVersion", TextOrNull(env, system.cuda));
  object.Set("simulated", system.simulated);
  object.Set("gpus", gpus);
  return object;
}

void OnWork(napi_env /*env*/, void* data) {
  auto* reading = static_cast<Reading*>(data);
  reading->result = ReadGpuFacts(reading->path, reading->root);
}

void OnWorkDone(napi_env raw, napi_status work_status, void* data) {
  auto* reading = static_cast<Reading*>(data);
  const Napi::Env env(raw);
  const Napi::HandleScope scope(env);
  if (work_status == napi_ok) {
    if (reading->result.ok()) {
      napi_resolve_deferred(env, reading->deferred, SystemObject(env, reading->result.value));
    } else {
      napi_reject_deferred(env, reading->deferred, MakeError(env, reading->result.status));
    }
  }
  napi_delete_async_work(env, reading->work);
  delete reading;
}

// TypeScript: readGpus(path: string, root: string): Promise<NativeGpuSystem>
//
// On a thread of libuv's pool: the first handle of a GPU initializes it, which takes milliseconds
// to seconds.
Napi::Value ReadGpus(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsString()) {
    return Throw(env, Status("ERR_INVALID_ARGUMENT", "readGpus takes a path and a root as text"));
  }
  auto* reading = new Reading;
  reading->path = info[0].As<Napi::String>().Utf8Value();
  reading->root = info[1].As<Napi::String>().Utf8Value();
  napi_value promise = nullptr;
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, "warpgauge:gpus", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_promise(env, &reading->deferred, &promise) != napi_ok ||
      napi_create_async_work(env, nullptr, name, OnWork, OnWorkDone, reading, &reading->work) !=
          napi_ok ||
      napi_queue_async_work(env, reading->work) != napi_ok) {
    if (reading->work != nullptr) napi_delete_async_work(env, reading->work);
    delete reading;
    return Throw(env, Status("ERR_INTERRUPTED", "the environment is ending"));
  }
  return {env, promise};
}

}  // namespace

void InitGpu(Napi::Env env, Napi::Object exports) {
  exports.Set("readGpus", Napi::Function::New(env, ReadGpus, "readGpus"));
}

}  // namespace warpgauge
