#pragma once

#include "addon/napi_setup.h"

namespace warpgauge {

// Reading and changing power, clocks and persistence of GPUs, on threads of libuv's pool.
void InitPower(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
