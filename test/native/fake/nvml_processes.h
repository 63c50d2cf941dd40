/*
 * Processes and driver-side sample buffers.
 *
 *   nvml.<i>.processes = PID:KIND:BYTES[:GI:CI[:SM:MEM:ENC:DEC]], ...
 * KIND is a set of C (compute), G (graphics), M (MPS). PID `self` is this process. BYTES `-` is
 * "not available". Utilization in percent; a process without it has no utilization sample.
 */
#ifndef WARPGAUGE_TEST_FAKE_NVML_PROCESSES_H
#define WARPGAUGE_TEST_FAKE_NVML_PROCESSES_H

#include <ctype.h>

#include "nvml_device.h"

enum { kMaxProcesses = 64 };
typedef struct {
  unsigned pid;
  char kind[8];
  unsigned long long bytes;
  unsigned gpu_instance, compute_instance;
  int has_use;
  unsigned use[4];
} Process;

/* The processes of a device; of one instance if the handle is one. fake_lock held. */
static int ListProcesses(const Device* device, Process* list) {
  const FakeEntry* entry = FieldEntry(&devices[device->index], "processes");
  char text[256];
  int count = 0, i;
  for (i = 0; entry != NULL && count < kMaxProcesses; ++i) {
    Process* p = &list[count];
    char pid[16] = "", bytes[32] = "", *end;
    int gi = -1, ci = -1, n;
    if (!FakeElement(entry->value, i, text, sizeof(text))) break;
    memset(p, 0, sizeof(*p));
    n = sscanf(text,
               "%15[^:]:%7[^:]:%31[^:]:%d:%d:%u:%u:%u:%u",
               pid,
               p->kind,
               bytes,
               &gi,
               &ci,
               &p->use[0],
               &p->use[1],
               &p->use[2],
               &p->use[3]);
    if (n < 3) continue;
    p->pid = strcmp(pid, "self") == 0 ? (unsigned)getpid() : (unsigned)strtoul(pid, NULL, 0);
    p->bytes = strtoull(bytes, &end, 0);
    if (bytes[0] == '-') p->bytes = ~0ull;
    if (strncmp(end, "MiB", 3) == 0) p->bytes *= 1048576;
    p->gpu_instance = (unsigned)gi;
    p->compute_instance = (unsigned)ci;
    p->has_use = n == 9;
    if (IsMig(device) && (device->gpu_instance != gi || device->compute_instance != ci)) continue;
    ++count;
  }
  return count;
}

/* `width`: bytes of an entry, 16, 24 or 32. */
static int RunningProcesses(const char* function,
                            const Device* device,
                            char kind,
                            size_t width,
                            unsigned* count,
                            void* out) {
  Process list[kMaxProcesses];
  unsigned room = *count, found = 0;
  int i, n, code = Enter(function, device);
  if (code != 0) return Leave(function, code);
  pthread_mutex_lock(&fake_lock);
  n = ListProcesses(device, list);
  pthread_mutex_unlock(&fake_lock);
  for (i = 0; i < n; ++i) {
    NvProcess32 entry;
    if (strchr(list[i].kind, kind) == NULL) continue;
    memset(&entry, 0, sizeof(entry));
    entry.pid = list[i].pid;
    entry.bytes = list[i].bytes;
    entry.gpu_instance = list[i].gpu_instance;
    entry.compute_instance = list[i].compute_instance;
    if (found < room && out != NULL) memcpy((char*)out + found * width, &entry, width);
    ++found;
  }
  *count = found;
  if (found > room) code = kNvInsufficientSize;
  return FakeLeave(function, code, "%u", found);
}

#define PROCESS_LISTS(name, kind)                                                      \
  FAKE_EXPORT int name(Device* device, unsigned* count, void* out) {                   \
    return RunningProcesses(#name, device, kind, sizeof(NvProcessV1), count, out);     \
  }                                                                                    \
  FAKE_EXPORT int name##_v2(Device* device, unsigned* count, void* out) {              \
    return RunningProcesses(#name "_v2", device, kind, sizeof(NvProcess), count, out); \
  }                                                                                    \
  FAKE_EXPORT int name##_v3(Device* device, unsigned* count, void* out) {              \
    return RunningProcesses(#name "_v3",                                               \
                            device,                                                    \
                            kind,                                                      \
                            FAKE_EARLY_535 ? sizeof(NvProcess32) : sizeof(NvProcess),  \
                            count,                                                     \
                            out);                                                      \
  }
