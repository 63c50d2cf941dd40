/* nvmlDeviceGetFieldValues: what each id means in the driver that this library plays. */
#ifndef WARPGAUGE_TEST_FAKE_NVML_FIELDS_H
#define WARPGAUGE_TEST_FAKE_NVML_FIELDS_H

#include "nvml_device.h"

/* Ids whose meaning is the same in every header that has them. `nvml.field.<id>` overrides any. */
typedef struct {
  unsigned first, last, since; /* header */
  int type;
  const char* field; /* %u: counted from `first`; NULL: read specially */
  Number otherwise;
} FieldId;

static const FieldId kFields[] = {
    {1, 2, 1000, kNvUllong, "ecc_mode", 1},
    {3, 3, 1000, kNvUllong, "ecc_corrected_volatile", 0},
    {4, 4, 1000, kNvUllong, "ecc_uncorrected_volatile", 0},
    {5, 5, 1000, kNvUllong, "ecc_corrected_aggregate", 0},
    {6, 6, 1000, kNvUllong, "ecc_uncorrected_aggregate", 0},
    {74, 81, 1000, kNvUllong, "violation_%u", 0},
    {82, 82, 1000, kNvUint, "temperature_memory", 40},
    {83, 83, 1000, kNvUllong, NULL, 0},
    {91, 91, 1000, kNvUint, NULL, 18},
    {94, 94, 1000, kNvUint, "replays", 0},
    {95, 95, 1000, kNvUint, "replay_rollovers", 0},
    {138, 141, 1000, kNvUllong, NULL, 0},
    {142, 142, 1000, kNvUllong, "remapped_corrected", 0},
    {143, 143, 1000, kNvUllong, "remapped_uncorrected", 0},
    {144, 144, 1000, kNvUllong, "remapped_pending", 0},
    {145, 145, 1000, kNvUllong, "remapped_failure", 0},
    {161, 163, 1108, kNvUllong, NULL, 0},
    {164, 164, 1108, kNvUint, NULL, 26562},
    {165, 165, 1108, kNvUint, NULL, 1},
    {166, 166, 1108, kNvUint, NULL, 6},
    {169, 169, 1200, kNvUint, "pcie_l0_to_recovery", 0},
    {173, 183, 1202, kNvUint, "pcie_errors_%u", 0},
    {184, 184, 1202, kNvUint, "mig_without_reset", 1},
    {185, 186, 1202, kNvUint, NULL, 0},
    {187, 187, 1202, kNvUint, "power_limit_min", 200000},
    {188, 188, 1202, kNvUint, "power_limit_max", 700000},
    {189, 189, 1202, kNvUint, "power_limit_default", 700000},
    {190, 190, 1202, kNvUint, NULL, 0},
    {191, 191, 1202, kNvUllong, NULL, 0},
    {192, 192, 1202, kNvUint, NULL, 0},
    {193, 193, 1202, kNvInt, "margin_shutdown", -8},
    {194, 194, 1202, kNvInt, "margin_slowdown", -2},
    {195, 195, 1202, kNvInt, "margin_memory_max", 0},
    {196, 196, 1202, kNvInt, "margin_gpu_max", 0},
    {197, 198, 1205, kNvUint, NULL, 0},
    {226, 229, 1206, kNvUint, "field_226_%u", 0},
    {230, 230, 1208, kNvUint, "recovery_action", 0},
    {301, 301, FAKE_RENUMBERED ? 1300 : 1302, kNvUllong, "remapped_corrected_inactive", 0},
    {302, 302, FAKE_RENUMBERED ? 1300 : 1302, kNvUllong, "remapped_uncorrected_inactive", 0},
};

/* Ids that NVIDIA gave another meaning between releases: what this driver answers. A reader that
 * trusts them shows these numbers. 0: the id does not exist here. An H200 with 580.159 answers 199
 * and 269-271 alone; where a GPU has the others the headers say what they mean. */
