#include "addon/clock_addon.h"

#include "core/clock_anchor.h"

namespace warpgauge {
namespace {

// int adjtimex(struct timex *)
// TypeScript: readClockAnchor(): NativeClockAnchor
Napi::Value ReadClockAnchorJs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const ClockAnchor anchor = ReadClockAnchor();
  Napi::Object result = Napi::Object::New(env);
  result.Set("monotonicNs", Napi::BigInt::New(env, anchor.monotonic_ns));
  result.Set("realtimeNs", Napi::BigInt::New(env, anchor.realtime_ns));
  result.Set("boottimeNs", Napi::BigInt::New(env, anchor.boottime_ns));
  result.Set("bracketNs", Napi::Number::New(env, static_cast<double>(anchor.bracket_ns)));
  const bool told = anchor.state >= 0;
  result.Set("state", told ? Napi::Number::New(env, anchor.state) : env.Null());
  result.Set("error", told ? env.Null() : Napi::Number::New(env, anchor.error));
  result.Set("maxErrorNs",
             told ? Napi::Number::New(env, static_cast<double>(anchor.max_error_ns)) : env.Null());
  return result;
}

}  // namespace

void InitClock(Napi::Env env, Napi::Object exports) {
  exports.Set("readClockAnchor", Napi::Function::New(env, ReadClockAnchorJs, "readClockAnchor"));
}

}  // namespace warpgauge
