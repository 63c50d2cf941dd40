/*
 * The part of the simulated libcupti that samples hardware counters (PM sampling, CUDA 12.6 and
 * later): a host side that knows some chips, and GPUs whose hardware buffer fills with time.
 * Included by cupti.c.
 *
 * Behaviour that was reported of an H100 with CUPTI 13.3 is kept: a counter data image that is full
 * loses what it leaves behind, and the next decoding begins with a sample without times; an
 * overflow of the hardware buffer is permanent until sampling is set up anew; the first sample is
 * an outlier; decoding after a stop gives a sample of no length.
 *
 * Keys
 *   pm_chip = GH100                  comma list, one per device: GV100 (too old) TU102 GA100 AD102
 *                                    GH100 GB100 GB202
 *   pm_one_pass = 200                metrics that fit into one pass
 *   pm_sample_bytes = 8192           of the hardware buffer, for each sample
 *   pm_sys_clock_hertz = 1400000000
 *   pm_clock_offset_ns = 0           added to the times of samples, not to cuptiGetTimestamp
 *   pm.<metric> = V                  its value (also `pm.<metric>@MS`); else it grows with the
 *                                    number of the sample: bytes 1000 * n, percent n modulo 101
 *   pm_hang_ms = T                   decoding number pm_hang_call (1) of device pm_hang_device (0)
 *                                    since sampling was set up takes T ms longer, once
 *   error.cuptiPmSamplingEnable = 26@1   busy; 35: no privilege; any function, any code
 */
#ifndef WARPGAUGE_TEST_FAKE_CUPTI_PM_H
#define WARPGAUGE_TEST_FAKE_CUPTI_PM_H

enum {
  kInvalidOperation = 7,
  kOutOfMemory = 8,
  kMostPmDevices = 16,
  kMostPmMetrics = 64,
  kPmConfigBytes = 256,
  kPmSlotBytes = 64,
};

typedef struct {
  char chip[16];
  int metric_count;
  char metrics[kMostPmMetrics][96];
} PmHost;

typedef struct {
  int enabled, configured, running, stopped, broken, image_lost;
  int device;
  double interval_ns;
  long decodings;
  uint64_t capacity;   /* samples of the hardware buffer */
  uint64_t start_time; /* on CUPTI's clock */
  int64_t start_mono_ns;
  uint64_t stop_count; /* samples when it was stopped */
  uint64_t next;       /* the first that was not decoded */
} PmSampler;

typedef struct {
  uint64_t start, end, number;
} PmSlot;

typedef struct {
  uint64_t magic, capacity, count;
} PmImage;

#define PM_MAGIC 0x706d696d61676531ULL

static pthread_mutex_t pm_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the following */
static PmSampler pm_samplers[kMostPmDevices];
static int pm_initialized;
static int64_t pm_hung; /* start of the machine that has hung */

/* Structs as CUDA 13.0 has them. */
typedef struct {
  size_t size;
  void* reserved;
} PmInitializeP;
typedef struct {
  size_t size;
  void* reserved;
  size_t device;
  const char* chip;
} PmChipNameP;
typedef struct {
  size_t size;
  void* reserved;
  size_t device, image_size;
  uint8_t* image;
} PmAvailabilityP;
typedef struct {
  size_t size;
  void* reserved;
  int type;
  const char* chip;
  const uint8_t* availability;
  PmHost* host;
} PmHostInitializeP;
typedef struct {
  size_t size;
  void* reserved;
  PmHost* host;
} PmHostP;
typedef struct {
  size_t size;
  void* reserved;
  size_t count;
  const char* const* chips;
} PmChipsP;
typedef struct {
  size_t size;
  void* reserved;
  PmHost* host;
  const char** metrics;
  size_t count;
} PmAddP;
typedef struct {
  size_t size;
  void* reserved;
  PmHost* host;
  size_t image_size;
  uint8_t* image; /* GetConfigImage only */
} PmConfigP;
typedef struct {
  size_t size;
  void* reserved;
  size_t image_size;
  uint8_t* image;
  size_t passes;
} PmPassesP;
typedef struct {
  size_t size;
  void* reserved;
  PmHost* host;
  const uint8_t* image;
  size_t image_size, sample;
  const char** metrics;
  size_t count;
  double* values;
} PmEvaluateP;
typedef struct {
  size_t size;
  void* reserved;
  size_t device;
  PmSampler* sampler;
} PmEnableP;
typedef struct {
  size_t size;
  void* reserved;
  PmSampler* sampler;
  size_t config_size;
  const uint8_t* config;
  size_t buffer_bytes;
  uint64_t interval;
  int trigger, append;
} PmSetConfigP;
typedef struct {
  size_t size;
  void* reserved;
  PmSampler* sampler;
  const char** metrics;
  size_t count;
  uint32_t most_samples;
  size_t image_size;
} PmImageSizeP;
typedef struct {
  size_t size;
  void* reserved;
  PmSampler* sampler;
  size_t image_size;
  uint8_t* image;
} PmImageP;
typedef struct {
  size_t size;
  void* reserved;
  PmSampler* sampler;
} PmSamplerP;
typedef struct {
  size_t size;
  void* reserved;
  PmSampler* sampler;
  uint8_t* image;
  size_t image_size;
  int stop;
  uint8_t overflow;
} PmDecodeP;
typedef struct {
  size_t size;
  void* reserved;
  const uint8_t* image;
  size_t image_size, total, populated, completed;
} PmInfoP;
typedef struct {
  size_t size;
  void* reserved;
  PmSampler* sampler;
  const uint8_t* image;
  size_t image_size, sample;
  uint64_t start, end;
} PmSampleP;

