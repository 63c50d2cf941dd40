#pragma once

#include <cstddef>

#include "addon/napi_setup.h"
#include "core/status.h"

namespace warpgauge {

// The mapping behind a buffer of allocateRegion; ERR_CLOSED where there is none any more.
struct RegionBytes {
  Status status;
  void* address = nullptr;
  size_t bytes = 0;
};
RegionBytes BytesOfRegion(napi_env env, napi_value buffer);

// allocateRegion, releaseRegion, proveRegion: page-backed memory as external ArrayBuffers.
void InitRegions(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
