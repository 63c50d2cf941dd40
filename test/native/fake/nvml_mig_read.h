/* Reading instances by their own handles. */
#ifndef WARPGAUGE_TEST_FAKE_NVML_MIG_READ_H
#define WARPGAUGE_TEST_FAKE_NVML_MIG_READ_H

#include "nvml_mig_change.h"

/* All of one profile; `out` must have room for as many as the profile allows: nothing is checked.
 */
FAKE_EXPORT int nvmlDeviceGetGpuInstances(Device* device,
                                          unsigned id,
                                          MigHandle** out,
                                          unsigned* count) {
  const char* function = "nvmlDeviceGetGpuInstances";
  const MigBoard* board;
  unsigned i, n = 0;
  int code = EnterMig(function, device, &board);
  if (code == 0 && MigShapeOf(id) < 0) code = kNvInvalidArgument;
  if (code == 0) {
    const MigGpu* gpu;
    pthread_mutex_lock(&fake_lock);
    gpu = MigLook(device->index);
    if (!gpu->mode) code = kNvNotSupported;
    for (i = 0; code == 0 && i < gpu->gi_count; ++i) {
      if (gpu->gi[i].profile != id) continue;
      out[n++] = HandleFor(device->index, gpu->gi[i].id, 0, 0, 0);
    }
    if (code == 0) *count = n;
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave(function, code, "%u", id);
}

FAKE_EXPORT int nvmlDeviceGetGpuInstanceById(Device* device, unsigned id, MigHandle** out) {
  const char* function = "nvmlDeviceGetGpuInstanceById";
  const MigBoard* board;
  int code = EnterMig(function, device, &board);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    if (FindGi(MigLook(device->index), id) == NULL) code = kNvNotFound;
    if (code == 0) *out = HandleFor(device->index, id, 0, 0, 0);
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave(function, code, "%u", id);
}

FAKE_EXPORT int nvmlGpuInstanceGetInfo(MigHandle* handle, NvGiInfo* out) {
  const char* function = "nvmlGpuInstanceGetInfo";
  const int code = EnterInstance(function, handle, 0);
  if (code == 0) {
    const MigGi* gi;
    pthread_mutex_lock(&fake_lock);
    gi = FindGi(MigLook(handle->gpu), handle->gi);
    *out = (NvGiInfo){&devices[handle->gpu], gi->id, gi->profile, {gi->start, gi->size}};
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave(function, code);
}

static unsigned SlicesOf(const MigHandle* handle, int* shape) {
  MigGpu* gpu = MigLook(handle->gpu);
  *shape = MigShapeOf(FindGi(gpu, handle->gi)->profile);
  return kMigShapes[*shape].slices;
}

/* The profile of compute instances with NVML's enum `number`, 0 for one that does not fit. */
static unsigned ComputeSlices(unsigned number) {
  static const unsigned kSlices[] = {1, 2, 3, 4, 7};
  return number < 5 ? kSlices[number] : 0;
}

FAKE_EXPORT int nvmlGpuInstanceGetComputeInstanceProfileInfoV(MigHandle* handle,
                                                              unsigned number,
                                                              unsigned engine,
                                                              NvCiProfileV2* out) {
  const char* function = "nvmlGpuInstanceGetComputeInstanceProfileInfoV";
  int shape = 0, code = EnterInstance(function, handle, 0);
  if (code == 0 && (number >= 8 || engine != 0)) code = kNvInvalidArgument;
  if (code == 0 && out->version != NV_VERSION(NvCiProfileV2, 2)) code = kNvVersionMismatch;
  if (code == 0) {
    unsigned of, slices = ComputeSlices(number);
    pthread_mutex_lock(&fake_lock);
    of = SlicesOf(handle, &shape);
    if (slices == 0 || slices > of) code = kNvNotSupported;
    if (code == 0) {
      const MigBoard* board = MigBoardOf(handle->gpu);
      const unsigned version = out->version;
      memset(out, 0, sizeof(*out));
      out->version = version;
      out->id = number;
      out->slices = slices;
      out->count = MigBits(MigComputeStarts(slices, of));
      out->sms = board->sms[shape] * slices / of;
      out->copy_engines = board->copy[shape];
      out->decoders = board->decoders[shape];
      MigName(board, shape, slices, out->name, sizeof(out->name));
    }
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave(function, code, "%u", number);
}

FAKE_EXPORT int nvmlGpuInstanceGetComputeInstanceProfileInfo(MigHandle* handle,
                                                             unsigned number,
                                                             unsigned engine,
                                                             NvCiProfile* out) {
  NvCiProfileV2 full;
  int code;
  full.version = NV_VERSION(NvCiProfileV2, 2);
  code = nvmlGpuInstanceGetComputeInstanceProfileInfoV(handle, number, engine, &full);
  if (code == 0) memcpy(out, &full.id, sizeof(*out));
  return code;
}

FAKE_EXPORT int nvmlGpuInstanceGetComputeInstancePossiblePlacements(MigHandle* handle,
                                                                    unsigned profile,
                                                                    NvPlacement* out,
                                                                    unsigned* count) {
  const char* function = "nvmlGpuInstanceGetComputeInstancePossiblePlacements";
  int shape = 0, code = EnterInstance(function, handle, 0);
  if (code == 0 && ComputeSlices(profile) == 0) code = kNvInvalidArgument;
  if (code == 0) {
    unsigned of;
    pthread_mutex_lock(&fake_lock);
    of = SlicesOf(handle, &shape);
    pthread_mutex_unlock(&fake_lock);
    FillPlacements(
        MigComputeStarts(ComputeSlices(profile), of), ComputeSlices(profile), out, count);
  }
  return FakeLeave(function, code, "%u", profile);
}

FAKE_EXPORT int nvmlGpuInstanceGetComputeInstances(MigHandle* handle,
                                                   unsigned profile,
                                                   MigHandle** out,
                                                   unsigned* count) {
  const char* function = "nvmlGpuInstanceGetComputeInstances";
  unsigned i, n = 0;
  int code = EnterInstance(function, handle, 0);
  if (code == 0 && ComputeSlices(profile) == 0) code = kNvInvalidArgument;
  if (code == 0) {
    const MigGpu* gpu;
    pthread_mutex_lock(&fake_lock);
    gpu = MigLook(handle->gpu);
    for (i = 0; i < gpu->ci_count; ++i) {
      const MigCi* ci = &gpu->ci[i];
      if (ci->gi != handle->gi || ci->slices != ComputeSlices(profile)) continue;
      out[n++] = HandleFor(handle->gpu, ci->gi, 1, ci->id, ci->serial);
    }
    *count = n;
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave(function, code, "%u", profile);
}

FAKE_EXPORT int nvmlGpuInstanceGetComputeInstanceById(MigHandle* handle,
                                                      unsigned id,
                                                      MigHandle** out) {
  const char* function = "nvmlGpuInstanceGetComputeInstanceById";
  int code = EnterInstance(function, handle, 0);
  if (code == 0) {
    const MigCi* ci;
    pthread_mutex_lock(&fake_lock);
    ci = FindCi(MigLook(handle->gpu), handle->gi, id);
    if (ci == NULL) code = kNvNotFound;
    if (code == 0) *out = HandleFor(handle->gpu, handle->gi, 1, id, ci->serial);
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave(function, code, "%u", id);
}

/* `device` is the MIG device: its UUID can be asked at once. */
FAKE_EXPORT int nvmlComputeInstanceGetInfo_v2(MigHandle* handle, NvCiInfo* out) {
  const char* function = "nvmlComputeInstanceGetInfo_v2";
  int code = EnterInstance(function, handle, 1);
  if (code == 0) {
    const MigCi* ci;
    unsigned profile = 0;
    pthread_mutex_lock(&fake_lock);
    ci = FindCi(MigLook(handle->gpu), handle->gi, handle->ci);
    while (ComputeSlices(profile) != ci->slices) ++profile;
    out->device = MigDevice(handle->gpu, (int)ci->gi, (int)ci->id, (int)ci->serial);
    out->gpu_instance = HandleFor(handle->gpu, handle->gi, 0, 0, 0);
    out->id = ci->id;
    out->profile_id = profile;
    out->placement = (NvPlacement){ci->start, ci->slices};
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave(function, code);
}

#endif