/* ---- the host side ---- */

static const char* const pm_chips[] = {
    "GV100", "TU102", "GA100", "AD102", "GH100", "GB100", "GB202"};
enum { kPmChips = 7 };

static int PmChipIndex(const char* chip) {
  int i;
  for (i = 0; chip != NULL && i < kPmChips; ++i) {
    if (strcmp(pm_chips[i], chip) == 0) return i;
  }
  return -1;
}

static int PmStarts(const char* text, const char* with) {
  return strncmp(text, with, strlen(with)) == 0;
}

/* Passes that a chip needs for one metric; 0: it has no such metric. */
static int PmPassesOf(const char* chip, const char* metric) {
  const int hopper = strcmp(chip, "GH100") == 0, blackwell = strcmp(chip, "GB100") == 0;
  const int turing = strcmp(chip, "TU102") == 0, ada = strcmp(chip, "AD102") == 0;
  const int small = strcmp(chip, "GB202") == 0;
  if (PmStarts(metric, "pcie__")) return blackwell ? 0 : 1;
  if (PmStarts(metric, "PCI.TriageCompute.")) return hopper || blackwell ? 1 : 0;
  if (PmStarts(metric, "PCI.TriageA.")) return turing ? 1 : 0;
  if (PmStarts(metric, "dram__bytes_op_")) return small ? 1 : 0;
  if (PmStarts(metric, "dram__bytes_")) return small ? 0 : 1;
  if (PmStarts(metric, "dram__")) return turing ? 2 : 1;
  if (PmStarts(metric, "dramc__")) return blackwell || small ? 0 : 1;
  if (PmStarts(metric, "nvl")) return ada || small ? 0 : 1;
  if (PmStarts(metric, "CTC.")) return hopper ? 1 : 0;
  if (PmStarts(metric, "CTC_")) return blackwell ? 1 : 0;
  if (PmStarts(metric, "sm__pipe_tensor_cycles_active_realtime")) return turing ? 0 : 1;
  if (PmStarts(metric, "sm__pipe_tensor_cycles_active")) return turing ? 2 : 1;
  if (PmStarts(metric, "sm__cycles_active") || PmStarts(metric, "gr__cycles_active") ||
      PmStarts(metric, "sys__cycles_elapsed")) {
    return 1;
  }
  return 0;
}

/* A call with one struct: counts it, gives the scripted error, checks the size that was told. */
static CuptiResult PmEnter(const char* function, const void* parameters, size_t expected) {
  const CuptiResult code = Enter(function);
  if (code != 0) return code;
  return parameters == NULL || *(const size_t*)parameters != expected ? kInvalidParameter : 0;
}
#define PM_ENTER(function, size) PmEnter(#function, p, size)
#define PM_LEAVE(function) FakeLeave(#function, code, "%s", "")

FAKE_EXPORT CuptiResult cuptiProfilerInitialize(PmInitializeP* p) {
  CuptiResult code = PM_ENTER(cuptiProfilerInitialize, 16);
  pthread_mutex_lock(&pm_lock);
  if (code == 0) ++pm_initialized;
  pthread_mutex_unlock(&pm_lock);
  return PM_LEAVE(cuptiProfilerInitialize);
}

