/* ECC, remapped rows and NVLink. */
#ifndef WARPGAUGE_TEST_FAKE_NVML_HEALTH_H
#define WARPGAUGE_TEST_FAKE_NVML_HEALTH_H

#include "nvml_device.h"

FAKE_EXPORT int nvmlDeviceGetEccMode(Device* device, unsigned* current, unsigned* pending) {
  const int code = AnswerU32("nvmlDeviceGetEccMode", device, "ecc_mode", 1, current);
  if (code == 0) *pending = *current;
  return code;
}

static const char* EccField(int uncorrected, int aggregate) {
  static const char* const kNames[2][2] = {
      {"ecc_corrected_volatile", "ecc_corrected_aggregate"},
      {"ecc_uncorrected_volatile", "ecc_uncorrected_aggregate"}};
  return kNames[uncorrected != 0][aggregate != 0];
}

static int EccCount(const char* function,
                    const Device* device,
                    const char* field,
                    unsigned long long* out) {
  Number value = 0;
  int code = Enter(function, device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    code = Field(device, field, 0, &value);
    pthread_mutex_unlock(&fake_lock);
  }
  if (code == 0) *out = ToU64(value);
  return Leave(function, code);
}

FAKE_EXPORT int nvmlDeviceGetTotalEccErrors(Device* device,
                                            int uncorrected,
                                            int aggregate,
                                            unsigned long long* out) {
  return EccCount("nvmlDeviceGetTotalEccErrors", device, EccField(uncorrected, aggregate), out);
}

/* Locations that Hopper has: DRAM (2) and SRAM (7). `ecc_uncorrected_volatile_7` and so on. */
FAKE_EXPORT int nvmlDeviceGetMemoryErrorCounter(
    Device* device, int uncorrected, int aggregate, int location, unsigned long long* out) {
  char field[64];
  if (location != 2 && location != 7) {
    const int code = Enter("nvmlDeviceGetMemoryErrorCounter", device);
    return Leave("nvmlDeviceGetMemoryErrorCounter", code != 0 ? code : kNvNotSupported);
  }
  snprintf(field, sizeof(field), "%s_%d", EccField(uncorrected, aggregate), location);
  return EccCount("nvmlDeviceGetMemoryErrorCounter", device, field, out);
}

#if FAKE_HEADER >= 1204
FAKE_EXPORT int nvmlDeviceGetSramEccErrorStatus(Device* device, NvSramEcc* out) {
  int code = Enter("nvmlDeviceGetSramEccErrorStatus", device);
  if (code == 0 && out->version != NV_VERSION(NvSramEcc, 1)) code = kNvVersionMismatch;
  if (code == 0 && IsMig(device)) code = kNvNotSupported;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    out->aggregate_parity = ToU64(FieldOr(device, "sram_aggregate_parity", 0));
    out->aggregate_secded = ToU64(FieldOr(device, "sram_aggregate_secded", 0));
    out->aggregate_corrected = ToU64(FieldOr(device, "sram_aggregate_corrected", 0));
    out->volatile_parity = ToU64(FieldOr(device, "sram_volatile_parity", 0));
    out->volatile_secded = ToU64(FieldOr(device, "sram_volatile_secded", 0));
    out->volatile_corrected = ToU64(FieldOr(device, "sram_volatile_corrected", 0));
    out->bucket_l2 = ToU64(FieldOr(device, "sram_l2", 0));
    out->bucket_sm = ToU64(FieldOr(device, "sram_sm", 0));
    out->bucket_pcie = ToU64(FieldOr(device, "sram_pcie", 0));
    out->bucket_mcu = ToU64(FieldOr(device, "sram_mcu", 0));
    out->bucket_other = ToU64(FieldOr(device, "sram_other", 0));
    out->threshold_exceeded = ToU32(FieldOr(device, "sram_threshold_exceeded", 0));
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("nvmlDeviceGetSramEccErrorStatus", code);
}
#endif

