/*
 * Events. `nvml.<i>.events = MS:TYPE:DATA[:GI:CI], ...`: at MS of the machine's time the device has
 * an event (TYPE 0x8 with DATA 79 is XID 79). A set sees each event once, those after it
 * registered; elements added to the list of a `live` script that are already due come at once.
 */
#ifndef WARPGAUGE_TEST_FAKE_NVML_EVENTS_H
#define WARPGAUGE_TEST_FAKE_NVML_EVENTS_H

#include "nvml_device.h"

typedef struct {
  unsigned long long mask[kMaxDevices]; /* 0: not registered */
  long next[kMaxDevices];               /* element of the list */
} EventSet;

typedef struct {
  double ms;
  NvEventData data;
} ScriptedEvent;

static int EventAt(int index, long at, ScriptedEvent* out) {
  char key[48], text[96];
  const FakeEntry* entry;
  double ms = 0;
  unsigned long long type = 0, data = 0;
  int gi = -1, ci = -1;
  snprintf(key, sizeof(key), "nvml.%d.events", index);
  entry = FakeFind(key);
  if (entry == NULL || !FakeElement(entry->value, at, text, sizeof(text))) return 0;
  if (sscanf(text, "%lf:%lli:%lli:%d:%d", &ms, (long long*)&type, (long long*)&data, &gi, &ci) <
      3) {
    return 0;
  }
  out->ms = ms;
  out->data.device = &devices[index];
  out->data.type = type;
  out->data.data = data;
  out->data.gpu_instance = (unsigned)gi;
  out->data.compute_instance = (unsigned)ci;
  return 1;
}

FAKE_EXPORT int nvmlEventSetCreate(EventSet** set) {
  const int code = EnterSystem("nvmlEventSetCreate");
  if (code == 0) *set = calloc(1, sizeof(EventSet));
  return Leave("nvmlEventSetCreate", code);
}

FAKE_EXPORT int nvmlEventSetFree(EventSet* set) {
  const int code = EnterSystem("nvmlEventSetFree");
  free(set);
  return Leave("nvmlEventSetFree", code);
}

FAKE_EXPORT int nvmlDeviceGetSupportedEventTypes(Device* device, unsigned long long* mask) {
  Number value = 0;
  const int code = Answer("nvmlDeviceGetSupportedEventTypes",
                          device,
                          "event_types",
                          FAKE_HEADER >= 1208 ? 0xff9f : 0x19f,
                          &value);
  if (code == 0) *mask = ToU64(value);
  return code;
}

FAKE_EXPORT int nvmlDeviceRegisterEvents(Device* device, unsigned long long mask, EventSet* set) {
  ScriptedEvent event;
  int code = Enter("nvmlDeviceRegisterEvents", device);
  if (code == 0 && (IsMig(device) || mask > 0xffff)) code = kNvNotSupported;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    set->mask[device->index] = mask;
    while (EventAt(device->index, set->next[device->index], &event) && event.ms < FakeMachineMs()) {
      ++set->next[device->index];
    }
    pthread_mutex_unlock(&fake_lock);
  }
  return FakeLeave("nvmlDeviceRegisterEvents", code, "0x%llx", mask);
}

/* The next due event of a set: 0 and the event, TIMEOUT if there is none. fake_lock held. */
static int NextEvent(EventSet* set, NvEventData* out) {
  ScriptedEvent event;
  int i;
  FakeFollow();
  if (initialized == 0) return kNvUninitialized;
  if (DriverGone()) return (int)FakeNumber("nvml.gone_code", kNvUnknown);
  for (i = 0; i < kMaxDevices; ++i) {
    const int fault = (int)FieldOr(&devices[i], "fault", 0);
    if (set->mask[i] == 0) continue;
    while (EventAt(i, set->next[i], &event) && event.ms <= FakeMachineMs()) {
      ++set->next[i];
      if ((event.data.type & set->mask[i]) != 0) {
        *out = event.data;
        return 0;
      }
    }
    if (fault != 0) return fault;
  }
  return kNvTimeout;
}

FAKE_EXPORT int nvmlEventSetWait_v2(EventSet* set, NvEventData* out, unsigned timeout_ms) {
  const int64_t deadline = FakeNow() + (int64_t)timeout_ms * 1000000;
  int code = EnterSystem("nvmlEventSetWait_v2");
  while (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = NextEvent(set, out);
    pthread_mutex_unlock(&fake_lock);
    if (code != kNvTimeout || FakeNow() >= deadline) break;
    code = 0;
    FakeSleepUs(2000);
  }
  if (code == kNvTimeout) out->data = 0; /* the type is left alone */
  return Leave("nvmlEventSetWait_v2", code);
}

#endif
