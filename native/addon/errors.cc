#include "addon/errors.h"

#include "addon/environment.h"

namespace warpgauge {
namespace {

// TypeScript: setErrorClass(errorClass: typeof WarpgaugeError): void
Napi::Value SetErrorClass(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsFunction()) {
    return Throw(env, Status("ERR_INVALID_ARGUMENT", "setErrorClass received no class"));
  }
  env.GetInstanceData<Environment>()->error_class = Napi::Persistent(info[0].As<Napi::Function>());
  return env.Undefined();
}

}  // namespace

void InitErrors(Napi::Env env, Napi::Object exports) {
  exports.Set("setErrorClass", Napi::Function::New(env, SetErrorClass, "setErrorClass"));
}

Napi::Value MakeError(Napi::Env env, const Status& status) {
  Napi::Object details = Napi::Object::New(env);
  if (!status.fix().empty()) details.Set("fix", status.fix());
  if (!status.source().empty()) details.Set("source", status.source());
  if (status.number() != 0) details.Set("status", status.number());
  auto* environment = env.GetInstanceData<Environment>();
  if (environment->error_class.IsEmpty()) {
    Napi::Error error = Napi::Error::New(env, status.message());
    error.Set("code", status.code());
    return error.Value();
  }
  return environment->error_class.New(
      {Napi::String::New(env, status.code()), Napi::String::New(env, status.message()), details});
}

Napi::Value Throw(Napi::Env env, const Status& status) {
  // What the user's own getter threw says more, and nothing can be built while it is pending.
  if (env.IsExceptionPending()) return env.Undefined();
  Napi::Value error = MakeError(env, status);
  napi_throw(env, error);
  return env.Undefined();
}

}  // namespace warpgauge