FAKE_EXPORT CuptiResult cuptiProfilerDeInitialize(PmInitializeP* p) {
  CuptiResult code = PM_ENTER(cuptiProfilerDeInitialize, 16);
  pthread_mutex_lock(&pm_lock);
  if (code == 0) --pm_initialized;
  pthread_mutex_unlock(&pm_lock);
  return PM_LEAVE(cuptiProfilerDeInitialize);
}

FAKE_EXPORT CuptiResult cuptiDeviceGetChipName(PmChipNameP* p) {
  CuptiResult code = PM_ENTER(cuptiDeviceGetChipName, 32);
  if (code == 0 && p->device >= kMostPmDevices) code = 2;
  if (code == 0) {
    const FakeEntry* entry;
    char name[32] = "GH100";
    int chip;
    pthread_mutex_lock(&fake_lock);
    entry = FakeFind("pm_chip");
    if (entry != NULL) FakeElement(entry->value, (long)p->device, name, sizeof(name));
    pthread_mutex_unlock(&fake_lock);
    chip = PmChipIndex(name);
    if (chip < 0) abort();
    p->chip = pm_chips[chip];
  }
  return PM_LEAVE(cuptiDeviceGetChipName);
}

FAKE_EXPORT CuptiResult cuptiPmSamplingGetCounterAvailability(PmAvailabilityP* p) {
  CuptiResult code = PM_ENTER(cuptiPmSamplingGetCounterAvailability, 40);
  pthread_mutex_lock(&pm_lock);
  if (code == 0 && pm_initialized == 0) code = kNotInitialized;
  pthread_mutex_unlock(&pm_lock);
  if (code == 0 && p->image == NULL) p->image_size = 32;
  if (code == 0 && p->image != NULL) memset(p->image, 0xa7, p->image_size);
  return PM_LEAVE(cuptiPmSamplingGetCounterAvailability);
}

FAKE_EXPORT CuptiResult cuptiProfilerHostGetSupportedChips(PmChipsP* p) {
  CuptiResult code = PM_ENTER(cuptiProfilerHostGetSupportedChips, 32);
  if (code == 0) {
    p->count = kPmChips;
    p->chips = pm_chips;
  }
  return PM_LEAVE(cuptiProfilerHostGetSupportedChips);
}

FAKE_EXPORT CuptiResult cuptiProfilerHostInitialize(PmHostInitializeP* p) {
  CuptiResult code = PM_ENTER(cuptiProfilerHostInitialize, 48);
  if (code == 0 && (p->type != 1 || PmChipIndex(p->chip) < 0)) code = kInvalidParameter;
  if (code == 0 && strcmp(p->chip, "GV100") == 0) code = kNotSupported;
  if (code == 0) {
    p->host = calloc(1, sizeof(PmHost));
    snprintf(p->host->chip, sizeof(p->host->chip), "%s", p->chip);
  }
  return PM_LEAVE(cuptiProfilerHostInitialize);
}

FAKE_EXPORT CuptiResult cuptiProfilerHostDeinitialize(PmHostP* p) {
  CuptiResult code = PM_ENTER(cuptiProfilerHostDeinitialize, 24);
  if (code == 0) free(p->host);
  return PM_LEAVE(cuptiProfilerHostDeinitialize);
}

FAKE_EXPORT CuptiResult cuptiProfilerHostConfigAddMetrics(PmAddP* p) {
  CuptiResult code = PM_ENTER(cuptiProfilerHostConfigAddMetrics, 40);
  size_t i;
  for (i = 0; code == 0 && i < p->count; ++i) {
    if (PmPassesOf(p->host->chip, p->metrics[i]) == 0) code = kInvalidParameter;
  }
  for (i = 0; code == 0 && i < p->count; ++i) {
    PmHost* host = p->host;
    if (host->metric_count == kMostPmMetrics) abort();
    snprintf(host->metrics[host->metric_count++], sizeof(host->metrics[0]), "%s", p->metrics[i]);
  }
  return PM_LEAVE(cuptiProfilerHostConfigAddMetrics);
}

FAKE_EXPORT CuptiResult cuptiProfilerHostGetConfigImageSize(PmConfigP* p) {
  CuptiResult code = PM_ENTER(cuptiProfilerHostGetConfigImageSize, 32);
  if (code == 0) p->image_size = kPmConfigBytes;
  return PM_LEAVE(cuptiProfilerHostGetConfigImageSize);
}

