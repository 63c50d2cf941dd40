/*
 * MIG devices as they are read. Where the script gives a board (nvml_mig_state.h) they are those of
 * its state; else
 *
 *   nvml.<i>.mig = 2:0:1c.3g.71gb, 3:0:2g.35gb, 9:0:1g.18gb~1, ...
 * lists the instances as GPU instance : compute instance : name, in the order of their indices;
 * `~N` is another generation: an instance that was destroyed and made again under the same ids,
 * with another UUID. An empty element is a hole. The key makes the GPU one in MIG mode; `mig_mode`
 * says otherwise. `mig@1000 = ...` reconfigures. Of an instance: gi.<gi>.memory_total, ... and the
 * attributes ci.<gi>.<ci>.sms, copy_engines, decoders, encoders, jpegs, ofas, gpu_slices,
 * compute_slices, memory_mib.
 */
#ifndef WARPGAUGE_TEST_FAKE_NVML_MIG_H
#define WARPGAUGE_TEST_FAKE_NVML_MIG_H

#include "nvml_device.h"
#include "nvml_mig_state.h"

typedef struct {
  int gpu_instance, compute_instance, generation;
  char name[48];
} Instance;

/* The same of the state: by GPU instance, then compute instance. fake_lock held. */
static int StateInstanceAt(const MigBoard* board, int gpu, int index, Instance* out) {
  const MigGpu* state = MigLook(gpu);
  unsigned i, j;
  if (!state->mode) return -1;
  for (i = 0; i < state->ci_count; ++i) {
    const MigCi* ci = &state->ci[i];
    int before = 0;
    for (j = 0; j < state->ci_count; ++j) {
      const MigCi* other = &state->ci[j];
      before += other->gi < ci->gi || (other->gi == ci->gi && other->id < ci->id);
    }
    if (before != index) continue;
    memset(out, 0, sizeof(*out));
    out->gpu_instance = (int)ci->gi;
    out->compute_instance = (int)ci->id;
    out->generation = (int)ci->serial;
    for (j = 0; j < state->gi_count; ++j) {
      if (state->gi[j].id != ci->gi) continue;
      MigName(board, MigShapeOf(state->gi[j].profile), ci->slices, out->name, sizeof(out->name));
    }
    return 1;
  }
  return index < (int)state->ci_count ? 0 : -1;
}

/* Element `index` of the list that holds now: 1, 0 for a hole, -1 past the end. fake_lock held. */
static int InstanceAt(const Device* gpu, int index, Instance* out) {
  char key[48], text[96];
  const FakeEntry* entry;
  const char* generation;
  const MigBoard* board = MigBoardOf(gpu->index);
  if (board != NULL) return StateInstanceAt(board, gpu->index, index, out);
  snprintf(key, sizeof(key), "nvml.%d.mig", gpu->index);
  entry = FakeFind(key);
  if (entry == NULL || !FakeElement(entry->value, index, text, sizeof(text))) return -1;
  memset(out, 0, sizeof(*out));
  if (sscanf(text, "%d:%d:%47[^~]", &out->gpu_instance, &out->compute_instance, out->name) < 2) {
    return 0;
  }
  generation = strchr(text, '~');
  out->generation = generation == NULL ? 0 : atoi(generation + 1);
  return 1;
}

static int MigMode(const Device* device) {
  char key[48];
  const FakeEntry* mode;
  if (!FakeHas(kFakeOneDevice)) return 0;
  if (MigBoardOf(device->index) != NULL) return (int)MigLook(device->index)->mode;
  snprintf(key, sizeof(key), "nvml.%d.mig_mode", device->index);
  mode = FakeFind(key);
  if (mode != NULL) return atoi(mode->value);
  snprintf(key, sizeof(key), "nvml.%d.mig", device->index);
  return FakeFind(key) != NULL;
}

static int FindInstance(const Device* mig, Instance* out) {
  int i, there;
  for (i = 0; (there = InstanceAt(&devices[mig->index], i, out)) >= 0; ++i) {
    if (there == 1 && out->gpu_instance == mig->gpu_instance &&
        out->compute_instance == mig->compute_instance && out->generation == mig->generation) {
      return 1;
    }
  }
  return 0;
}

static int MigIsCurrent(const Device* mig) {
  Instance instance;
  return FindInstance(mig, &instance);
}

static int HasGpuInstance(const Device* device, int gpu_instance) {
  Instance instance;
  int i, there;
  for (i = 0; (there = InstanceAt(device, i, &instance)) >= 0; ++i) {
    if (there == 1 && instance.gpu_instance == gpu_instance) return 1;
  }
  return 0;
}

