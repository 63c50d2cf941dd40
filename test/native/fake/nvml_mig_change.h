/* The calls that change MIG: mode, GPU instances, compute instances. */
#ifndef WARPGAUGE_TEST_FAKE_NVML_MIG_CHANGE_H
#define WARPGAUGE_TEST_FAKE_NVML_MIG_CHANGE_H

#include "nvml_mig_profiles.h"
#include "nvml_processes.h"

/* A handle of a GPU instance, or of a compute instance in one: by id, so that it is stale when that
 * is gone. */
typedef struct {
  int gpu;
  unsigned gi, ci, serial;
  int is_compute;
} MigHandle;
enum { kMigHandles = 512 };
static MigHandle mig_handles[kMigHandles];
static int mig_handle_count;

static MigHandle* HandleFor(int gpu, unsigned gi, int is_compute, unsigned ci, unsigned serial) {
  const MigHandle want = {gpu, gi, ci, serial, is_compute};
  int i;
  for (i = 0; i < mig_handle_count; ++i) {
    if (memcmp(&mig_handles[i], &want, sizeof(want)) == 0) return &mig_handles[i];
  }
  if (mig_handle_count == kMigHandles) abort();
  mig_handles[mig_handle_count] = want;
  return &mig_handles[mig_handle_count++];
}

static MigGi* FindGi(MigGpu* gpu, unsigned id) {
  unsigned i;
  for (i = 0; i < gpu->gi_count; ++i) {
    if (gpu->gi[i].id == id) return &gpu->gi[i];
  }
  return NULL;
}

static MigCi* FindCi(MigGpu* gpu, unsigned gi, unsigned id) {
  unsigned i;
  for (i = 0; i < gpu->ci_count; ++i) {
    if (gpu->ci[i].gi == gi && gpu->ci[i].id == id) return &gpu->ci[i];
  }
  return NULL;
}

static int IsHandle(const MigHandle* handle) {
  return handle >= mig_handles && handle < mig_handles + mig_handle_count;
}

/* Begins a call about an instance; 0 when it is still there. */
static int EnterInstance(const char* function, const MigHandle* handle, int is_compute) {
  int code, known;
  pthread_mutex_lock(&fake_lock);
  known = IsHandle(handle) && handle->is_compute == is_compute;
  pthread_mutex_unlock(&fake_lock);
  code = Enter(function, known ? &devices[handle->gpu] : NULL);
  if (code == 0) {
    MigGpu* gpu;
    pthread_mutex_lock(&fake_lock);
    gpu = MigLook(handle->gpu);
    if (FindGi(gpu, handle->gi) == NULL) code = kNvInvalidArgument;
    if (code == 0 && is_compute) {
      const MigCi* ci = FindCi(gpu, handle->gi, handle->ci);
      if (ci == NULL || ci->serial != handle->serial) code = kNvInvalidArgument;
    }
    pthread_mutex_unlock(&fake_lock);
  }
  return code;
}

/* Whether a process, or a leaked handle, keeps an instance. ci -1: any of the GPU instance. */
static int InstanceInUse(int gpu, unsigned gi, int ci) {
  Process list[kMaxProcesses];
  char key[48], text[32];
  const FakeEntry* leaked;
  int i;
  const int n = ListProcesses(&devices[gpu], list);
  for (i = 0; i < n; ++i) {
    if (list[i].gpu_instance == gi && (ci < 0 || list[i].compute_instance == (unsigned)ci)) {
      return 1;
    }
  }
  snprintf(key, sizeof(key), "nvml.%d.leaked", gpu);
  leaked = FakeFind(key);
  for (i = 0; leaked != NULL && FakeElement(leaked->value, i, text, sizeof(text)); ++i) {
    if (strtoul(text, NULL, 0) == gi) return 1;
  }
  return 0;
}