FAKE_EXPORT CuptiResult cuptiProfilerHostGetConfigImage(PmConfigP* p) {
  CuptiResult code = PM_ENTER(cuptiProfilerHostGetConfigImage, 40);
  if (code == 0 && p->image_size < kPmConfigBytes) code = kSizeNotSufficient;
  if (code == 0) {
    const long long one_pass = CuptiNumber("pm_one_pass", 200);
    size_t passes = (size_t)(p->host->metric_count > one_pass ? 2 : 1);
    int i;
    for (i = 0; i < p->host->metric_count; ++i) {
      const size_t needs = (size_t)PmPassesOf(p->host->chip, p->host->metrics[i]);
      if (needs > passes) passes = needs;
    }
    memset(p->image, 0, p->image_size);
    memcpy(p->image, &passes, sizeof(passes));
    snprintf((char*)p->image + 16, 16, "%s", p->host->chip);
  }
  return PM_LEAVE(cuptiProfilerHostGetConfigImage);
}

FAKE_EXPORT CuptiResult cuptiProfilerHostGetNumOfPasses(PmPassesP* p) {
  CuptiResult code = PM_ENTER(cuptiProfilerHostGetNumOfPasses, 40);
  if (code == 0) memcpy(&p->passes, p->image, sizeof(p->passes));
  return PM_LEAVE(cuptiProfilerHostGetNumOfPasses);
}

static double PmValue(const char* metric, uint64_t number) {
  char key[128];
  const FakeEntry* entry;
  double value;
  pthread_mutex_lock(&fake_lock);
  snprintf(key, sizeof(key), "pm.%s", metric);
  entry = FakeFind(key);
  value = entry == NULL ? 0 : strtod(entry->value, NULL);
  pthread_mutex_unlock(&fake_lock);
  if (number == 0) return 1e15; /* the outlier */
  if (entry != NULL) return value;
  return strstr(metric, ".sum") != NULL && strstr(metric, ".pct") == NULL ? 1000.0 * (double)number
                                                                          : (double)(number % 101);
}

/* Not logged: there are thousands in a second. */
FAKE_EXPORT CuptiResult cuptiProfilerHostEvaluateToGpuValues(PmEvaluateP* p) {
  CuptiResult code = PM_ENTER(cuptiProfilerHostEvaluateToGpuValues, 72);
  const PmImage* image = code == 0 ? (const PmImage*)(const void*)p->image : NULL;
  size_t i;
  if (code == 0 && (image->magic != PM_MAGIC || p->sample >= image->count)) {
    code = kInvalidParameter;
  }
  for (i = 0; code == 0 && i < p->count; ++i) {
    const PmSlot* slot =
        (const PmSlot*)(const void*)(p->image + sizeof(PmImage) + p->sample * kPmSlotBytes);
    p->values[i] = PmValue(p->metrics[i], slot->number);
  }
  return code;
}

/* ---- the GPUs ---- */

FAKE_EXPORT CuptiResult cuptiPmSamplingEnable(PmEnableP* p) {
  CuptiResult code = PM_ENTER(cuptiPmSamplingEnable, 32);
  pthread_mutex_lock(&pm_lock);
  if (code == 0 && pm_initialized == 0) code = kNotInitialized;
  if (code == 0 && p->device >= kMostPmDevices) code = kInvalidParameter;
  if (code == 0 && pm_samplers[p->device].enabled) code = kInvalidOperation;
  if (code == 0) {
    p->sampler = &pm_samplers[p->device];
    memset(p->sampler, 0, sizeof(*p->sampler));
    p->sampler->enabled = 1;
    p->sampler->device = (int)p->device;
  }
  pthread_mutex_unlock(&pm_lock);
  return FakeLeave("cuptiPmSamplingEnable", code, "%zu", p->device);
}

/* pm_lock is held afterwards in any case. */
static CuptiResult PmEnterSampler(const char* function, const void* parameters, size_t expected) {
  CuptiResult code = PmEnter(function, parameters, expected);
  pthread_mutex_lock(&pm_lock);
  if (code == 0) {
    const PmSampler* sampler = ((const PmSamplerP*)parameters)->sampler;
    if (sampler < pm_samplers || sampler >= pm_samplers + kMostPmDevices || !sampler->enabled) {
      code = kInvalidOperation;
    }
  }
  return code;
}
#define PM_ENTER_SAMPLER(function, size) PmEnterSampler(#function, p, size)

