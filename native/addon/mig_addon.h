#pragma once

#include "addon/napi_setup.h"

namespace warpgauge {

// Reading and changing how GPUs are divided, on threads of libuv's pool.
void InitMig(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
