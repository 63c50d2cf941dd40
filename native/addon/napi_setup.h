#pragma once

// The single include site of napi.h, so that these defines always precede it, in both builds.
#define NAPI_VERSION 9  // 10 crashes Node 20 while it loads the addon (nodejs/node#57233)
#define NAPI_DISABLE_CPP_EXCEPTIONS
#define NODE_ADDON_API_DISABLE_DEPRECATED
#define NODE_ADDON_API_REQUIRE_BASIC_FINALIZERS
// While worker.terminate() is under way every call into JavaScript fails, and so does throwing
// about it: without this node-addon-api ends the whole process for that.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>
