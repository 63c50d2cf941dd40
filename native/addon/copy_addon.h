#pragma once

#include "addon/napi_setup.h"

namespace warpgauge {

// openBackend, runSample, enterChild: for the copying child process only. They block the calling
// thread, which is the thread that is measured.
void InitCopy(Napi::Env env, Napi::Object exports);

}  // namespace warpgauge