FAKE_EXPORT int nvmlDeviceGetMigMode(Device* device, unsigned* current, unsigned* pending) {
  int code = Enter("nvmlDeviceGetMigMode", device);
  if (code == 0 && IsMig(device)) code = kNvNotSupported;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    *current = (unsigned)MigMode(device);
    *pending = MigBoardOf(device->index) != NULL
                   ? mig_state.gpu[device->index].pending
                   : ToU32(FieldOr(device, "mig_mode_pending", *current));
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("nvmlDeviceGetMigMode", code);
}

FAKE_EXPORT int nvmlDeviceGetMaxMigDeviceCount(Device* device, unsigned* count) {
  const int code = Enter("nvmlDeviceGetMaxMigDeviceCount", device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    *count = MigMode(device) ? ToU32(FieldOr(device, "mig_max", 7)) : 0;
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("nvmlDeviceGetMaxMigDeviceCount", code);
}

/* The handle of a MIG device; one that was given out before stays what it was. fake_lock held. */
static Device* MigDevice(int gpu, int gpu_instance, int compute_instance, int generation) {
  Device* found;
  int i;
  for (i = 0; i < mig_count[gpu]; ++i) {
    found = &mig_devices[gpu][i];
    if (found->gpu_instance == gpu_instance && found->compute_instance == compute_instance &&
        found->generation == generation) {
      return found;
    }
  }
  if (mig_count[gpu] == kMaxMig) abort();
  found = &mig_devices[gpu][mig_count[gpu]++];
  found->index = gpu;
  found->gpu_instance = gpu_instance;
  found->compute_instance = compute_instance;
  found->generation = generation;
  return found;
}

FAKE_EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(Device* device, unsigned index, Device** out) {
  Instance instance;
  int code = Enter("nvmlDeviceGetMigDeviceHandleByIndex", device);
  pthread_mutex_lock(&fake_lock);
  if (code == 0 && (!MigMode(device) || InstanceAt(device, (int)index, &instance) != 1)) {
    code = kNvNotFound;
  }
  if (code == 0) {
    *out = MigDevice(
        device->index, instance.gpu_instance, instance.compute_instance, instance.generation);
  }
  pthread_mutex_unlock(&fake_lock);
  return FakeLeave("nvmlDeviceGetMigDeviceHandleByIndex", code, "%u", index);
}

FAKE_EXPORT int nvmlDeviceIsMigDeviceHandle(Device* device, unsigned* is) {
  const int code = Enter("nvmlDeviceIsMigDeviceHandle", device);
  if (code == 0) *is = (unsigned)IsMig(device);
  return Leave("nvmlDeviceIsMigDeviceHandle", code);
}

static int InstanceId(const char* function, const Device* device, int compute, unsigned* out) {
  int code = Enter(function, device);
  if (code == 0 && !IsMig(device)) code = kNvInvalidArgument;
  if (code == 0) *out = (unsigned)(compute ? device->compute_instance : device->gpu_instance);
  return Leave(function, code);
}
FAKE_EXPORT int nvmlDeviceGetGpuInstanceId(Device* device, unsigned* out) {
  return InstanceId("nvmlDeviceGetGpuInstanceId", device, 0, out);
}
FAKE_EXPORT int nvmlDeviceGetComputeInstanceId(Device* device, unsigned* out) {
  return InstanceId("nvmlDeviceGetComputeInstanceId", device, 1, out);
}

FAKE_EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device* device, Device** out) {
  int code = Enter("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", device);
  if (code == 0 && !IsMig(device)) code = kNvInvalidArgument;
  if (code == 0) *out = &devices[device->index];
  return Leave("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", code);
}

FAKE_EXPORT int nvmlDeviceGetAttributes_v2(Device* device, NvAttributes* out) {
  int code = Enter("nvmlDeviceGetAttributes_v2", device);
  if (code == 0 && !IsMig(device)) code = kNvNotSupported;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    out->sms = ToU32(FieldOr(device, "sms", 16));
    out->copy_engines = ToU32(FieldOr(device, "copy_engines", 1));
    out->decoders = ToU32(FieldOr(device, "decoders", 1));
    out->encoders = ToU32(FieldOr(device, "encoders", 0));
    out->jpegs = ToU32(FieldOr(device, "jpegs", 1));
    out->ofas = ToU32(FieldOr(device, "ofas", 0));
    out->gpu_slices = ToU32(FieldOr(device, "gpu_slices", 1));
    out->compute_slices = ToU32(FieldOr(device, "compute_slices", 1));
    out->memory_mib = ToU64(FieldOr(device, "memory_mib", 16384));
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("nvmlDeviceGetAttributes_v2", code);
}

#endif
