#pragma once

#include "addon/napi_setup.h"

namespace warpgauge {

// System calls that mitigate needs and Node has not. They act at once, on the calling thread.
void InitMachine(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
