#pragma once

#include "addon/napi_setup.h"

namespace warpgauge {

// allocateRegion, releaseRegion, proveRegion: page-backed memory as external ArrayBuffers.
void InitRegions(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
