#pragma once

// The single include site of napi.h, so that these defines always precede it, in both builds.
#define NAPI_VERSION 9  // 10 crashes Node 20 while it loads the addon (nodejs/node#57233)
#define NAPI_DISABLE_CPP_EXCEPTIONS
#define NODE_ADDON_API_DISABLE_DEPRECATED
#define NODE_ADDON_API_REQUIRE_BASIC_FINALIZERS
#include <napi.h>
