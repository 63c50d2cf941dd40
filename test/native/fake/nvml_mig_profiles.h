/* What a board can be divided into: profiles, placements, and what is still free. */
#ifndef WARPGAUGE_TEST_FAKE_NVML_MIG_PROFILES_H
#define WARPGAUGE_TEST_FAKE_NVML_MIG_PROFILES_H

#include "nvml_mig.h"

/* Enums that this header version knows; those of them that no board here has are not supported. */
enum { kGiProfileNumbers = FAKE_HEADER >= 1302 ? 0x12 : FAKE_HEADER >= 1209 ? 0x11 : 0xd };

/* 0 when the device can be asked about MIG at all. */
static int EnterMig(const char* function, const Device* device, const MigBoard** board) {
  int code = Enter(function, device);
  pthread_mutex_lock(&fake_lock);
  if (code == 0 && IsMig(device)) code = kNvInvalidArgument;
  *board = code == 0 ? MigBoardOf(device->index) : NULL;
  if (code == 0 && *board == NULL) code = kNvNotSupported;
  if (code == 0 && FakeNumber("nvml.mig_query_needs_mode", 0) != 0 &&
      !MigLook(device->index)->mode) {
    code = kNvNotSupported;
  }
  pthread_mutex_unlock(&fake_lock);
  return code;
}

static int MigShapeOfNumber(unsigned number, int* shape) {
  int i;
  if (number >= kGiProfileNumbers) return kNvInvalidArgument;
  for (i = 0; i < kMigProfiles; ++i) {
    if (kMigShapes[i].number == number) {
      *shape = i;
      return 0;
    }
  }
  return kNvNotSupported;
}

static void FillProfile(const MigBoard* board, int shape, NvGiProfileV2* out) {
  const MigShape* s = &kMigShapes[shape];
  const int media = s->id == 20 || s->id == 0;
  memset(out, 0, sizeof(*out));
  out->id = s->id;
  out->slices = s->slices;
  out->count = s->most;
  out->sms = board->sms[shape];
  out->copy_engines = board->copy[shape];
  out->decoders = board->decoders[shape];
  out->jpegs = board->decoders[shape];
  out->ofas = (unsigned)media;
  out->memory_mib = board->mib[shape];
  MigName(board, shape, s->slices, out->name, sizeof(out->name));
}

FAKE_EXPORT int nvmlDeviceGetGpuInstanceProfileInfo(Device* device,
                                                    unsigned number,
                                                    NvGiProfile* out) {
  const char* function = "nvmlDeviceGetGpuInstanceProfileInfo";
  const MigBoard* board;
  NvGiProfileV2 full;
  int shape = 0, code = EnterMig(function, device, &board);
  if (code == 0) code = MigShapeOfNumber(number, &shape);
  if (code == 0) {
    FillProfile(board, shape, &full);
    *out = (NvGiProfile){full.id,
                         full.p2p,
                         full.slices,
                         full.count,
                         full.sms,
                         full.copy_engines,
                         full.decoders,
                         full.encoders,
                         full.jpegs,
                         full.ofas,
                         full.memory_mib};
  }
  return FakeLeave(function, code, "%u", number);
}

FAKE_EXPORT int nvmlDeviceGetGpuInstanceProfileInfoV(Device* device, unsigned number, void* out) {
  const char* function = "nvmlDeviceGetGpuInstanceProfileInfoV";
  const MigBoard* board;
  NvGiProfileV2 full;
  unsigned version;
  int shape = 0, code = EnterMig(function, device, &board);
  memcpy(&version, out, sizeof(version));
  if (code == 0) code = MigShapeOfNumber(number, &shape);
  if (code == 0 && version != NV_VERSION(NvGiProfileV2, 2) &&
      version != NV_VERSION(NvGiProfileV3, 3)) {
    code = kNvVersionMismatch;
  }
  if (code == 0) {
    FillProfile(board, shape, &full);
    full.version = version;
    if (version == NV_VERSION(NvGiProfileV2, 2)) {
      memcpy(out, &full, sizeof(full));
    } else {
      NvGiProfileV3 v3;
      memset(&v3, 0, sizeof(v3));
      v3.version = version;
      v3.id = full.id;
      v3.slices = full.slices;
      v3.count = full.count;
      v3.sms = full.sms;
      v3.copy_engines = full.copy_engines;
      v3.decoders = full.decoders;
      v3.encoders = full.encoders;
      v3.jpegs = full.jpegs;
      v3.ofas = full.ofas;
      v3.memory_mib = full.memory_mib;
      memcpy(v3.name, full.name, sizeof(v3.name));
      memcpy(out, &v3, sizeof(v3));
    }
  }
  return FakeLeave(function, code, "%u", number);
}

/* Placements from the bits of their starts. The count is output only: no capacity is checked. */
static void FillPlacements(unsigned starts, unsigned size, NvPlacement* out, unsigned* count) {
  unsigned start, n = 0;
  for (start = 0; start < 32; ++start) {
    if ((starts >> start & 1) == 0) continue;
    if (out != NULL) out[n] = (NvPlacement){start, size};
    ++n;
  }
  *count = n;
}

FAKE_EXPORT int nvmlDeviceGetGpuInstancePossiblePlacements_v2(Device* device,
                                                              unsigned id,
                                                              NvPlacement* out,
                                                              unsigned* count) {
  const char* function = "nvmlDeviceGetGpuInstancePossiblePlacements_v2";
  const MigBoard* board;
  int shape, code = EnterMig(function, device, &board);
  shape = MigShapeOf(id);
  if (code == 0 && shape < 0) code = kNvInvalidArgument;
  if (code == 0) {
    unsigned starts;
    pthread_mutex_lock(&fake_lock);
    /* `nvml.<i>.mig_starts.<id>`: a driver that disagrees with every table */
    {
      char key[48];
      snprintf(key, sizeof(key), "nvml.%d.mig_starts.%u", device->index, id);
      starts = (unsigned)FakeNumber(key, kMigShapes[shape].starts);
    }
    pthread_mutex_unlock(&fake_lock);
    FillPlacements(starts, kMigShapes[shape].size, out, count);
  }
  return FakeLeave(function, code, "%u", id);
}

FAKE_EXPORT int nvmlDeviceGetGpuInstanceRemainingCapacity(Device* device,
                                                          unsigned id,
                                                          unsigned* count) {
  const char* function = "nvmlDeviceGetGpuInstanceRemainingCapacity";
  const MigBoard* board;
  int shape, code = EnterMig(function, device, &board);
  shape = MigShapeOf(id);
  if (code == 0 && shape < 0) code = kNvInvalidArgument;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    *count = MigRemaining(MigLook(device->index), &kMigShapes[shape]);
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave(function, code, "%u", id);
}

#endif