FAKE_EXPORT int nvmlDeviceSetMigMode(Device* device, unsigned mode, int* activation) {
  const char* function = "nvmlDeviceSetMigMode";
  const MigBoard* board;
  MigChange change;
  int code = Enter(function, device), changed = 0;
  pthread_mutex_lock(&fake_lock);
  board = code == 0 ? MigBoardOf(device->index) : NULL;
  if (code == 0 && board == NULL) code = kNvNotSupported;
  pthread_mutex_unlock(&fake_lock);
  if (code == 0 && mode > 1) code = kNvInvalidArgument;
  code = BeginChange(&change, code);
  if (code == 0) {
    MigGpu* gpu = &mig_state.gpu[device->index];
    *activation = 0;
    if (gpu->gi_count > 0 && !mode) {
      code = kNvInUse;
    } else {
      gpu->pending = mode;
      changed = 1;
      if (gpu->mode != mode && MigSetting(device->index, "holders", 0) > 0) {
        *activation = kNvInUse;
      } else if (gpu->mode != mode && MigSetting(device->index, "mig_reset", 0) != 0) {
        *activation = kNvResetRequired;
      } else {
        gpu->mode = mode;
      }
    }
  }
  EndChange(&change, changed);
  return FakeLeave(function, code, "%u", mode);
}

/* Real ids come from ranges by profile, and no placement can be told from them. */
static unsigned NewGiId(MigGpu* gpu, const MigShape* shape) {
  static const unsigned kFirst[kMigProfiles] = {0, 1, 1, 3, 7, 7, 7};
  unsigned id = kFirst[shape - kMigShapes];
  while (FindGi(gpu, id) != NULL) ++id;
  return id;
}

static int CreateGi(const char* function,
                    Device* device,
                    unsigned id,
                    const NvPlacement* placement,
                    MigHandle** out) {
  const MigBoard* board;
  MigChange change;
  unsigned start = 0, created = 0;
  int changed = 0, code = EnterMig(function, device, &board);
  const int shape = MigShapeOf(id);
  if (code == 0 && shape < 0) code = kNvInvalidArgument;
  code = BeginChange(&change, code);
  if (code == 0) {
    const MigShape* s = &kMigShapes[shape];
    MigGpu* gpu = &mig_state.gpu[device->index];
    const unsigned taken = MigTaken(gpu);
    if (!gpu->mode) {
      code = kNvNotSupported;
    } else if (placement != NULL) {
      start = placement->start;
      if (placement->size != s->size || start >= kMigSlots || (s->starts >> start & 1) == 0) {
        code = kNvInvalidArgument;
      }
    } else { /* the driver's own choice: the first that is free */
      while (start < kMigSlots &&
             ((s->starts >> start & 1) == 0 || (taken & MigMask(start, s->size)) != 0)) {
        ++start;
      }
    }
    if (code == 0 && (start >= kMigSlots || (taken & MigMask(start, s->size)) != 0 ||
                      MigCount(gpu, id) >= s->most)) {
      code = kNvInsufficientResources;
    }
    if (code == 0) {
      created = NewGiId(gpu, s);
      if (!change.skip) gpu->gi[gpu->gi_count++] = (MigGi){created, id, start, s->size};
      *out = HandleFor(device->index, created, 0, 0, 0);
      changed = 1;
    }
  }
  EndChange(&change, changed);
  return FakeLeave(function, code, "%u, %u", id, start);
}

FAKE_EXPORT int nvmlDeviceCreateGpuInstance(Device* device, unsigned id, MigHandle** out) {
  return CreateGi("nvmlDeviceCreateGpuInstance", device, id, NULL, out);
}
FAKE_EXPORT int nvmlDeviceCreateGpuInstanceWithPlacement(Device* device,
                                                         unsigned id,
                                                         const NvPlacement* placement,
                                                         MigHandle** out) {
  return CreateGi("nvmlDeviceCreateGpuInstanceWithPlacement", device, id, placement, out);
}

