/*
 * One activity record of CUPTI becomes one wg_record. Pure: what a record points to (names) is read
 * by the caller's functions only, so that hand-made and hostile records can be converted too.
 */
#ifndef WARPGAUGE_GPU_CUPTI_RECORD_CONVERT_H
#define WARPGAUGE_GPU_CUPTI_RECORD_CONVERT_H

#include "cupti_abi.h"
#include "trace_record.h"

#ifdef __cplusplus
extern "C" {
#endif

enum wg_converted {
  WG_CONVERTED = 0,
  WG_CONVERTED_WITHOUT_TIME, /* CUPTI did not know start or end */
  WG_CONVERTED_UNWANTED,     /* an API call that was not asked for */
  WG_CONVERTED_UNKNOWN,      /* a kind that we do not read, or cut short */
};

enum {
  WG_CBIDS = 2048, /* API functions of one domain that can be told apart; 13.0 has 807 */
};

struct wg_converter {
  /* Bytes of a record of each kind in this library (wg_cupti_probe); 0: kind is not read. */
  uint16_t lengths[WG_CUPTI_KINDS];
  /* Which API calls are wanted: a bit for each cbid of the driver and of the runtime. */
  const uint8_t* wanted_driver;  /* NULL: all */
  const uint8_t* wanted_runtime; /* NULL: all */
  /* The id of a text that a record points to (never NULL), and of an API function. */
  uint32_t (*name)(void* user, const char* text);
  uint32_t (*api_name)(void* user, int domain, uint32_t cbid);
  void* user;
};

/* Bytes of the record of `kind` that we need; 0 for kinds that are not read. */
uint32_t wg_cupti_prefix_bytes(uint32_t kind);

/* The kind as wg_record says it; WG_RECORD_NONE for kinds that are not read. */
enum wg_record_kind wg_record_kind_of(uint32_t cupti_kind);

/* Converts the record at `from`, after which `available` bytes of its buffer follow, itself
 * included. `to` is complete if and only if WG_CONVERTED is returned. */
enum wg_converted wg_convert(const struct wg_converter* converter,
                             const void* from,
                             size_t available,
                             struct wg_record* to);

#ifdef __cplusplus
}
#endif

#endif