PROCESS_LISTS(nvmlDeviceGetComputeRunningProcesses, 'C')
PROCESS_LISTS(nvmlDeviceGetGraphicsRunningProcesses, 'G')
PROCESS_LISTS(nvmlDeviceGetMPSComputeRunningProcesses, 'M')

#if !FAKE_EARLY_535
FAKE_EXPORT int nvmlDeviceGetRunningProcessDetailList(Device* device, NvProcessDetailList* out) {
  const int code = Enter("nvmlDeviceGetRunningProcessDetailList", device);
  (void)out;
  return Leave("nvmlDeviceGetRunningProcessDetailList", code != 0 ? code : kNvNotSupported);
}
#endif

/* Samples are taken each 200 ms; those newer than `last_seen_us` come back. */
static int ProcessUse(const Device* device,
                      unsigned long long last_seen_us,
                      Process* list,
                      unsigned long long* stamp,
                      int* count) {
  int i, n, kept = 0;
  const double ms = FakeMachineMs();
  *stamp = (unsigned long long)Stamp("nvml.sample_clock", 200.0 * (double)(long long)(ms / 200));
  if (IsMig(device) || MigMode(device)) return kNvNotSupported;
  n = ListProcesses(device, list);
  for (i = 0; i < n; ++i) {
    if (list[i].has_use && *stamp > last_seen_us) list[kept++] = list[i];
  }
  *count = kept;
  return kept == 0 ? kNvNotFound : 0;
}

static int InMigMode(const Device* device) {
  int mode;
  pthread_mutex_lock(&fake_lock);
  mode = IsMig(device) || MigMode(device);
  pthread_mutex_unlock(&fake_lock);
  return mode;
}

FAKE_EXPORT int nvmlDeviceGetProcessUtilization(Device* device,
                                                NvProcessSample* out,
                                                unsigned* count,
                                                unsigned long long last_seen_us) {
  Process list[kMaxProcesses];
  unsigned long long stamp = 0;
  int i, n = 0, code = Enter("nvmlDeviceGetProcessUtilization", device);
  if (code == 0 && out == NULL && !InMigMode(device)) {
    *count = 72; /* the size of the buffer, whatever is in it */
    code = kNvInsufficientSize;
  }
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = ProcessUse(device, last_seen_us, list, &stamp, &n);
    pthread_mutex_unlock(&fake_lock);
  }
  if (code == 0 && *count < (unsigned)n) {
    *count = (unsigned)n;
    code = kNvInsufficientSize;
  } else if (code == 0) {
    for (i = 0; i < n; ++i) {
      out[i].pid = list[i].pid;
      out[i].timestamp = stamp;
      out[i].sm = list[i].use[0];
      out[i].memory = list[i].use[1];
      out[i].encoder = list[i].use[2];
      out[i].decoder = list[i].use[3];
    }
    *count = (unsigned)n;
  }
  return Leave("nvmlDeviceGetProcessUtilization", code);
}

#if FAKE_HEADER >= 1204
FAKE_EXPORT int nvmlDeviceGetProcessesUtilizationInfo(Device* device, NvProcessUseList* out) {
  Process list[kMaxProcesses];
  unsigned long long stamp = 0;
  int i, n = 0, code = Enter("nvmlDeviceGetProcessesUtilizationInfo", device);
  if (code == 0 && out->version != NV_VERSION(NvProcessUseList, 1)) code = kNvVersionMismatch;
  if (code == 0 && out->entries == NULL && !InMigMode(device)) {
    out->count = 72;
    code = kNvInsufficientSize;
  }
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = ProcessUse(device, out->last_seen, list, &stamp, &n);
    pthread_mutex_unlock(&fake_lock);
  }
  if (code == 0 && out->count < (unsigned)n) {
    out->count = (unsigned)n;
    code = kNvInsufficientSize;
  } else if (code == 0) {
    for (i = 0; i < n; ++i) {
      NvProcessUse* use = &out->entries[i];
      memset(use, 0, sizeof(*use));
      use->timestamp = stamp;
      use->pid = list[i].pid;
      use->sm = list[i].use[0];
      use->memory = list[i].use[1];
      use->encoder = list[i].use[2];
      use->decoder = list[i].use[3];
    }
    out->count = (unsigned)n;
  }
  return Leave("nvmlDeviceGetProcessesUtilizationInfo", code);
}
#endif

