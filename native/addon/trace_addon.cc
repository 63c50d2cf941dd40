#include "addon/trace_addon.h"

#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/options_reader.h"
#include "addon/value_maker.h"
#include "gpu/cupti/trace_buffer.h"

namespace warpgauge {
namespace {

// 0, with an exception pending, when this environment has no such trace (any more).
uint32_t OwnTrace(const Napi::CallbackInfo& info) {
  uint32_t id = 0;
  auto* environment = info.Env().GetInstanceData<Environment>();
  if (info.Length() > 0 && napi_get_value_uint32(info.Env(), info[0], &id) == napi_ok &&
      environment->traces.contains(id)) {
    return id;
  }
  Throw(info.Env(), Status("ERR_CLOSED", "the trace is closed"));
  return 0;
}

// TypeScript: createTrace(options: NativeTraceOptions): NativeTrace
Napi::Value CreateTrace(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  OptionsReader given(env, info[0], "createTrace");
  TraceOptions options;
  options.bytes =
      static_cast<uint64_t>(given.Integer("bytes",
                                          static_cast<int64_t>(TraceBuffer::kLeastBytes),
                                          static_cast<int64_t>(TraceBuffer::kMostBytes)));
  options.kinds = static_cast<uint32_t>(given.Integer("kinds", 0, UINT32_MAX));
  options.api = static_cast<uint32_t>(given.Integer("api", WG_API_NONE, WG_API_ALL));
  options.flush_ms = static_cast<uint32_t>(given.Integer("flushMs", 1, 10'000));
  options.tracing = given.Flag("tracing");
  options.dir = given.Text("dir");
  if (!given.status().ok()) return Throw(env, given.status());
  const Result<TraceBuffer*> trace = TraceBuffer::Create(options);
  if (!trace.ok()) return Throw(env, trace.status);
  const uint32_t id = RegisterTrace(trace.value);
  env.GetInstanceData<Environment>()->traces.insert(id);
  const ValueMaker make(env);
  napi_value object = make.Object();
  make.Set(object, "id", make.Number(id));
  make.Set(object, "fd", make.Number(trace.value->fd()));
  make.Set(object, "lanes", make.Number(trace.value->layout().lanes));
  make.Set(object, "laneRecords", make.Number(trace.value->layout().capacity));
  return {env, object};
}

// TypeScript: setTracing(id: number, tracing: boolean): void
Napi::Value SetTracing(const Napi::CallbackInfo& info) {
  const uint32_t id = OwnTrace(info);
  bool tracing = false;
  if (id == 0) return info.Env().Undefined();
  if (napi_get_value_bool(info.Env(), info[1], &tracing) != napi_ok) {
    return Throw(info.Env(), Status("ERR_INVALID_ARGUMENT", "setTracing received no boolean"));
  }
  if (TraceBuffer* trace = FindTrace(id)) {
    trace->SetTracing(tracing);
    trace->Unref();
  }
  return info.Env().Undefined();
}

// TypeScript: releaseTrace(id: number): void
//
// A source that reads it keeps it until it is stopped.
Napi::Value ReleaseTrace(const Napi::CallbackInfo& info) {
  const uint32_t id = OwnTrace(info);
  if (id == 0) return info.Env().Undefined();
  info.Env().GetInstanceData<Environment>()->traces.erase(id);
  ForgetTrace(id);
  return info.Env().Undefined();
}

}  // namespace

void InitTrace(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*method)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, method, name));
  };
  add("createTrace", CreateTrace);
  add("setTracing", SetTracing);
  add("releaseTrace", ReleaseTrace);
}

}  // namespace warpgauge
