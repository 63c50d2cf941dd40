/* The MIG structs of the NVML ABI as this fake reads them: see nvml_abi.h. */
#ifndef WARPGAUGE_TEST_FAKE_NVML_MIG_ABI_H
#define WARPGAUGE_TEST_FAKE_NVML_MIG_ABI_H

#include "nvml_abi.h"

enum { kNvResetRequired = 16, kNvInUse = 19, kNvInsufficientResources = 23 };

typedef struct {
  unsigned id, p2p, slices, count, sms, copy_engines, decoders, encoders, jpegs, ofas;
  unsigned long long memory_mib;
} NvGiProfile;

typedef struct {
  unsigned version, id, p2p, slices, count, sms, copy_engines, decoders, encoders, jpegs, ofas;
  unsigned long long memory_mib;
  char name[96];
} NvGiProfileV2;

typedef struct { /* as long as v2, and other offsets from the third member on */
  unsigned version, id, slices, count, sms, copy_engines, decoders, encoders, jpegs, ofas;
  unsigned long long memory_mib;
  char name[96];
  unsigned capabilities;
} NvGiProfileV3;

typedef struct {
  unsigned start, size;
} NvPlacement;

typedef struct {
  void* device;
  unsigned id, profile_id;
  NvPlacement placement;
} NvGiInfo;

typedef struct {
  unsigned id, slices, count, sms, copy_engines, decoders, encoders, jpegs, ofas;
} NvCiProfile;

typedef struct {
  unsigned version, id, slices, count, sms, copy_engines, decoders, encoders, jpegs, ofas;
  char name[96];
} NvCiProfileV2;

typedef struct {
  void *device, *gpu_instance;
  unsigned id, profile_id;
  NvPlacement placement;
} NvCiInfo;

NV_CHECK(sizeof(NvGiProfile) == 48 && offsetof(NvGiProfile, memory_mib) == 40);
NV_CHECK(NV_VERSION(NvGiProfileV2, 2) == 0x02000098u && offsetof(NvGiProfileV2, name) == 56);
NV_CHECK(NV_VERSION(NvGiProfileV3, 3) == 0x03000098u && offsetof(NvGiProfileV3, name) == 48);
NV_CHECK(offsetof(NvGiProfileV3, capabilities) == 144);
NV_CHECK(sizeof(NvPlacement) == 8 && sizeof(NvGiInfo) == 24 && offsetof(NvGiInfo, placement) == 16);
NV_CHECK(sizeof(NvCiProfile) == 36 && NV_VERSION(NvCiProfileV2, 2) == 0x02000088u);
NV_CHECK(offsetof(NvCiProfileV2, name) == 40);
NV_CHECK(sizeof(NvCiInfo) == 32 && offsetof(NvCiInfo, placement) == 24);

#endif
