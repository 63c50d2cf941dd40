#include "addon/clock_addon.h"
#include "addon/copy_addon.h"
#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/gpu_addon.h"
#include "addon/machine_addon.h"
#include "addon/mig_addon.h"
#include "addon/napi_setup.h"
#include "addon/power_addon.h"
#include "addon/probe_addon.h"
#include "addon/region_addon.h"
#include "addon/sampler_addon.h"
#include "addon/trace_addon.h"
#include "core/clock.h"

namespace warpgauge {
namespace {

// TypeScript: monotonicNs(): bigint
Napi::Value MonotonicNsJs(const Napi::CallbackInfo& info) {
  return Napi::BigInt::New(info.Env(), MonotonicNs());
}

// TypeScript: utcOffsetNs(): bigint
Napi::Value UtcOffsetNsJs(const Napi::CallbackInfo& info) {
  return Napi::BigInt::New(info.Env(), UtcOffsetNs());
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment);  // owned by Node from here on
  InitErrors(env, exports);
  InitClock(env, exports);
  InitCopy(env, exports);
  InitGpu(env, exports);
  InitMachine(env, exports);
  InitMig(env, exports);
  InitPower(env, exports);
  exports.Set("monotonicNs", Napi::Function::New(env, MonotonicNsJs, "monotonicNs"));
  exports.Set("utcOffsetNs", Napi::Function::New(env, UtcOffsetNsJs, "utcOffsetNs"));
  InitProbes(env, exports);
  InitRegions(env, exports);
  InitSampler(env, exports);
  InitTrace(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(warpgauge, Init)

}  // namespace warpgauge