static CuptiResult PmLeaveSampler(const char* function, CuptiResult code) {
  pthread_mutex_unlock(&pm_lock);
  return FakeLeave(function, code, "%s", "");
}
#define PM_LEAVE_SAMPLER(function) PmLeaveSampler(#function, code)

FAKE_EXPORT CuptiResult cuptiPmSamplingDisable(PmSamplerP* p) {
  CuptiResult code = PM_ENTER_SAMPLER(cuptiPmSamplingDisable, 24);
  if (code == 0) memset(p->sampler, 0, sizeof(*p->sampler));
  return PM_LEAVE_SAMPLER(cuptiPmSamplingDisable);
}

FAKE_EXPORT CuptiResult cuptiPmSamplingSetConfig(PmSetConfigP* p) {
  CuptiResult code = PM_ENTER_SAMPLER(cuptiPmSamplingSetConfig, 64);
  size_t passes = 0;
  int by_clock_only = 0;
  const char* chip = "";
  if (code == 0 && (p->config == NULL || p->config_size < kPmConfigBytes || p->interval == 0)) {
    code = kInvalidParameter;
  }
  if (code == 0) {
    memcpy(&passes, p->config, sizeof(passes));
    chip = (const char*)p->config + 16;
    by_clock_only = strcmp(chip, "TU102") == 0 || strcmp(chip, "GA100") == 0;
    if (passes != 1) code = kNotSupported;
    if (p->trigger == 1 && by_clock_only) code = kNotSupported;
  }
  if (code == 0) {
    const double cycle_ns = 1e9 / (double)CuptiNumber("pm_sys_clock_hertz", 1400000000);
    p->sampler->interval_ns = (double)p->interval * (p->trigger == 1 ? 1.0 : cycle_ns);
    p->sampler->capacity = p->buffer_bytes / (uint64_t)CuptiNumber("pm_sample_bytes", 8192);
    p->sampler->configured = 1;
  }
  pthread_mutex_unlock(&pm_lock);
  return FakeLeave("cuptiPmSamplingSetConfig",
                   code,
                   "%s, %zu, %llu, %d, %d",
                   chip,
                   p->buffer_bytes,
                   (unsigned long long)p->interval,
                   p->trigger,
                   p->append);
}

FAKE_EXPORT CuptiResult cuptiPmSamplingGetCounterDataSize(PmImageSizeP* p) {
  CuptiResult code = PM_ENTER_SAMPLER(cuptiPmSamplingGetCounterDataSize, 56);
  if (code == 0 && p->count == 0) code = kInvalidParameter;
  if (code == 0) p->image_size = sizeof(PmImage) + (size_t)p->most_samples * kPmSlotBytes;
  return PM_LEAVE_SAMPLER(cuptiPmSamplingGetCounterDataSize);
}

FAKE_EXPORT CuptiResult cuptiPmSamplingCounterDataImageInitialize(PmImageP* p) {
  CuptiResult code = PM_ENTER_SAMPLER(cuptiPmSamplingCounterDataImageInitialize, 40);
  PmImage* image = code == 0 ? (PmImage*)(void*)p->image : NULL;
  if (code == 0) {
    memset(p->image, 0, p->image_size);
    image->magic = PM_MAGIC;
    image->capacity = (p->image_size - sizeof(PmImage)) / kPmSlotBytes;
  }
  pthread_mutex_unlock(&pm_lock);
  return code;
}

static uint64_t PmProduced(const PmSampler* sampler) {
  if (!sampler->running) return sampler->stop_count;
  return (uint64_t)((double)(FakeNow() - sampler->start_mono_ns) / sampler->interval_ns);
}

FAKE_EXPORT CuptiResult cuptiPmSamplingStart(PmSamplerP* p) {
  CuptiResult code = PM_ENTER_SAMPLER(cuptiPmSamplingStart, 24);
  if (code == 0 && (!p->sampler->configured || p->sampler->running)) code = kInvalidOperation;
  if (code == 0) {
    p->sampler->running = 1;
    p->sampler->stopped = 0;
    p->sampler->next = 0;
    p->sampler->start_mono_ns = FakeNow();
    p->sampler->start_time = CuptiNow() + (uint64_t)CuptiNumber("pm_clock_offset_ns", 0);
  }
  return PM_LEAVE_SAMPLER(cuptiPmSamplingStart);
}