FAKE_EXPORT int nvmlDeviceGetRemappedRows(Device* device,
                                          unsigned* corrected,
                                          unsigned* uncorrected,
                                          unsigned* pending,
                                          unsigned* failed) {
  static const char* const kNames[4] = {
      "remapped_corrected", "remapped_uncorrected", "remapped_pending", "remapped_failure"};
  Number values[4] = {0, 0, 0, 0};
  int i, code = Enter("nvmlDeviceGetRemappedRows", device);
  if (code == 0 && IsMig(device)) code = kNvNotSupported;
  pthread_mutex_lock(&fake_lock);
  for (i = 0; i < 4 && code == 0; ++i) code = Field(device, kNames[i], 0, &values[i]);
  pthread_mutex_unlock(&fake_lock);
  if (code == 0) {
    *corrected = ToU32(values[0]);
    *uncorrected = ToU32(values[1]);
    *pending = ToU32(values[2]);
    *failed = ToU32(values[3]);
  }
  return Leave("nvmlDeviceGetRemappedRows", code);
}

#if FAKE_HEADER >= 1302 || FAKE_RENUMBERED
FAKE_EXPORT int nvmlDeviceGetRemappedRows_v2(Device* device, NvRemappedRowsV2* out) {
  int code = Enter("nvmlDeviceGetRemappedRows_v2", device);
  if (code == 0 && IsMig(device)) code = kNvNotSupported;
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    out->corrected_active = ToU32(FieldOr(device, "remapped_corrected", 0));
    out->corrected_inactive = ToU32(FieldOr(device, "remapped_corrected_inactive", 0));
    out->uncorrected_active = ToU32(FieldOr(device, "remapped_uncorrected", 0));
    out->uncorrected_inactive = ToU32(FieldOr(device, "remapped_uncorrected_inactive", 0));
    out->pending = ToU32(FieldOr(device, "remapped_pending", 0));
    out->failure = ToU32(FieldOr(device, "remapped_failure", 0));
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("nvmlDeviceGetRemappedRows_v2", code);
}
#endif

FAKE_EXPORT int nvmlDeviceGetRowRemapperHistogram(Device* device, NvRowHistogram* out) {
  int code = Enter("nvmlDeviceGetRowRemapperHistogram", device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    out->max = ToU32(FieldOr(device, "remapper_banks_max", 3072));
    out->high = ToU32(FieldOr(device, "remapper_banks_high", 0));
    out->partial = ToU32(FieldOr(device, "remapper_banks_partial", 0));
    out->low = ToU32(FieldOr(device, "remapper_banks_low", 0));
    out->none = ToU32(FieldOr(device, "remapper_banks_none", 0));
    pthread_mutex_unlock(&fake_lock);
  }
  return Leave("nvmlDeviceGetRowRemapperHistogram", code);
}

static int NvLink(const char* function,
                  const Device* device,
                  unsigned link,
                  const char* field,
                  Number otherwise,
                  unsigned long long* out) {
  Number value = 0;
  int code = EnterNotMig(function, device);
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    const unsigned links = ToU32(FieldOr(device, "nvlinks", 18));
    code = links == 0      ? kNvNotSupported
           : link >= links ? kNvInvalidArgument
                           : Field(device, field, otherwise, &value);
    pthread_mutex_unlock(&fake_lock);
  }
  if (code == 0) *out = ToU64(value);
  return FakeLeave(function, code, "%u", link);
}
FAKE_EXPORT int nvmlDeviceGetNvLinkState(Device* device, unsigned link, unsigned* active) {
  unsigned long long value = 0;
  const int code = NvLink("nvmlDeviceGetNvLinkState", device, link, "nvlink_state", 1, &value);
  if (code == 0) *active = (unsigned)value;
  return code;
}
FAKE_EXPORT int nvmlDeviceGetNvLinkVersion(Device* device, unsigned link, unsigned* version) {
  unsigned long long value = 0;
  const int code = NvLink("nvmlDeviceGetNvLinkVersion", device, link, "nvlink_version", 6, &value);
  if (code == 0) *version = (unsigned)value;
  return code;
}
FAKE_EXPORT int nvmlDeviceGetNvLinkErrorCounter(Device* device,
                                                unsigned link,
                                                int counter,
                                                unsigned long long* out) {
  char field[40];
  snprintf(field, sizeof(field), "nvlink_error_%d", counter);
  return NvLink("nvmlDeviceGetNvLinkErrorCounter", device, link, field, 0, out);
}

#endif
