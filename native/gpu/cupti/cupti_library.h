/*
 * libcupti of the process that is traced, found by dlopen and never closed (it has threads), and
 * the few functions of the libcuda that is already loaded. A process that has CUPTI loaded (one
 * that imported torch) keeps its own.
 */
#ifndef WARPGAUGE_GPU_CUPTI_CUPTI_LIBRARY_H
#define WARPGAUGE_GPU_CUPTI_CUPTI_LIBRARY_H

#include "cupti_abi.h"
#include "record_convert.h"

#ifdef __cplusplus
extern "C" {
#endif

struct wg_cupti {
/* NULL: an optional function that this library does not have. */
#define WG_CUPTI_MEMBER(name, required, arguments) int(*name) arguments; /* NOLINT */
  WG_CUPTI_FUNCTIONS(WG_CUPTI_MEMBER)
#undef WG_CUPTI_MEMBER
  char path[256];
  uint32_t version; /* cuptiGetVersion: 18 = 11.8, 130001 = 13.0 update 1 */
};

/* The driver as far as the process has loaded it; every member may be NULL. None starts it. */
struct wg_driver {
  int (*cuDriverGetVersion)(int*);
  int (*cuDeviceGetCount)(int*);
  int (*cuDeviceGet)(int* device, int ordinal);
  int (*cuDeviceGetName)(char* name, int size, int device);
  int (*cuDeviceGetPCIBusId)(char* text, int size, int device);
  int (*cuDeviceGetUuid)(uint8_t uuid[16], int device); /* _v2 where there is one */
  uint32_t version;                                     /* 12020; 0: unknown */
};

/* 0, or 1: no libcupti, 2: the one that was found lacks a required function. `detail` (of
 * `detail_bytes`) then says what was tried or is missing. `override_path`: this library and no
 * other; NULL or empty: the search. `more_paths`: files joined by ':', NULL: none. */
int wg_cupti_open(struct wg_cupti* cupti,
                  const struct wg_driver* driver,
                  const char* override_path,
                  const char* more_paths,
                  char* detail,
                  size_t detail_bytes);

/* `code`: an address inside libcuda, such as a return address; NULL: unknown. */
void wg_driver_find(struct wg_driver* driver, const void* code);

/* Measures how long the library's records are, by letting it step over hand-made ones. A kind whose
 * records are too short for us gets 0; their bits (1 << wg_record_kind) are returned. */
uint32_t wg_cupti_probe(const struct wg_cupti* cupti, struct wg_converter* converter);

/* The bits of the copy calls, by their names in this library. 0, or -1 where it cannot tell names:
 * then nothing may be filtered. */
int wg_cupti_memcpy_calls(const struct wg_cupti* cupti,
                          uint8_t driver[WG_CBIDS / 8],
                          uint8_t runtime[WG_CBIDS / 8]);

/* "13.0" as the CUDA version whose driver this CUPTI needs at least, times 1000 and 10: 13000. 0:
 * unknown. */
uint32_t wg_cupti_cuda_version(uint32_t cupti_version);

#ifdef __cplusplus
}
#endif

#endif
