#pragma once

// The journal of a transaction as lib/mitigate/transaction/journal.ts writes it
// (docs/transactions.md): lines of JSON with a fixed order of members, each with its sequence
// number and a CRC-32. This reader knows that order and no more of JSON; what it does not know it
// leaves to `recover`.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

enum { kMaxSteps = 256, kMaxLocks = 16, kMaxText = 512, kMaxValue = 128 };

// Operations that can be undone by writing a file.
enum Operation { kPoolGrow, kPoolShrink, kPoolGone, kPoolDemote, kFileSet, kOtherOperation };

struct Step {
  long number;
  long undoes;  // -1: it undoes nothing
  enum Operation op;
  char op_name[64];
  char target[kMaxText];
  // Values as they stand in the file, a text with its quotes.
  char prior[kMaxValue];
  char asked[kMaxValue];
  char observed[kMaxValue];  // empty: the end of the step is unknown
};

struct Journal {
  char id[kMaxValue];
  char action[64];
  char boot_id[64];
  char locks[kMaxLocks][kMaxValue];
  int lock_count;
  struct Step steps[kMaxSteps];
  int step_count;
  int lines;           // whole lines, the header included
  size_t valid_bytes;  // length of these
  bool closed;         // nothing is left to undo
  bool committed;
  double expires_ms;    // CLOCK_BOOTTIME; negative: never
  bool unknown_steps;   // it has operations or values that only the library understands
  const char* corrupt;  // why it must not be acted upon, or NULL
};

// Reads `length` bytes. A last line without its newline was never acknowledged and says nothing.
void ParseJournal(const char* text, size_t length, struct Journal* journal);

// The text of a JSON string that needs no escapes; false for another value, or one that does not
// fit.
bool ValueText(const char* value, char* text, size_t size);
// The value of a JSON number without a fraction, or `otherwise`.
long ValueNumber(const char* value, long otherwise);

// Appends `body` (a JSON object without its closing brace and checksum, sequence number and time
// first) to `line`. Returns its length, or 0 when it does not fit.
size_t EncodeLine(const char* body, char* line, size_t size);

// CRC-32 as zlib has it.
uint32_t Crc32(const char* bytes, size_t length);

#ifdef __cplusplus
}
#endif
