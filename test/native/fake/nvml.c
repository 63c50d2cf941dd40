/* A simulated libnvidia-ml, scripted as nvml_values.h and script.h say. This file: starting it and
 * finding devices; what is read of them is in the nvml_*.h beside it. */
#include "nvml_device.h"
#include "nvml_events.h"
#include "nvml_fields.h"
#include "nvml_gpm.h"
#include "nvml_health.h"
#include "nvml_mig_read.h"
#include "nvml_processes.h"

static int Initialize(const char* function) {
  int i, code;
  pthread_mutex_lock(&fake_lock);
  for (i = 0; i < kMaxDevices; ++i) {
    devices[i].index = i;
    devices[i].gpu_instance = devices[i].compute_instance = -1;
  }
  if (FakeReload()) {
    device_calls = 0;
    memset(replays_added, 0, sizeof(replays_added));
    mig_known = mig_dies_at_next = 0;
    mig_mutations = 0;
    memset(mig_state.power, 0, sizeof(mig_state.power));
    late_reads = 0;
  }
  pthread_mutex_unlock(&fake_lock);
  code = Begin(function, NULL);
  pthread_mutex_lock(&fake_lock);
  if (code == 0 && FakeNumber("nvml.gone", 0) != 0) code = kNvDriverNotLoaded;
  if (code == 0 && initialized++ == 0) initialized_ms = FakeMachineMs();
  pthread_mutex_unlock(&fake_lock);
  return Leave(function, code);
}

FAKE_EXPORT int nvmlInit_v2(void) { return Initialize("nvmlInit_v2"); }
FAKE_EXPORT int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  return Initialize("nvmlInitWithFlags");
}

FAKE_EXPORT int nvmlShutdown(void) {
  const int code = Begin("nvmlShutdown", NULL);
  pthread_mutex_lock(&fake_lock);
  if (code == 0 && initialized > 0 && --initialized == 0) ForgetSettings();
  pthread_mutex_unlock(&fake_lock);
  return Leave("nvmlShutdown", code);
}

/* The text stops at 27, as in the 535 library. */
FAKE_EXPORT const char* nvmlErrorString(int code) {
  return code >= 0 && code <= 27 ? "Simulated error" : "Unknown Error";
}

static int SystemText(const char* function,
                      int code,
                      const char* key,
                      const char* otherwise,
                      char* out,
                      unsigned size) {
  char text[96];
  const FakeEntry* entry;
  pthread_mutex_lock(&fake_lock);
  entry = FakeFind(key);
  snprintf(text, sizeof(text), "%s", entry != NULL ? entry->value : otherwise);
  pthread_mutex_unlock(&fake_lock);
  return AnswerText(function, code, text, out, size);
}

FAKE_EXPORT int nvmlSystemGetDriverVersion(char* out, unsigned size) {
  const int code = EnterSystem("nvmlSystemGetDriverVersion");
  return SystemText(
      "nvmlSystemGetDriverVersion", code, "nvml.driver", "Simulated " FAKE_DRIVER, out, size);
}

/* Answers before init too. */
FAKE_EXPORT int nvmlSystemGetNVMLVersion(char* out, unsigned size) {
  const int code = Begin("nvmlSystemGetNVMLVersion", NULL);
  return SystemText(
      "nvmlSystemGetNVMLVersion", code, "nvml.library", "Simulated " FAKE_DRIVER, out, size);
}

FAKE_EXPORT int nvmlSystemGetCudaDriverVersion_v2(int* out) {
  const int code = EnterSystem("nvmlSystemGetCudaDriverVersion_v2");
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    *out = (int)FakeNumber("nvml.cuda", FAKE_HEADER / 100 * 1000 + FAKE_HEADER % 100 * 10);
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("nvmlSystemGetCudaDriverVersion_v2", code);
}

FAKE_EXPORT int nvmlDeviceGetCount_v2(unsigned* count) {
  const int code = EnterSystem("nvmlDeviceGetCount_v2");
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    *count = (unsigned)DeviceCount();
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("nvmlDeviceGetCount_v2", code);
}

