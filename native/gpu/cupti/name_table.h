/*
 * The names of a lane: an id for each text. Bounded; a text that no longer fits has no id. Used by
 * our one thread only.
 */
#ifndef WARPGAUGE_GPU_CUPTI_NAME_TABLE_H
#define WARPGAUGE_GPU_CUPTI_NAME_TABLE_H

#include <stddef.h> /* NOLINT(modernize-deprecated-headers): also C */
#include <stdint.h> /* NOLINT(modernize-deprecated-headers): also C */

#include "trace_record.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  WG_MOST_NAMES = 16384,
  WG_MOST_NAME_BYTES = 4 << 20,
  WG_NAME_SHORTCUTS = 1024,
};

struct wg_name {
  const char* text; /* at most WG_NAME_LONGEST bytes, cut as trace_record.h says; no final 0 */
  uint16_t length;
  uint16_t source_length; /* of what the record pointed to, at most WG_NAME_LONGEST + 1 */
  uint32_t hash;
  uint64_t announced; /* 1 + the lane's head when it was last told; 0: never */
};

struct wg_name_table {
  struct wg_name* names;
  uint32_t count;
  uint32_t* slots; /* ids + 1, open addressing */
  char* bytes;
  size_t used;
  uint64_t refused; /* texts without an id, each time they came */
  /* The id that was last found at an address: most records repeat a few pointers. The text is
   * compared all the same, for CUPTI may reuse an address. */
  struct {
    const char* pointer;
    uint32_t id;
  } shortcuts[WG_NAME_SHORTCUTS];
};

/* 0 or -1: no memory. */
int wg_name_table_make(struct wg_name_table* table);
void wg_name_table_free(struct wg_name_table* table);

/* The id of a text, WG_NO_ID: the table is full. */
uint32_t wg_name_table_find(struct wg_name_table* table, const char* text);

#ifdef __cplusplus
}
#endif

#endif