static Number UnstableField(unsigned id) {
  enum { kMigCapable = 1, kThresholdMax = 4095, kSmoothing = 77, kSyncBalance = 55 };
  const Number throttle_ns = 123456789;
  const int swapped = FAKE_HEADER == 1205 || FAKE_HEADER == 1206;
  if (FAKE_RENUMBERED) return id == 199 ? kMigCapable : id >= 269 && id <= 271 ? throttle_ns : 0;
  if (id == 199 && FAKE_HEADER >= 1204) return swapped ? kThresholdMax : kMigCapable;
  if (id == 200 && FAKE_HEADER >= 1205) return swapped ? kMigCapable : kThresholdMax;
  if (id < 251 || id > 273 || FAKE_HEADER < 1208) return 0;
  if (FAKE_HEADER == 1300) return id <= 253 ? throttle_ns : id <= 255 ? kSyncBalance : kSmoothing;
  if (id <= 268) return kSmoothing;
  if (FAKE_HEADER < 1300) return 0;
  return id <= 271 ? throttle_ns : kSyncBalance;
}

/* Of one link, or of all for UINT_MAX where the id has a sum. Nothing in MIG mode or without links.
 */
static int NvLinkField(const Device* device, unsigned id, unsigned scope, double ms, Number* out) {
  static const char* const kThroughput[4] = {
      "nvlink_tx_kib", "nvlink_rx_kib", "nvlink_raw_tx_kib", "nvlink_raw_rx_kib"};
  static const char* const kLink[6] = {"nvlink_replays",
                                       "nvlink_recoveries",
                                       "nvlink_crc_errors",
                                       "nvlink_mbps",
                                       "nvlink_state",
                                       "nvlink_version"};
  static const int kLinkDefaults[6] = {0, 0, 0, 26562, 1, 6};
  const Number links = FieldOr(device, "nvlinks", 18);
  int code;
  if (MigMode(device) || links == 0) return kNvNotSupported;
  if (id == 91) {
    *out = links;
    return 0;
  }
  if (scope >= ToU32(links) && (scope != 0xffffffffu || id > 141)) return kNvInvalidArgument;
  if (id >= 161) return FieldAt(device, kLink[id - 161], ms, kLinkDefaults[id - 161], out);
  code = FieldAt(device, kThroughput[id - 138], ms, 0, out);
  if (scope == 0xffffffffu) *out *= links;
  return code;
}

/* Fields of the power domain: scope 3 came with header 13.3. */
static int PowerField(const Device* device, unsigned id, unsigned scope, double ms, Number* value) {
  if (scope > 2) return kNvInvalidArgument;
  if (id == 185 && scope == 2) return FieldAt(device, "power_memory_average", ms, 46560, value);
  if (scope != 0) return kNvNotSupported;
  if (id == 83 || id == 191) return EnergyAt(device, ms, value);
  if (id == 190) return EnforcedLimit(device, ms, value);
  if (id == 192) return RequestedLimit(device, ms, value);
  return id == 185 ? FieldAt(device, "power_average", ms, POWER_AVERAGE, value)
                   : FieldAt(device, "power_instant", ms, POWER_INSTANT, value);
}

static int SpecialField(
    const Device* device, unsigned id, unsigned scope, double ms, Number* value) {
  if (id == 197 || id == 198) {
    const int code = PcieBytesAt(device, id == 198, ms, value);
    /* 32-bit counters, as measured; a driver may come that has wider ones. */
    if (code == 0 && FieldOr(device, "pcie_counter_bits", 32) == 32) *value = ToU32(*value);
    return code;
  }
  if (id == 83 || id == 185 || id == 186 || (id >= 190 && id <= 192)) {
    return PowerField(device, id, scope, ms, value);
  }
  return NvLinkField(device, id, scope, ms, value);
}