FAKE_EXPORT int nvmlGpuInstanceDestroy(MigHandle* handle) {
  const char* function = "nvmlGpuInstanceDestroy";
  MigChange change;
  unsigned i;
  int changed = 0, code = EnterInstance(function, handle, 0);
  code = BeginChange(&change, code);
  if (code == 0) {
    MigGpu* gpu = &mig_state.gpu[handle->gpu];
    for (i = 0; i < gpu->ci_count; ++i) {
      if (gpu->ci[i].gi == handle->gi) code = kNvInUse; /* compute instances go first */
    }
    if (code == 0 && InstanceInUse(handle->gpu, handle->gi, -1)) code = kNvInUse;
    if (code == 0 && !change.skip) {
      *FindGi(gpu, handle->gi) = gpu->gi[gpu->gi_count - 1];
      --gpu->gi_count;
    }
    changed = code == 0;
  }
  EndChange(&change, changed);
  return FakeLeave(function, code, "%u", code == kNvInvalidArgument ? 0 : handle->gi);
}

static int CreateCi(const char* function,
                    MigHandle* handle,
                    unsigned profile,
                    const NvPlacement* placement,
                    MigHandle** out) {
  static const unsigned kSlices[] = {1, 2, 3, 4, 7};
  MigChange change;
  unsigned start = 0, i;
  int changed = 0, code = EnterInstance(function, handle, 0);
  if (code == 0 && profile >= 5) code = kNvInvalidArgument;
  code = BeginChange(&change, code);
  if (code == 0) {
    MigGpu* gpu = &mig_state.gpu[handle->gpu];
    const unsigned of = kMigShapes[MigShapeOf(FindGi(gpu, handle->gi)->profile)].slices;
    const unsigned slices = kSlices[profile], starts = MigComputeStarts(slices, of);
    unsigned taken = 0, id = 0;
    for (i = 0; i < gpu->ci_count; ++i) {
      if (gpu->ci[i].gi != handle->gi) continue;
      taken |= MigMask(gpu->ci[i].start, gpu->ci[i].slices);
    }
    while (FindCi(gpu, handle->gi, id) != NULL) ++id;
    if (slices > of) {
      code = kNvNotSupported;
    } else if (placement != NULL) {
      start = placement->start;
      if (placement->size != slices || start > 7 || (starts >> start & 1) == 0) {
        code = kNvInvalidArgument;
      }
    } else {
      while (start < 8 && ((starts >> start & 1) == 0 || (taken & MigMask(start, slices)) != 0)) {
        ++start;
      }
    }
    if (code == 0 && (start > 7 || (taken & MigMask(start, slices)) != 0)) {
      code = kNvInsufficientResources;
    }
    if (code == 0) {
      const unsigned serial = mig_state.serial++;
      if (!change.skip) gpu->ci[gpu->ci_count++] = (MigCi){handle->gi, id, slices, start, serial};
      *out = HandleFor(handle->gpu, handle->gi, 1, id, serial);
      changed = 1;
    }
  }
  EndChange(&change, changed);
  return FakeLeave(function, code, "%u, %u", profile, start);
}

FAKE_EXPORT int nvmlGpuInstanceCreateComputeInstance(MigHandle* handle,
                                                     unsigned profile,
                                                     MigHandle** out) {
  return CreateCi("nvmlGpuInstanceCreateComputeInstance", handle, profile, NULL, out);
}
#if FAKE_HEADER >= 1200
FAKE_EXPORT int nvmlGpuInstanceCreateComputeInstanceWithPlacement(MigHandle* handle,
                                                                  unsigned profile,
                                                                  const NvPlacement* placement,
                                                                  MigHandle** out) {
  return CreateCi(
      "nvmlGpuInstanceCreateComputeInstanceWithPlacement", handle, profile, placement, out);
}
#endif

FAKE_EXPORT int nvmlComputeInstanceDestroy(MigHandle* handle) {
  const char* function = "nvmlComputeInstanceDestroy";
  MigChange change;
  int changed = 0, code = EnterInstance(function, handle, 1);
  code = BeginChange(&change, code);
  if (code == 0) {
    MigGpu* gpu = &mig_state.gpu[handle->gpu];
    if (InstanceInUse(handle->gpu, handle->gi, (int)handle->ci)) code = kNvInUse;
    if (code == 0 && !change.skip) {
      *FindCi(gpu, handle->gi, handle->ci) = gpu->ci[gpu->ci_count - 1];
      --gpu->ci_count;
    }
    changed = code == 0;
  }
  EndChange(&change, changed);
  return FakeLeave(function, code, "%s", "");
}

#endif
