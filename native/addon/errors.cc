#include "addon/errors.h"

#include "addon/environment.h"

namespace warpgauge {
namespace {

// TypeScript: setErrorClass(errorClass: typeof WarpgaugeError): void
Napi::Value SetErrorClass(const Napi::CallbackInfo& info) {
  info.Env().GetInstanceData<Environment>()->error_class =
      Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
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
  Napi::Value error = MakeError(env, status);
  napi_throw(env, error);
  return env.Undefined();
}

}  // namespace warpgauge
