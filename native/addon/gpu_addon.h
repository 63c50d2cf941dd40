#pragma once

#include "addon/napi_setup.h"

namespace warpgauge {

// What NVML says once of the GPUs, for doctor and the environment record.
void InitGpu(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
