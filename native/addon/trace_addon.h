#pragma once

#include "addon/napi_setup.h"

namespace warpgauge {

void InitTrace(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
