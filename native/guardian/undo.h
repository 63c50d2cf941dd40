#pragma once

// Undoes a journal whose changes were writes to files of sysfs and procfs: the same rules as
// lib/mitigate/transaction/undo.ts with pool-operations.ts and file-operation.ts, and the same
// lines in the same journal.

#include "guardian/journal.h"

struct Undoing {
  const char* root;    // in front of every path of the machine; "" on a real one
  const char* audit;   // path of the audit log
  const char* reason;  // for the last line and the audit log
  int journal_fd;      // open for appending, and locked
};

enum UndoResult {
  kUndone,
  kBlocked,      // something is in use: try again later
  kLeftToOthers  // damaged, of another boot, or not of our kind: for `recover`
};

// Reads the journal from its file anew and undoes what is left of it.
enum UndoResult UndoJournal(const struct Undoing* undoing, struct Journal* journal);

// Reads a whole file into `text` (NUL-terminated); -1 when it cannot be read or does not fit.
long ReadWhole(int fd, char* text, size_t size);
