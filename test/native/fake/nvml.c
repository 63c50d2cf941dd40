/* A simulated libnvidia-ml: the functions this project calls, scripted as script.h says. */
#include "script.h"

typedef struct {
  int index;
} Device;

enum { kMaxDevices = 16 };
static Device devices[kMaxDevices];
static int initialized;
static long device_calls;
static long long replays_added[kMaxDevices];

/* A call about a device: 0 when it may answer. */
static int EnterDevice(const char* function, const Device* device) {
  int code = FakeEnter(function, NULL);
  long lost;
  pthread_mutex_lock(&fake_lock);
  lost = (long)FakeNumber("nvml.lost_from_call", 0);
  ++device_calls;
  if (code == 0 && lost > 0 && device_calls >= lost) code = 15;
  if (code == 0 && initialized == 0) code = 1;
  if (code == 0 && (device < devices || device >= devices + kMaxDevices)) code = 2;
  pthread_mutex_unlock(&fake_lock);
  return code;
}

static int AnswerNext(
    const char* function, Device* device, const char* key, long long otherwise, unsigned* out) {
  int code = EnterDevice(function, device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    *out = (unsigned)FakeNext(key, otherwise);
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave(function, code, "%u", code == 0 ? *out : 0U);
}

static int AnswerText(const char* function, int code, const char* text, char* out, unsigned size) {
  if (code == 0 && strlen(text) + 1 > size) code = 7;
  if (code == 0) memcpy(out, text, strlen(text) + 1);
  return FakeLeave(function, code, "%s", text);
}

FAKE_EXPORT int nvmlInit_v2(void) {
  int code;
  pthread_mutex_lock(&fake_lock);
  if (FakeReload()) {
    device_calls = 0;
    memset(replays_added, 0, sizeof(replays_added));
  }
  pthread_mutex_unlock(&fake_lock);
  code = FakeEnter("nvmlInit_v2", NULL);
  pthread_mutex_lock(&fake_lock);
  if (code == 0) ++initialized;
  pthread_mutex_unlock(&fake_lock);
  return FakeLeave("nvmlInit_v2", code, "%s", "");
}

FAKE_EXPORT int nvmlShutdown(void) {
  int code = FakeEnter("nvmlShutdown", NULL);
  pthread_mutex_lock(&fake_lock);
  if (code == 0 && initialized > 0) --initialized;
  pthread_mutex_unlock(&fake_lock);
  return FakeLeave("nvmlShutdown", code, "%s", "");
}

FAKE_EXPORT int nvmlSystemGetDriverVersion(char* out, unsigned size) {
  char text[96];
  int code = FakeEnter("nvmlSystemGetDriverVersion", NULL);
  const FakeEntry* entry;
  pthread_mutex_lock(&fake_lock);
  entry = FakeFind("nvml.driver");
  snprintf(text, sizeof(text), "%s", entry != NULL ? entry->value : "Simulated 590.48.01");
  pthread_mutex_unlock(&fake_lock);
  return AnswerText("nvmlSystemGetDriverVersion", code, text, out, size);
}

FAKE_EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char* address, Device** device) {
  int code = FakeEnter("nvmlDeviceGetHandleByPciBusId_v2", NULL);
  unsigned want[4] = {0, 0, 0, 0}, have[4];
  char pci[32];
  int i, count;
  pthread_mutex_lock(&fake_lock);
  if (code == 0 && initialized == 0) code = 1;
  if (code == 0 && sscanf(address, "%x:%x:%x.%u", &want[0], &want[1], &want[2], &want[3]) != 4) {
    code = 2;
  }
  if (code == 0) {
    code = 6;
    count = (int)FakeNumber("devices", 1);
    for (i = 0; i < count && i < kMaxDevices; ++i) {
      FakeDevicePci(i, pci, sizeof(pci));
      if (sscanf(pci, "%x:%x:%x.%u", &have[0], &have[1], &have[2], &have[3]) == 4 &&
          memcmp(want, have, sizeof(want)) == 0) {
        devices[i].index = i;
        *device = &devices[i];
        code = 0;
      }
    }
  }
  pthread_mutex_unlock(&fake_lock);
  return FakeLeave("nvmlDeviceGetHandleByPciBusId_v2", code, "%s", address);
}

