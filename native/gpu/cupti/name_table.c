#include "name_table.h"

#include <stdlib.h>
#include <string.h>

enum { kSlots = 2 * WG_MOST_NAMES };

int wg_name_table_make(struct wg_name_table* table) {
  memset(table, 0, sizeof *table);
  table->names = calloc(WG_MOST_NAMES, sizeof *table->names);
  table->slots = calloc(kSlots, sizeof *table->slots);
  table->bytes = malloc(WG_MOST_NAME_BYTES);
  if (table->names != NULL && table->slots != NULL && table->bytes != NULL) return 0;
  wg_name_table_free(table);
  return -1;
}

void wg_name_table_free(struct wg_name_table* table) {
  free(table->names);
  free(table->slots);
  free(table->bytes);
  memset(table, 0, sizeof *table);
}

/* Bytes of a text that is longer than a name may be, cut on a character's boundary. */
static size_t cut(const char* text) {
  size_t length = WG_NAME_LONGEST - 3;
  while (length > 0 && ((uint8_t)text[length] & 0xc0) == 0x80) length--;
  return length;
}

static int is_text(const struct wg_name* name, const char* text, size_t source_length) {
  if (name->source_length != source_length) return 0;
  const size_t length = source_length > WG_NAME_LONGEST ? name->length - 3U : source_length;
  return memcmp(name->text, text, length) == 0;
}

static uint32_t add(struct wg_name_table* table,
                    const char* text,
                    size_t source_length,
                    uint32_t hash,
                    uint32_t slot) {
  const int is_long = source_length > WG_NAME_LONGEST;
  const size_t kept = is_long ? cut(text) : source_length;
  const size_t length = is_long ? kept + 3 : kept;
  if (table->count == WG_MOST_NAMES || table->used + length > WG_MOST_NAME_BYTES) {
    table->refused++;
    return WG_NO_ID;
  }
  char* const copy = table->bytes + table->used;
  /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): its length stands beside it */
  memcpy(copy, text, kept);
  /* NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
  if (is_long) memcpy(copy + kept, "...", 3);
  table->used += length;
  const uint32_t id = table->count++;
  table->names[id] = (struct wg_name){
      .text = copy,
      .length = (uint16_t)length,
      .source_length = (uint16_t)source_length,
      .hash = hash,
  };
  table->slots[slot] = id + 1;
  return id;
}

uint32_t wg_name_table_find(struct wg_name_table* table, const char* text) {
  const size_t length = strnlen(text, WG_NAME_LONGEST + 1);
  const size_t place = ((uintptr_t)text >> 4 ^ (uintptr_t)text >> 14) % WG_NAME_SHORTCUTS;
  if (table->shortcuts[place].pointer == text &&
      is_text(&table->names[table->shortcuts[place].id], text, length)) {
    return table->shortcuts[place].id;
  }
  uint32_t hash = 2166136261U; /* FNV-1a */
  for (size_t i = 0; i < length; i++) hash = (hash ^ (uint8_t)text[i]) * 16777619U;
  uint32_t slot = hash % kSlots;
  uint32_t id = WG_NO_ID;
  while (table->slots[slot] != 0) {
    const struct wg_name* const name = &table->names[table->slots[slot] - 1];
    if (name->hash == hash && is_text(name, text, length)) {
      id = table->slots[slot] - 1;
      break;
    }
    slot = (slot + 1) % kSlots;
  }
  if (id == WG_NO_ID) id = add(table, text, length, hash, slot);
  if (id != WG_NO_ID) {
    table->shortcuts[place].pointer = text;
    table->shortcuts[place].id = id;
  }
  return id;
}
