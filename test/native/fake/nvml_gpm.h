/*
 * GPM, Hopper and later. `nvml.<i>.gpm.<id> = VALUE` (also of a gi) gives a metric; without it 1-13
 * follow the utilization, 20 and 21 the PCIe bytes, the rest is 0. As measured on an H200: a window
 * below nvml.gpm_min_window_ms (50) is a success with zeros (NaN for 10), samples in the wrong
 * order are a success with 100 %, metrics that the GPU lacks are a success with 0, and an id from
 * the first that the driver does not know on makes the whole call fail.
 */
#ifndef WARPGAUGE_TEST_FAKE_NVML_GPM_H
#define WARPGAUGE_TEST_FAKE_NVML_GPM_H

#include <math.h>

#include "nvml_device.h"

#if FAKE_HEADER >= 1302
enum { kGpmMax = 333 };
#elif FAKE_HEADER >= 1209
enum { kGpmMax = 210 };
#else
enum { kGpmMax = 98 };
#endif

typedef struct {
  const Device* device;
  int gpu_instance; /* -1: whole GPU */
  int generation;
  double ms; /* < 0: nothing in it */
  int busy;  /* two threads in one sample crash the real driver: here it aborts */
} GpmSample;

FAKE_EXPORT int nvmlGpmQueryDeviceSupport(Device* device, NvGpmSupport* out) {
  int code = Enter("nvmlGpmQueryDeviceSupport", device);
  if (code == 0 && out->version != 1) code = kNvVersionMismatch;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    out->supported = ToU32(FieldOr(device, "gpm", 1));
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("nvmlGpmQueryDeviceSupport", code);
}

FAKE_EXPORT int nvmlGpmSampleAlloc(GpmSample** out) {
  const int code = EnterSystem("nvmlGpmSampleAlloc");
  if (code == 0) {
    *out = calloc(1, sizeof(GpmSample));
    if (*out == NULL) abort();
    (*out)->ms = -1;
  }
  return Leave("nvmlGpmSampleAlloc", code);
}

FAKE_EXPORT int nvmlGpmSampleFree(GpmSample* sample) {
  const int code = EnterSystem("nvmlGpmSampleFree");
  free(sample);
  return Leave("nvmlGpmSampleFree", code);
}

/* As driver 580.159 on an H200, which crashes when two threads are in here, with whatever samples.
 */
static int gpm_inside;

static int TakeGpmSample(const char* function, Device* device, int instance, GpmSample* sample) {
  int code;
  if (__sync_fetch_and_add(&gpm_inside, 1) != 0) {
    fprintf(stderr, "fake driver: two threads in %s\n", function);
    abort();
  }
  if (__sync_lock_test_and_set(&sample->busy, 1)) {
    fprintf(stderr, "fake driver: two threads use one GPM sample\n");
    abort();
  }
  code = Enter(function, device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    if (FieldOr(&devices[device->index], "gpm", 1) == 0) code = kNvNotSupported;
    sample->device = device;
    sample->gpu_instance = instance;
    sample->generation = device->generation;
    sample->ms = FakeMachineMs();
    pthread_mutex_unlock(&fake_lock);
  }
  __sync_lock_release(&sample->busy);
  __sync_fetch_and_sub(&gpm_inside, 1);
  return Leave(function, code);
}

FAKE_EXPORT int nvmlGpmSampleGet(Device* device, GpmSample* sample) {
  return TakeGpmSample("nvmlGpmSampleGet", device, device->gpu_instance, sample);
}
static int HasGpuInstance(const Device* device, int gpu_instance); /* nvml_mig.h */
FAKE_EXPORT int nvmlGpmMigSampleGet(Device* device, unsigned instance, GpmSample* sample) {
  int known;
  pthread_mutex_lock(&fake_lock);
  known = IsDevice(device) && HasGpuInstance(device, (int)instance);
  pthread_mutex_unlock(&fake_lock);
  if (!known) {
    const int code = Enter("nvmlGpmMigSampleGet", device);
    return Leave("nvmlGpmMigSampleGet", code != 0 ? code : kNvNotFound);
  }
  return TakeGpmSample("nvmlGpmMigSampleGet", device, (int)instance, sample);
}

/* One metric over the window; fake_lock held. */
static int GpmValue(const GpmSample* first, const GpmSample* second, unsigned id, double* out) {
  const double seconds = (second->ms - first->ms) / 1000;
  Device target = *second->device;
  char field[32];
  FakeEntry* scripted;
  Number before = 0, value = 0;
  int code = 0;
  target.gpu_instance = second->gpu_instance;
  snprintf(field, sizeof(field), "gpm.%u", id);
  scripted = FieldEntry(&target, field);
  if (scripted != NULL) {
    code = Evaluate(scripted, second->ms, &value);
  } else if (id >= 1 && id <= 13) {
    static const double kShare[14] = {0, 1, 0.99, 0.5, 0.1, 0.6, 0, 0.6, 0, 0, 0.4, 0, 0.2, 0.05};
    value =
        FieldAt(&target, "utilization_gpu", second->ms, 100, &value) == 0 ? value * kShare[id] : 0;
  } else if (id == 20 || id == 21) {
    code = PcieBytesAt(&target, id == 21, first->ms, &before);
    if (code == 0) code = PcieBytesAt(&target, id == 21, second->ms, &value);
    value = (value - before) / MIB / seconds;
  } else if (id == 255 || id == 256) {
    code = PcieBytesAt(&target, id == 256, second->ms, &value);
  }
  *out = (double)value;
  return code;
}

FAKE_EXPORT int nvmlGpmMetricsGet(NvGpmMetrics* out) {
  const GpmSample *first = out->sample1, *second = out->sample2;
  unsigned i;
  int code = EnterSystem("nvmlGpmMetricsGet");
  if (code == 0 && out->version != 1) code = kNvVersionMismatch;
  if (code == 0 &&
      (first == NULL || second == NULL || first->ms < 0 || second->ms < 0 || first == second ||
       first->device != second->device || first->gpu_instance != second->gpu_instance)) {
    code = kNvInvalidArgument;
  }
  for (i = 0; code == 0 && i < out->count; ++i) {
    if (out->metrics[i].id >= kGpmMax) code = kNvInvalidArgument;
  }
  if (code == 0) {
    const double window_ms = second->ms - first->ms;
    pthread_mutex_lock(&fake_lock);
    for (i = 0; i < out->count; ++i) {
      NvGpmMetric* metric = &out->metrics[i];
      metric->code = 0;
      metric->value = 0;
      metric->info.short_name = metric->info.long_name = metric->info.unit = "Simulated";
      if (window_ms < 0) {
        metric->value = metric->id <= 13 ? 100 : 0;
      } else if (window_ms < (double)FakeNumber("nvml.gpm_min_window_ms", 50)) {
        metric->value = metric->id == 10 ? (double)NAN : 0;
      } else {
        metric->code = GpmValue(first, second, metric->id, &metric->value);
      }
    }
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("nvmlGpmMetricsGet", code);
}

#if FAKE_HEADER >= 1202
FAKE_EXPORT int nvmlGpmQueryIfStreamingEnabled(Device* device, unsigned* state) {
  return AnswerU32("nvmlGpmQueryIfStreamingEnabled", device, "gpm_streaming", 0, state);
}
FAKE_EXPORT int nvmlGpmSetStreamingEnabled(Device* device, unsigned state) {
  const int code = Enter("nvmlGpmSetStreamingEnabled", device);
  (void)state;
  return Leave("nvmlGpmSetStreamingEnabled", code);
}
#endif

#endif