/* One id: its NVML code, and where that is 0 its type and value. fake_lock held. */
static int ReadField(const Device* device, NvFieldValue* out, double ms) {
  char name[48];
  Number value = 0, unstable = UnstableField(out->field_id);
  const FieldId* id = NULL;
  FakeEntry* scripted;
  int code = out->field_id > 302 || out->field_id == 23 || out->field_id == 274 ||
                     (out->field_id >= 289 && out->field_id <= 300 && out->field_id != 294 &&
                      out->field_id != 295)
                 ? kNvInvalidArgument
                 : kNvNotSupported;
  size_t i;
  for (i = 0; i < sizeof(kFields) / sizeof(kFields[0]); ++i) {
    if (out->field_id >= kFields[i].first && out->field_id <= kFields[i].last) id = &kFields[i];
  }
  if (IsMig(device)) return kNvNotSupported;
  if (out->field_id == 147) { /* success without a value: seen on an H200 */
    out->type = kNvDouble;
    out->timestamp = 0;
    memset(&out->value, 0, sizeof(out->value));
    return 0;
  }
  if (id != NULL && id->since > FAKE_HEADER) return kNvInvalidArgument;
  snprintf(name, sizeof(name), "field.%u", out->field_id);
  scripted = FieldEntry(device, name);
  out->type = id != NULL ? id->type : kNvUint;
  if (scripted != NULL) {
    code = Evaluate(scripted, ms, &value);
  } else if (id != NULL && id->field == NULL) {
    code = SpecialField(device, out->field_id, out->scope_id, ms, &value);
  } else if (id != NULL) {
    snprintf(name, sizeof(name), id->field, out->field_id - id->first);
    code = FieldAt(device, name, ms, id->otherwise, &value);
  } else if (unstable != 0) {
    value = unstable;
    code = 0;
  }
  if (code != 0) return code;
  snprintf(name, sizeof(name), "field_type.%u", out->field_id);
  out->type = (int)FieldOr(device, name, out->type);
  if ((out->field_id == 197 || out->field_id == 198) &&
      FieldOr(device, "pcie_counter_bits", 32) != 32) {
    out->type = kNvUllong;
  }
  memset(&out->value, 0, sizeof(out->value));
  switch (out->type) {
    case kNvDouble:
      out->value.d = (double)value;
      break;
    case kNvUint:
      out->value.ui = ToU32(value);
      break;
    case kNvInt:
      out->value.si = (int)value;
      break;
    default:
      out->value.ull = ToU64(value);
  }
  return 0;
}

FAKE_EXPORT int nvmlDeviceGetFieldValues(Device* device, int count, NvFieldValue* values) {
  char ids[200] = "";
  char name[32];
  const FakeEntry* preset;
  const int64_t begin = FakeNow();
  double total = 0, ms;
  int n = 0, i, code = Enter("nvmlDeviceGetFieldValues", device);
  for (i = 0; i < count && n < (int)sizeof(ids) - 16; ++i) {
    n += snprintf(ids + n, sizeof(ids) - (size_t)n, "%s%u", i > 0 ? "," : "", values[i].field_id);
  }
  if (code == 0) {
    pthread_mutex_lock(&fake_lock);
    preset = FakeFind("nvml.latencies");
    for (i = 0; i < count; ++i) {
      double us;
      snprintf(name, sizeof(name), "field.%u", values[i].field_id);
      us = (double)Behaviour(device,
                             kFakeLatency,
                             "latency_us",
                             name,
                             preset == NULL ? 0 : PresetLatency(preset->value, name));
      values[i].latency_us = us < 10 ? 0 : (long long)us; /* what shared memory serves: 0 */
      total += us;
    }
    pthread_mutex_unlock(&fake_lock);
    TakeTime(total, begin);
    pthread_mutex_lock(&fake_lock);
    ms = FakeMachineMs(); /* one instant for all: ids of one driver call are of one call */
    for (i = 0; i < count; ++i) {
      values[i].timestamp = Stamp("nvml.field_clock", ms);
      values[i].code = ReadField(device, &values[i], ms);
    }
    pthread_mutex_unlock(&fake_lock);
  }
  /* Success also when none could be filled: each entry has its code. */
  return FakeLeave("nvmlDeviceGetFieldValues", code, "%s", ids);
}

FAKE_EXPORT int nvmlDeviceClearFieldValues(Device* device, int count, NvFieldValue* values) {
  const int code = Enter("nvmlDeviceClearFieldValues", device);
  (void)count;
  (void)values;
  return Leave("nvmlDeviceClearFieldValues", code != 0 ? code : kNvNoPermission);
}

#endif
