#pragma once

#include "addon/napi_setup.h"

namespace warpgauge {

// What this machine lets us do, for doctor: every function opens, looks and closes,
// on the calling thread.
void InitProbes(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
