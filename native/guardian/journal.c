#include "guardian/journal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t Crc32(const char* bytes, size_t length) {
  uint32_t crc = 0xffffffffU;
  for (size_t i = 0; i < length; i++) {
    crc ^= (unsigned char)bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xedb88320U : 0);
  }
  return ~crc;
}

size_t EncodeLine(const char* body, char* line, size_t size) {
  const int length =
      snprintf(line, size, "%s,\"crc\":\"%08x\"}\n", body, Crc32(body, strlen(body)));
  return length > 0 && (size_t)length < size ? (size_t)length : 0;
}

// One line while it is read: what is left of it.
struct Cursor {
  const char* at;
  const char* end;
};

static bool Skip(struct Cursor* cursor, const char* literal) {
  const size_t length = strlen(literal);
  if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, literal, length) != 0) {
    return false;
  }
  cursor->at += length;
  return true;
}

// The end of the JSON value at the cursor: a string, a number, a word, or brackets with what is in
// them.
static const char* EndOfValue(const struct Cursor* cursor) {
  int depth = 0;
  bool quoted = false;
  for (const char* at = cursor->at; at < cursor->end; at++) {
    if (quoted) {
      if (*at == '\\') {
        at++;
      } else if (*at == '"') {
        quoted = false;
      }
      continue;
    }
    if (*at == '"') quoted = true;
    if (*at == '[' || *at == '{') depth++;
    if (depth == 0 && (*at == ',' || *at == ']' || *at == '}')) return at;
    if (*at == ']' || *at == '}') depth--;
  }
  return quoted || depth != 0 ? NULL : cursor->end;
}

// Copies the value at the cursor and steps over it. A value too long for `size` is left empty:
// `fits` tells.
static bool TakeValue(struct Cursor* cursor, char* value, size_t size, bool* fits) {
  const char* end = EndOfValue(cursor);
  if (end == NULL || end == cursor->at) return false;
  const size_t length = (size_t)(end - cursor->at);
  value[0] = '\0';
  if (length < size) {
    memcpy(value, cursor->at, length);
    value[length] = '\0';
  } else if (fits != NULL) {
    *fits = false;
  }
  cursor->at = end;
  return true;
}

bool ValueText(const char* value, char* text, size_t size) {
  const size_t length = strlen(value);
  if (length < 2 || value[0] != '"' || value[length - 1] != '"') return false;
  if (length - 2 >= size || memchr(value, '\\', length) != NULL) return false;
  memcpy(text, value + 1, length - 2);
  text[length - 2] = '\0';
  return true;
}

long ValueNumber(const char* value, long otherwise) {
  char* end = NULL;
  errno = 0;
  const long number = strtol(value, &end, 10);
  return end == value || *end != '\0' || errno != 0 ? otherwise : number;
}

static bool TakeNumber(struct Cursor* cursor, long* number) {
  char value[32];
  if (!TakeValue(cursor, value, sizeof(value), NULL)) return false;
  *number = ValueNumber(value, LONG_MIN);
  return *number != LONG_MIN;
}

static bool TakeText(struct Cursor* cursor, char* text, size_t size) {
  char value[kMaxText];
  return TakeValue(cursor, value, sizeof(value), NULL) && ValueText(value, text, size);
}

static bool ReadHeader(struct Cursor* cursor, struct Journal* journal) {
  char schema[64];
  if (!Skip(cursor, ",\"schema\":") || !TakeText(cursor, schema, sizeof(schema)) ||
      strcmp(schema, "warpgauge/journal/1") != 0 || !Skip(cursor, ",\"id\":") ||
      !TakeText(cursor, journal->id, sizeof(journal->id)) || !Skip(cursor, ",\"action\":") ||
      !TakeText(cursor, journal->action, sizeof(journal->action)) ||
      !Skip(cursor, ",\"locks\":[")) {
    return false;
  }
  while (!Skip(cursor, "]")) {
    if (journal->lock_count == kMaxLocks) return false;
    if (journal->lock_count > 0 && !Skip(cursor, ",")) return false;
    if (!TakeText(cursor, journal->locks[journal->lock_count], kMaxValue)) return false;
    journal->lock_count++;
  }
  return Skip(cursor, ",\"bootId\":") &&
         TakeText(cursor, journal->boot_id, sizeof(journal->boot_id));
}

static enum Operation OperationOf(const char* name) {
  static const struct {
    const char* name;
    enum Operation op;
  } known[] = {{"pool.grow", kPoolGrow},
               {"pool.shrink", kPoolShrink},
               {"pool.gone", kPoolGone},
               {"pool.demote", kPoolDemote},
               {"file.set", kFileSet}};
  for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
    if (strcmp(name, known[i].name) == 0) return known[i].op;
  }
  return kOtherOperation;
}

// Whether a step can be undone here: a known operation on a plain path with values of the type it
// has.
static bool IsKnown(const struct Step* step, bool fits) {
  char text[kMaxValue];
  switch (step->op) {
    case kPoolGrow:
    case kPoolShrink:
    case kPoolGone:
    case kPoolDemote:
      return fits && ValueNumber(step->prior, -1) >= 0 && ValueNumber(step->asked, -1) >= 0;
    case kFileSet:
      return fits && ValueText(step->prior, text, sizeof(text)) &&
             ValueText(step->asked, text, sizeof(text));
    default:
      return false;
  }
}

