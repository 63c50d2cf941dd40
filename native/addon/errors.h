#pragma once

#include "addon/napi_setup.h"
#include "core/status.h"

namespace warpgauge {

// JavaScript hands its WarpgaugeError class over once per environment; native
// errors are instances of it.
void InitErrors(Napi::Env env, Napi::Object exports);

// Builds the WarpgaugeError of a failed status: code, message, fix, source and
// number. JS thread only.
Napi::Value MakeError(Napi::Env env, const Status& status);

// Leaves the error pending and returns undefined, so that a method can `return Throw(env, status)`.
// An exception that is pending already stays.
Napi::Value Throw(Napi::Env env, const Status& status);

}  // namespace warpgauge
