#pragma once

#include "addon/napi_setup.h"

namespace warpgauge {

// The clocks of the machine, for recordings.
void InitClock(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