FAKE_EXPORT int nvmlSystemGetProcessName(unsigned pid, char* out, unsigned size) {
  char text[64];
  const int code = EnterSystem("nvmlSystemGetProcessName");
  snprintf(text, sizeof(text), "Simulated process %u", pid);
  return AnswerText("nvmlSystemGetProcessName", code, text, out, size);
}

FAKE_EXPORT int nvmlDeviceGetAccountingPids(Device* device, unsigned* count, unsigned* pids) {
  const int code = Enter("nvmlDeviceGetAccountingPids", device);
  (void)pids;
  if (code == 0) *count = 0;
  return Leave("nvmlDeviceGetAccountingPids", code);
}
FAKE_EXPORT int nvmlDeviceGetAccountingStats(Device* device, unsigned pid, NvAccounting* out) {
  const int code = Enter("nvmlDeviceGetAccountingStats", device);
  (void)pid;
  (void)out;
  return Leave("nvmlDeviceGetAccountingStats", code != 0 ? code : kNvNotFound);
}

/* Buffers by sample type: what fills them, how often, how deep. */
FAKE_EXPORT int nvmlDeviceGetSamples(Device* device,
                                     int type,
                                     unsigned long long last_seen_us,
                                     int* value_type,
                                     unsigned* count,
                                     NvSample* out) {
  static const struct {
    const char* field;
    int period_ms, depth;
    int otherwise;
  } kTypes[10] = {{"power_instant", 20, 119, POWER_INSTANT},
                  {"utilization_gpu", 200, 71, 100},
                  {"utilization_memory", 200, 71, 7},
                  {"utilization_encoder", 200, 71, 0},
                  {"utilization_decoder", 200, 71, 0},
                  {NULL, 0, 0, 0},
                  {NULL, 0, 0, 0},
                  {NULL, 0, 0, 0},
                  {"utilization_jpeg", 200, 71, 0},
                  {"utilization_ofa", 200, 71, 0}};
  unsigned found = 0, room = *count;
  const FakeEntry* preset;
  const int64_t begin = FakeNow();
  int code = Enter("nvmlDeviceGetSamples", device);
  if (code == 0 && (type < 0 || type > 9)) code = kNvInvalidArgument;
  if (code == 0 && type == 7) code = kNvInvalidArgument;
  if (code == 0 && kTypes[type].field == NULL) {
    /* Clocks: the size is there, the samples are not. */
    *value_type = kNvUint;
    *count = out == NULL ? 100 : *count;
    return FakeLeave("nvmlDeviceGetSamples", out == NULL ? 0 : kNvNotFound, "%d", type);
  }
  pthread_mutex_lock(&fake_lock);
  preset = FakeFind("nvml.latencies");
  if (preset != NULL && type != 0 && out != NULL) {
    const double us = PresetLatency(preset->value, "samples.util");
    pthread_mutex_unlock(&fake_lock);
    TakeTime(us, begin);
    pthread_mutex_lock(&fake_lock);
  }
  if (code == 0 && (IsMig(device) || (MigMode(device) && type != 0))) code = kNvNotSupported;
  if (code == 0) {
    const long long last = (long long)FakeMachineMs() / kTypes[type].period_ms;
    long long at = last - kTypes[type].depth + 1;
    *value_type = kNvUint;
    if (out == NULL) {
      found = (unsigned)kTypes[type].depth + 1;
    } else {
      for (at = at < 0 ? 0 : at; at <= last && code == 0 && found < room; ++at) {
        const double ms = (double)(at * kTypes[type].period_ms);
        const unsigned long long stamp = (unsigned long long)Stamp("nvml.sample_clock", ms);
        Number value = 0;
        if (stamp <= last_seen_us) continue;
        code = FieldAt(device, kTypes[type].field, ms, kTypes[type].otherwise, &value);
        out[found].timestamp = stamp;
        out[found].value.ull = 0x7f29ull << 32; /* as measured: the upper half is garbage */
        out[found].value.ui = ToU32(value);
        ++found;
      }
      if (code == 0 && found == 0) code = kNvNotFound;
    }
    *count = found;
  }
  pthread_mutex_unlock(&fake_lock);
  return FakeLeave("nvmlDeviceGetSamples", code, "%d", type);
}

#endif
