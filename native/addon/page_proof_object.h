#pragma once

#include "addon/napi_setup.h"
#include "memory/page_proof.h"

namespace warpgauge {

// NativePageProof of lib/addon.ts.
inline Napi::Object PageProofObject(Napi::Env env, const PageProof& proof) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("bytes4k", static_cast<double>(proof.bytes_4k));
  object.Set("bytesThp", static_cast<double>(proof.bytes_thp));
  object.Set("bytes2m", static_cast<double>(proof.bytes_2m));
  object.Set("bytes1g", static_cast<double>(proof.bytes_1g));
  object.Set("bytesOther", static_cast<double>(proof.bytes_other));
  object.Set("bytesZero", static_cast<double>(proof.bytes_zero));
  object.Set("bytesAbsent", static_cast<double>(proof.bytes_absent));
  object.Set("method", proof.method);
  return object;
}

}  // namespace warpgauge
