#pragma once

#include "addon/napi_setup.h"

namespace warpgauge {

// openSampler and all that is done with a sampler: see Binding in lib/addon.ts. Samplers are known
// by numbers: whatever JavaScript passes in, native code looks it up in what this environment has.
void InitSampler(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
