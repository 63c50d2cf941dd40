#pragma once

#include <utility>

#include "addon/errors.h"
#include "addon/napi_setup.h"
#include "core/status.h"

namespace warpgauge {

// A slow call as a promise: made on the JavaScript thread, worked on a thread of libuv's pool,
// ended on the JavaScript thread. W has `Result<Value> Run() const` and `static napi_value
// Make(napi_env, const Value&)`.
template <typename W>
struct Pending {
  W work;
  Result<typename W::Value> result;
  napi_async_work handle = nullptr;
  napi_deferred deferred = nullptr;
};

template <typename W>
void OnWork(napi_env /*env*/, void* data) {
  auto* pending = static_cast<Pending<W>*>(data);
  pending->result = pending->work.Run();
}

template <typename W>
void OnDone(napi_env env, napi_status status, void* data) {
  auto* pending = static_cast<Pending<W>*>(data);
  const Napi::HandleScope scope{Napi::Env(env)};
  if (status == napi_ok) {
    if (pending->result.ok()) {
      napi_resolve_deferred(env, pending->deferred, W::Make(env, pending->result.value));
    } else {
      napi_reject_deferred(env, pending->deferred, MakeError(env, pending->result.status));
    }
  }
  napi_delete_async_work(env, pending->handle);
  delete pending;
}

template <typename W>
Napi::Value QueueWork(Napi::Env env, W work, const char* label) {
  auto* pending = new Pending<W>;
  pending->work = std::move(work);
  napi_value promise = nullptr;
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, label, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_promise(env, &pending->deferred, &promise) != napi_ok ||
      napi_create_async_work(env, nullptr, name, OnWork<W>, OnDone<W>, pending, &pending->handle) !=
          napi_ok ||
      napi_queue_async_work(env, pending->handle) != napi_ok) {
    if (pending->handle != nullptr) napi_delete_async_work(env, pending->handle);
    delete pending;
    return Throw(env, Status("ERR_INTERRUPTED", "the environment is ending"));
  }
  return {env, promise};
}

}  // namespace warpgauge