FAKE_EXPORT CuptiResult cuptiPmSamplingStop(PmSamplerP* p) {
  CuptiResult code = PM_ENTER_SAMPLER(cuptiPmSamplingStop, 24);
  if (code == 0 && !p->sampler->running) code = kInvalidOperation;
  if (code == 0) {
    p->sampler->stop_count = PmProduced(p->sampler);
    p->sampler->running = 0;
    p->sampler->stopped = 1;
  }
  return PM_LEAVE_SAMPLER(cuptiPmSamplingStop);
}

/* pm_lock held. */
static void PmFill(PmSampler* sampler, PmImage* image, int* stop) {
  PmSlot* slot;
  const uint64_t produced = PmProduced(sampler);
  uint8_t* slots = (uint8_t*)image + sizeof(PmImage);
  if (sampler->image_lost && image->count < image->capacity) {
    ++image->count; /* without times */
    sampler->image_lost = 0;
  }
  for (; sampler->next < produced && image->count < image->capacity; ++sampler->next) {
    slot = (PmSlot*)(void*)(slots + image->count++ * kPmSlotBytes);
    slot->number = sampler->next;
    slot->start = sampler->start_time + (uint64_t)((double)sampler->next * sampler->interval_ns);
    slot->end =
        sampler->start_time + (uint64_t)((double)(sampler->next + 1) * sampler->interval_ns);
  }
  *stop = 2;
  if (sampler->next < produced) {
    *stop = 1;
    sampler->image_lost = 1;
    sampler->next = produced;
  } else if (sampler->stopped && image->count < image->capacity) {
    slot = (PmSlot*)(void*)(slots + image->count++ * kPmSlotBytes);
    slot->number = 1;
    slot->start = slot->end = sampler->start_time;
    sampler->stopped = 0;
  }
}

/* Once in the life of a simulated machine. */
static void PmHang(PmSampler* sampler) {
  const long long ms = CuptiNumber("pm_hang_ms", 0), call = CuptiNumber("pm_hang_call", 1);
  const long long device = CuptiNumber("pm_hang_device", 0);
  int64_t machine;
  int hangs;
  if (ms == 0) return;
  pthread_mutex_lock(&fake_lock);
  machine = fake_start_ns;
  pthread_mutex_unlock(&fake_lock);
  pthread_mutex_lock(&pm_lock);
  hangs = sampler - pm_samplers == device && ++sampler->decodings == call && pm_hung != machine;
  if (hangs) pm_hung = machine;
  pthread_mutex_unlock(&pm_lock);
  if (hangs) FakeSleepUs((long)ms * 1000);
}

FAKE_EXPORT CuptiResult cuptiPmSamplingDecodeData(PmDecodeP* p) {
  CuptiResult code;
  PmImage* image;
  if (p != NULL && p->sampler != NULL) PmHang(p->sampler);
  code = PM_ENTER_SAMPLER(cuptiPmSamplingDecodeData, 45);
  if (code == 0) {
    image = (PmImage*)(void*)p->image;
    if (image->magic != PM_MAGIC || image->count != 0) code = kInvalidParameter;
  }
  if (code == 0) {
    p->overflow = 0;
    if (PmProduced(p->sampler) - p->sampler->next > p->sampler->capacity) p->sampler->broken = 1;
    if (p->sampler->broken) {
      p->overflow = 1;
      code = kOutOfMemory;
    } else {
      PmFill(p->sampler, image, &p->stop);
    }
  }
  return PM_LEAVE_SAMPLER(cuptiPmSamplingDecodeData);
}

FAKE_EXPORT CuptiResult cuptiPmSamplingGetCounterDataInfo(PmInfoP* p) {
  CuptiResult code = PM_ENTER(cuptiPmSamplingGetCounterDataInfo, 56);
  const PmImage* image = code == 0 ? (const PmImage*)(const void*)p->image : NULL;
  if (code == 0 && image->magic != PM_MAGIC) code = kInvalidParameter;
  if (code == 0) {
    p->total = image->capacity;
    p->populated = p->completed = image->count;
  }
  return code;
}

FAKE_EXPORT CuptiResult cuptiPmSamplingCounterDataGetSampleInfo(PmSampleP* p) {
  CuptiResult code = PM_ENTER(cuptiPmSamplingCounterDataGetSampleInfo, 64);
  if (code == 0 && p->sample >= ((const PmImage*)(const void*)p->image)->count) {
    code = kInvalidParameter;
  }
  if (code == 0) {
    const PmSlot* slot =
        (const PmSlot*)(const void*)(p->image + sizeof(PmImage) + p->sample * kPmSlotBytes);
    p->start = slot->start;
    p->end = slot->end;
  }
  return code;
}

#endif
