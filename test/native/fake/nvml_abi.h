/*
 * The NVML ABI as this fake reads it: declared from NVIDIA's documented layouts, apart from
 * native/gpu/nvml/abi.h, so that a slip in one of the two shows. fake_nvml_test.cc compares it with
 * the real nvml.h where one is installed. Sizes are those of Linux x86-64 and arm64.
 */
#ifndef WARPGAUGE_TEST_FAKE_NVML_ABI_H
#define WARPGAUGE_TEST_FAKE_NVML_ABI_H

#include <stddef.h>
#include <stdint.h>

enum {
  kNvSuccess = 0,
  kNvUninitialized = 1,
  kNvInvalidArgument = 2,
  kNvNotSupported = 3,
  kNvNoPermission = 4,
  kNvNotFound = 6,
  kNvInsufficientSize = 7,
  kNvDriverNotLoaded = 9,
  kNvTimeout = 10,
  kNvVersionMismatch = 25,
  kNvUnknown = 999,
};

/* Types of a field value or sample. */
enum { kNvDouble = 0, kNvUint = 1, kNvUlong = 2, kNvUllong = 3, kNvSllong = 4, kNvInt = 5 };

typedef union {
  double d;
  unsigned ui;
  int si;
  unsigned long ul;
  unsigned long long ull;
  long long sll;
  unsigned short us;
} NvValue;

typedef struct {
  unsigned field_id;
  unsigned scope_id;
  long long timestamp; /* us */
  long long latency_us;
  int type;
  int code;
  NvValue value;
} NvFieldValue;

typedef struct {
  unsigned long long timestamp; /* us */
  NvValue value;
} NvSample;

typedef struct {
  unsigned gpu, memory;
} NvUtilization;

typedef struct {
  unsigned long long total, free, used;
} NvMemory; /* BAR1 too */

typedef struct {
  unsigned version;
  unsigned long long total, reserved, free, used;
} NvMemoryV2;

typedef struct {
  char bus_id_legacy[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char bus_id[32];
} NvPciInfo;

typedef struct {
  unsigned version;
  unsigned sensor;
  int celsius;
} NvTemperature;

typedef struct {
  unsigned version;
  int celsius;
} NvMarginTemperature;

typedef struct {
  unsigned version, fan, rpm;
} NvFanSpeed;

typedef struct {
  unsigned long long reference_time, violation_time;
} NvViolationTime;

typedef struct {
  unsigned version;
  unsigned long long aggregate_parity, aggregate_secded, aggregate_corrected;
  unsigned long long volatile_parity, volatile_secded, volatile_corrected;
  unsigned long long bucket_l2, bucket_sm, bucket_pcie, bucket_mcu, bucket_other;
  unsigned threshold_exceeded;
} NvSramEcc;

typedef struct {
  unsigned max, high, partial, low, none;
} NvRowHistogram;

typedef struct {
  unsigned corrected_active, corrected_inactive, uncorrected_active, uncorrected_inactive, pending,
      failure;
} NvRemappedRowsV2;

typedef struct {
  unsigned pid;
  unsigned long long bytes;
} NvProcessV1;

typedef struct {
  unsigned pid;
  unsigned long long bytes;
  unsigned gpu_instance, compute_instance;
} NvProcess;

typedef struct { /* what drivers 535.43 to 535.86 wrote for _v3, and NvProcessDetail */
  unsigned pid;
  unsigned long long bytes;
  unsigned gpu_instance, compute_instance;
  unsigned long long protected_bytes;
} NvProcess32;

typedef struct {
  unsigned version, mode, count;
  NvProcess32* entries;
} NvProcessDetailList;

typedef struct {
  unsigned pid;
  unsigned long long timestamp; /* us */
  unsigned sm, memory, encoder, decoder;
} NvProcessSample;

typedef struct {
  unsigned long long timestamp; /* us */
  unsigned pid, sm, memory, encoder, decoder, jpeg, ofa;
} NvProcessUse;

typedef struct {
  unsigned version, count;
  unsigned long long last_seen; /* us */
  NvProcessUse* entries;
} NvProcessUseList;

typedef struct {
  void* device;
  unsigned long long type, data;
  unsigned gpu_instance, compute_instance;
} NvEventData;

typedef struct {
  unsigned version, supported;
} NvGpmSupport;

typedef struct {
  unsigned id;
  int code;
  double value;
  struct {
    const char *short_name, *long_name, *unit;
  } info;
} NvGpmMetric;

typedef struct {
  unsigned version, count;
  void *sample1, *sample2;
  NvGpmMetric metrics[]; /* 98 to 12.8, 210 to 13.1, 333 from 13.2; only `count` are touched */
} NvGpmMetrics;

typedef struct {
  unsigned sms, copy_engines, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices;
  unsigned long long memory_mib;
} NvAttributes;

typedef struct {
  unsigned gpu_utilization, memory_utilization;
  unsigned long long max_memory_bytes, time_ms, start_us;
  unsigned running, reserved[5];
} NvAccounting;

typedef struct {
  unsigned long long protected_kib, unprotected_kib;
} NvConfMemory;

#define NV_VERSION(type, version) ((unsigned)sizeof(type) | ((unsigned)(version) << 24))

#if defined(__cplusplus)
#define NV_CHECK(condition) static_assert(condition, #condition)
#else
#define NV_CHECK(condition) _Static_assert(condition, #condition)
#endif
NV_CHECK(sizeof(NvFieldValue) == 40 && offsetof(NvFieldValue, value) == 32);
NV_CHECK(sizeof(NvSample) == 16);
NV_CHECK(NV_VERSION(NvMemoryV2, 2) == 0x02000028u && offsetof(NvMemoryV2, reserved) == 16);
NV_CHECK(sizeof(NvPciInfo) == 68 && offsetof(NvPciInfo, bus_id) == 36);
NV_CHECK(NV_VERSION(NvTemperature, 1) == 0x0100000cu);
NV_CHECK(NV_VERSION(NvMarginTemperature, 1) == 0x01000008u);
NV_CHECK(NV_VERSION(NvFanSpeed, 1) == 0x0100000cu);
NV_CHECK(NV_VERSION(NvSramEcc, 1) == 0x01000068u && offsetof(NvSramEcc, threshold_exceeded) == 96);
NV_CHECK(sizeof(NvRowHistogram) == 20 && sizeof(NvRemappedRowsV2) == 24);
NV_CHECK(sizeof(NvProcessV1) == 16 && sizeof(NvProcess) == 24 && sizeof(NvProcess32) == 32);
NV_CHECK(NV_VERSION(NvProcessDetailList, 1) == 0x01000018u);
NV_CHECK(sizeof(NvProcessSample) == 32 && sizeof(NvProcessUse) == 40);
NV_CHECK(NV_VERSION(NvProcessUseList, 1) == 0x01000018u);
NV_CHECK(sizeof(NvEventData) == 32 && offsetof(NvEventData, gpu_instance) == 24);
NV_CHECK(sizeof(NvGpmMetric) == 40 && offsetof(NvGpmMetrics, metrics) == 24);
NV_CHECK(sizeof(NvAttributes) == 40 && offsetof(NvAttributes, memory_mib) == 32);
NV_CHECK(sizeof(NvAccounting) == 56 && sizeof(NvConfMemory) == 16);

#endif