/* A handle of a device that is lost: the fault. fake_lock held. */
static int HandleOf(int index, Device** device) {
  const int fault = (int)FieldOr(&devices[index], "fault", 0);
  if (fault == 0) *device = &devices[index];
  return fault;
}

FAKE_EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device** device) {
  int code = EnterSystem("nvmlDeviceGetHandleByIndex_v2");
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = index < (unsigned)DeviceCount() ? HandleOf((int)index, device) : kNvInvalidArgument;
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave("nvmlDeviceGetHandleByIndex_v2", code, "%u", index);
}

FAKE_EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char* address, Device** device) {
  int code = EnterSystem("nvmlDeviceGetHandleByPciBusId_v2");
  unsigned want[4] = {0, 0, 0, 0}, have[4];
  char pci[32];
  int i;
  pthread_mutex_lock(&fake_lock);
  if (code == 0 && sscanf(address, "%x:%x:%x.%u", &want[0], &want[1], &want[2], &want[3]) != 4) {
    code = kNvInvalidArgument;
  }
  if (code == 0) {
    code = kNvNotFound;
    for (i = 0; i < DeviceCount(); ++i) {
      FakeDevicePci(i, pci, sizeof(pci));
      if (sscanf(pci, "%x:%x:%x.%u", &have[0], &have[1], &have[2], &have[3]) == 4 &&
          memcmp(want, have, sizeof(want)) == 0) {
        code = HandleOf(i, device);
      }
    }
  }
  pthread_mutex_unlock(&fake_lock);
  return FakeLeave("nvmlDeviceGetHandleByPciBusId_v2", code, "%s", address);
}

FAKE_EXPORT int nvmlDeviceGetName(Device* device, char* out, unsigned size) {
  char text[160] = "";
  const int code = Enter("nvmlDeviceGetName", device);
  pthread_mutex_lock(&fake_lock);
  if (code == 0) {
    Instance instance;
    FakeDeviceName(device->index, text, sizeof(text));
    if (IsMig(device) && FindInstance(device, &instance)) {
      const size_t length = strlen(text);
      snprintf(text + length, sizeof(text) - length, " MIG %s", instance.name);
    }
  }
  pthread_mutex_unlock(&fake_lock);
  return AnswerText("nvmlDeviceGetName", code, text, out, size);
}

/* "SIMULATED" in ASCII, then what tells devices and instances apart. */
static void UuidText(const Device* device, char* text, size_t size) {
  unsigned char uuid[16];
  int i, n;
  FakeDeviceUuid(device->index, uuid);
  if (IsMig(device)) {
    uuid[12] = (unsigned char)device->generation;
    uuid[13] = (unsigned char)device->gpu_instance;
    uuid[14] = (unsigned char)device->compute_instance;
  }
  n = snprintf(text, size, "%s", IsMig(device) ? "MIG-" : "GPU-");
  for (i = 0; i < 16; ++i) {
    n += snprintf(text + n,
                  size - (size_t)n,
                  "%s%02x",
                  i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                  uuid[i]);
  }
}

FAKE_EXPORT int nvmlDeviceGetUUID(Device* device, char* out, unsigned size) {
  char text[64] = "";
  const int code = Enter("nvmlDeviceGetUUID", device);
  if (code == 0) UuidText(device, text, sizeof(text));
  return AnswerText("nvmlDeviceGetUUID", code, text, out, size);
}

FAKE_EXPORT int nvmlDeviceGetHandleByUUID(const char* uuid, Device** device) {
  char text[64];
  int i, code = EnterSystem("nvmlDeviceGetHandleByUUID");
  if (code == 0) {
    code = kNvNotFound;
    pthread_mutex_lock(&fake_lock);
    for (i = 0; i < DeviceCount(); ++i) {
      UuidText(&devices[i], text, sizeof(text));
      if (strcmp(text, uuid) == 0) code = HandleOf(i, device);
    }
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave("nvmlDeviceGetHandleByUUID", code, "%s", uuid);
}