static bool ReadIntent(struct Cursor* cursor, struct Journal* journal) {
  if (journal->step_count == kMaxSteps) {
    journal->unknown_steps = true;
    return true;
  }
  struct Step* step = &journal->steps[journal->step_count];
  memset(step, 0, sizeof(*step));
  step->undoes = -1;
  bool fits = true;
  char target[kMaxText];
  if (!Skip(cursor, ",\"step\":") || !TakeNumber(cursor, &step->number) ||
      !Skip(cursor, ",\"op\":") || !TakeText(cursor, step->op_name, sizeof(step->op_name)) ||
      !Skip(cursor, ",\"target\":") || !TakeValue(cursor, target, sizeof(target), &fits) ||
      !Skip(cursor, ",\"prior\":") || !TakeValue(cursor, step->prior, kMaxValue, &fits) ||
      !Skip(cursor, ",\"asked\":") || !TakeValue(cursor, step->asked, kMaxValue, &fits)) {
    return false;
  }
  if (Skip(cursor, ",\"undoes\":") && !TakeNumber(cursor, &step->undoes)) return false;
  fits = ValueText(target, step->target, sizeof(step->target)) && fits;
  step->op = OperationOf(step->op_name);
  if (!IsKnown(step, fits)) journal->unknown_steps = true;
  journal->step_count++;
  return true;
}

static bool ReadDone(struct Cursor* cursor, struct Journal* journal) {
  long number = 0;
  char observed[kMaxValue];
  bool fits = true;
  if (!Skip(cursor, ",\"step\":") || !TakeNumber(cursor, &number) ||
      !Skip(cursor, ",\"observed\":") || !TakeValue(cursor, observed, sizeof(observed), &fits)) {
    return false;
  }
  if (!fits) journal->unknown_steps = true;
  for (int i = 0; i < journal->step_count; i++) {
    struct Step* step = &journal->steps[i];
    if (step->number == number && step->observed[0] == '\0')
      memcpy(step->observed, observed, sizeof(observed));
  }
  return true;
}

static bool ReadLease(struct Cursor* cursor, struct Journal* journal) {
  char value[64];
  if (!Skip(cursor, ",\"expires\":") || !TakeValue(cursor, value, sizeof(value), NULL))
    return false;
  char* end = NULL;
  const double expires = strtod(value, &end);
  journal->expires_ms = strcmp(value, "null") == 0 || end == value ? -1 : expires;
  return true;
}

// Reads one line without its newline; NULL, or what is wrong with it.
static const char* ReadLine(const char* line, size_t length, struct Journal* journal) {
  static const size_t tail = sizeof(",\"crc\":\"00000000\"}") - 1;
  if (length < tail || memcmp(line + length - tail, ",\"crc\":\"", 8) != 0 ||
      memcmp(line + length - 2, "\"}", 2) != 0) {
    return "no checksum";
  }
  char crc[9];
  snprintf(crc, sizeof(crc), "%08x", Crc32(line, length - tail));
  if (memcmp(line + length - 10, crc, 8) != 0) return "wrong checksum";
  struct Cursor cursor = {line, line + length - tail};
  long sequence = 0;
  char text[64];
  if (!Skip(&cursor, "{\"seq\":") || !TakeNumber(&cursor, &sequence) ||
      !Skip(&cursor, ",\"time\":") || !TakeText(&cursor, text, sizeof(text)) ||
      !Skip(&cursor, ",\"type\":") || !TakeText(&cursor, text, sizeof(text))) {
    return "another form";
  }
  if (sequence != journal->lines) return "wrong sequence number";
  if ((strcmp(text, "header") == 0) != (journal->lines == 0)) return "lines in the wrong order";
  bool read = true;
  if (strcmp(text, "header") == 0) read = ReadHeader(&cursor, journal);
  if (strcmp(text, "intent") == 0) read = ReadIntent(&cursor, journal);
  if (strcmp(text, "done") == 0) read = ReadDone(&cursor, journal);
  if (strcmp(text, "lease") == 0) read = ReadLease(&cursor, journal);
  if (strcmp(text, "commit") == 0) journal->committed = true;
  journal->closed = strcmp(text, "rolledback") == 0 || strcmp(text, "kept") == 0;
  return read ? NULL : "another form";
}

void ParseJournal(const char* text, size_t length, struct Journal* journal) {
  memset(journal, 0, sizeof(*journal));
  journal->expires_ms = -1;
  size_t at = 0;
  while (at < length) {
    const char* newline = memchr(text + at, '\n', length - at);
    if (newline == NULL) break;
    const size_t end = (size_t)(newline - text);
    journal->corrupt = ReadLine(text + at, end - at, journal);
    if (journal->corrupt != NULL) return;
    at = end + 1;
    journal->lines++;
    journal->valid_bytes = at;
  }
  if (journal->lines == 0) journal->corrupt = "no header";
}