FAKE_EXPORT int nvmlDeviceGetName(Device* device, char* out, unsigned size) {
  char text[128] = "";
  int code = EnterDevice("nvmlDeviceGetName", device);
  pthread_mutex_lock(&fake_lock);
  if (code == 0) FakeDeviceName(device->index, text, sizeof(text));
  pthread_mutex_unlock(&fake_lock);
  return AnswerText("nvmlDeviceGetName", code, text, out, size);
}

FAKE_EXPORT int nvmlDeviceGetUUID(Device* device, char* out, unsigned size) {
  char text[64] = "GPU-";
  unsigned char uuid[16];
  int i, n = 4, code = EnterDevice("nvmlDeviceGetUUID", device);
  if (code == 0) {
    FakeDeviceUuid(device->index, uuid);
    for (i = 0; i < 16; ++i) {
      n += snprintf(text + n,
                    sizeof(text) - (size_t)n,
                    "%s%02x",
                    i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                    uuid[i]);
    }
  }
  return AnswerText("nvmlDeviceGetUUID", code, text, out, size);
}

FAKE_EXPORT int nvmlDeviceGetClockInfo(Device* device, int type, unsigned* mhz) {
  return type == 2 ? AnswerNext("nvmlDeviceGetClockInfo", device, "nvml.memory_mhz", 3201, mhz)
                   : AnswerNext("nvmlDeviceGetClockInfo", device, "nvml.sm_mhz", 1980, mhz);
}

FAKE_EXPORT int nvmlDeviceGetCurrPcieLinkGeneration(Device* device, unsigned* generation) {
  return AnswerNext("nvmlDeviceGetCurrPcieLinkGeneration", device, "nvml.pcie_gen", 5, generation);
}

FAKE_EXPORT int nvmlDeviceGetMaxPcieLinkGeneration(Device* device, unsigned* generation) {
  return AnswerNext(
      "nvmlDeviceGetMaxPcieLinkGeneration", device, "nvml.pcie_gen_max", 5, generation);
}

FAKE_EXPORT int nvmlDeviceGetCurrPcieLinkWidth(Device* device, unsigned* lanes) {
  return AnswerNext("nvmlDeviceGetCurrPcieLinkWidth", device, "nvml.pcie_width", 16, lanes);
}

FAKE_EXPORT int nvmlDeviceGetMaxPcieLinkWidth(Device* device, unsigned* lanes) {
  return AnswerNext("nvmlDeviceGetMaxPcieLinkWidth", device, "nvml.pcie_width_max", 16, lanes);
}

FAKE_EXPORT int nvmlDeviceGetPcieReplayCounter(Device* device, unsigned* count) {
  int code = EnterDevice("nvmlDeviceGetPcieReplayCounter", device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    *count = (unsigned)(FakeNumber("nvml.replays", 0) + replays_added[device->index]);
    replays_added[device->index] += FakeNumber("nvml.replays_step", 0);
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave("nvmlDeviceGetPcieReplayCounter", code, "%u", code == 0 ? *count : 0U);
}

static int Reasons(const char* function, Device* device, unsigned long long* bits) {
  unsigned value = 0;
  int code = AnswerNext(function, device, "nvml.reasons", 0, &value);
  if (code == 0) *bits = value;
  return code;
}

FAKE_EXPORT int nvmlDeviceGetCurrentClocksEventReasons(Device* device, unsigned long long* bits) {
  return Reasons("nvmlDeviceGetCurrentClocksEventReasons", device, bits);
}

FAKE_EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(Device* device,
                                                          unsigned long long* bits) {
  return Reasons("nvmlDeviceGetCurrentClocksThrottleReasons", device, bits);
}
