#include "guardian/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { kJournalBytes = 1 << 20, kLineBytes = 4096, kPathBytes = 1024, kMaxRounds = 16 };

long ReadWhole(int fd, char* text, size_t size) {
  size_t length = 0;
  while (length < size - 1) {
    const ssize_t got = pread(fd, text + length, size - 1 - length, (off_t)length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    length += (size_t)got;
  }
  text[length] = '\0';
  return length < size - 1 ? (long)length : -1;
}

static bool ReadFile(const char* root, const char* path, char* text, size_t size) {
  char full[kPathBytes];
  if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full)) return false;
  const int fd = open(full, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const long length = ReadWhole(fd, text, size);
  close(fd);
  return length >= 0;
}

static bool WriteFile(const char* root, const char* path, const char* text) {
  char full[kPathBytes];
  if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full)) return false;
  const int fd = open(full, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  // As echo writes it, in one call: the kernel takes it whole or not at all.
  char line[kMaxText];
  const int length = snprintf(line, sizeof(line), "%s\n", text);
  const bool written =
      length > 0 && length < (int)sizeof(line) && write(fd, line, (size_t)length) == length;
  return close(fd) == 0 && written;
}

// A number in a file of `folder`, or -1.
static long ReadCount(const char* root, const char* folder, const char* name) {
  char path[kPathBytes];
  char text[64];
  if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path)) return -1;
  if (!ReadFile(root, path, text, sizeof(text))) return -1;
  text[strcspn(text, "\n")] = '\0';
  return ValueNumber(text, -1);
}

// The folder of a file.
static bool FolderOf(const char* path, char* folder, size_t size) {
  const char* slash = strrchr(path, '/');
  if (slash == NULL || (size_t)(slash - path) >= size) return false;
  memcpy(folder, path, (size_t)(slash - path));
  folder[slash - path] = '\0';
  return true;
}

// Pages that a write to the pool's file counts, or -1.
static long PersistentPages(const char* root, const char* target) {
  char folder[kPathBytes];
  if (!FolderOf(target, folder, sizeof(folder))) return -1;
  const long total = ReadCount(root, folder, "nr_hugepages");
  const long surplus = ReadCount(root, folder, "surplus_hugepages");
  return total < 0 || surplus < 0 ? -1 : total - surplus;
}

static long Least(long a, long b) { return a < b ? a : b; }
static long NotNegative(long a) { return a < 0 ? 0 : a; }

// Pages that can be taken out of a pool without making surplus ones; see waitUntilFree in
// pool-operations.ts.
static long TakeablePages(const char* root, const char* target, long wanted) {
  char folder[kPathBytes];
  char machine[kPathBytes];
  if (!FolderOf(target, folder, sizeof(folder))) return 0;
  const char* name = strrchr(folder, '/');
  if (name == NULL || snprintf(machine, sizeof(machine), "/sys/kernel/mm/hugepages%s", name) >=
                          (int)sizeof(machine)) {
    return 0;
  }
  const long free_pages = ReadCount(root, machine, "free_hugepages");
  const long reserved = ReadCount(root, machine, "resv_hugepages");
  const long surplus = ReadCount(root, machine, "surplus_hugepages");
  const long own_free = ReadCount(root, folder, "free_hugepages");
  if (free_pages < 0 || reserved < 0 || surplus < 0 || own_free < 0) return 0;
  const long spare = NotNegative(Least(free_pages - reserved - surplus, own_free));
  return NotNegative(Least(spare, Least(PersistentPages(root, target), wanted)));
}

// The value of a setting: the word in brackets of `always [madvise] never`, else the whole text.
static bool ReadSetting(const char* root, const char* path, char* value, size_t size) {
  char text[kMaxText];
  if (!ReadFile(root, path, text, sizeof(text))) return false;
  text[strcspn(text, "\n")] = '\0';
  char* start = strchr(text, '[');
  char* end = start == NULL ? NULL : strchr(start, ']');
  if (end != NULL) {
    *end = '\0';
    start++;
  } else {
    start = text;
  }
  return snprintf(value, size, "\"%s\"", start) < (int)size;
}

static void IsoTime(char* text, size_t size) {
  struct timespec now;
  struct tm utc;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &utc);
  char seconds[32];
  strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &utc);
  snprintf(text, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

// Appends `{"seq":N,"time":"T",` and `members` as one line, on the disk when this returns.
static bool Append(const struct Undoing* undoing, struct Journal* journal, const char* members) {
  char time_text[64];
  char body[kLineBytes];
  char line[kLineBytes + 32];
  IsoTime(time_text, sizeof(time_text));
  const int length = snprintf(
      body, sizeof(body), "{\"seq\":%d,\"time\":\"%s\",%s", journal->lines, time_text, members);
  if (length <= 0 || length >= (int)sizeof(body)) return false;
  const size_t size = EncodeLine(body, line, sizeof(line));
  if (size == 0 || write(undoing->journal_fd, line, size) != (ssize_t)size) return false;
  if (fsync(undoing->journal_fd) != 0) return false;
  journal->lines++;
  return true;
}

static void Audit(const struct Undoing* undoing,
                  const struct Journal* journal,
                  const struct Step* step) {
  char time_text[64];
  char line[kLineBytes];
  char undoes[32] = "null";
  struct timespec now;
  IsoTime(time_text, sizeof(time_text));
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (step->undoes >= 0) snprintf(undoes, sizeof(undoes), "%ld", step->undoes);
  const int length = snprintf(
      line,
      sizeof(line),
      "\n{\"schema\":\"warpgauge/audit/"
      "1\",\"time\":\"%s\",\"monotonic_ns\":\"%lld\",\"boot_id\":\"%s\","
      "\"uid\":%u,\"pid\":%d,\"transaction\":\"%s\",\"step\":%ld,\"action\":\"%s\",\"op\":\"%s\","
      "\"target\":\"%s\",\"prior\":%s,\"asked\":%s,\"observed\":%s,\"outcome\":\"%s\",\"undoes\":%"
      "s,"
      "\"error\":null,\"duration_ns\":null,\"reason\":\"%s\"}\n",
      time_text,
      (long long)now.tv_sec * 1000000000LL + now.tv_nsec,
      journal->boot_id,
      (unsigned)getuid(),
      (int)getpid(),
      journal->id,
      step->number,
      journal->action,
      step->op_name,
      step->target,
      step->prior,
      step->asked,
      step->observed,
      strcmp(step->observed, "null") == 0 ? "failed" : "done",
      undoes,
      undoing->reason);
  // The journal has it all: a log that cannot be written must not keep the machine from being
  // restored.
  const int fd = open(undoing->audit, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  if (length > 0 && length < (int)sizeof(line) && write(fd, line, (size_t)length) != length) {
    // A torn line; readers skip it.
  }
  close(fd);
}

// What of a step is in effect now, into step->observed; false where it cannot be read.
static bool Observe(const struct Undoing* undoing, struct Step* step) {
  if (step->op == kPoolGone) {
    memcpy(step->observed, step->asked, sizeof(step->observed));
    return true;
  }
  if (step->op == kFileSet) {
    char now[kMaxValue];
    if (!ReadSetting(undoing->root, step->target, now, sizeof(now))) return false;
    const bool set = strcmp(now, step->asked) == 0 && strcmp(now, step->prior) != 0;
    snprintf(step->observed, sizeof(step->observed), "%s", set ? now : "null");
    return true;
  }
  const long now = PersistentPages(undoing->root, step->target);
  if (now < 0) return false;
  const long prior = ValueNumber(step->prior, 0);
  const long by = step->op == kPoolGrow ? now - prior : prior - now;
  const long moved = NotNegative(Least(by, ValueNumber(step->asked, 0)));
  snprintf(step->observed, sizeof(step->observed), moved == 0 ? "null" : "%ld", moved);
  return true;
}

static bool AppendDone(const struct Undoing* undoing,
                       struct Journal* journal,
                       const struct Step* step,
                       bool decided) {
  char members[kLineBytes];
  snprintf(members,
           sizeof(members),
           "\"type\":\"done\",\"step\":%ld,\"observed\":%s%s",
           step->number,
           step->observed,
           decided ? ",\"decidedBy\":\"reading\"" : "");
  Audit(undoing, journal, step);
  return Append(undoing, journal, members);
}

// Takes one step that undoes `record`, journalled before and after; the new step, or NULL.
static struct Step* Take(const struct Undoing* undoing,
                         struct Journal* journal,
                         const struct Step* record,
                         enum Operation op,
                         const char* op_name,
                         const char* target,
                         const char* asked) {
  if (journal->step_count == kMaxSteps) return NULL;
  struct Step* step = &journal->steps[journal->step_count];
  memset(step, 0, sizeof(*step));
  step->op = op;
  snprintf(step->op_name, sizeof(step->op_name), "%s", op_name);
  snprintf(step->target, sizeof(step->target), "%s", target);
  snprintf(step->asked, sizeof(step->asked), "%s", asked);
  step->undoes = record->number;
  for (int i = 0; i < journal->step_count; i++) {
    if (journal->steps[i].number >= step->number) step->number = journal->steps[i].number + 1;
  }
  char text[kMaxValue];
  if (op == kFileSet) {
    if (!ReadSetting(undoing->root, target, step->prior, sizeof(step->prior))) return NULL;
    if (!ValueText(asked, text, sizeof(text))) return NULL;
  } else {
    const long prior = PersistentPages(undoing->root, target);
    if (prior < 0) return NULL;
    const long pages = ValueNumber(asked, 0);
    snprintf(step->prior, sizeof(step->prior), "%ld", prior);
    snprintf(
        text, sizeof(text), "%ld", op == kPoolGrow ? prior + pages : NotNegative(prior - pages));
  }
  char members[kLineBytes];
  snprintf(
      members,
      sizeof(members),
      "\"type\":\"intent\",\"step\":%ld,\"op\":\"%s\",\"target\":\"%s\",\"prior\":%s,\"asked\":%s,"
      "\"undoes\":%ld",
      step->number,
      op_name,
      target,
      step->prior,
      asked,
      record->number);
  if (!Append(undoing, journal, members)) return NULL;
  journal->step_count++;
  if (op != kPoolGone) WriteFile(undoing->root, target, text);
  return Observe(undoing, step) && AppendDone(undoing, journal, step, false) ? step : NULL;
}

static bool Happened(const struct Step* step) {
  return step->observed[0] != '\0' && strcmp(step->observed, "null") != 0;
}

// Pages that steps undoing `record` moved on `target`.
static long MovedBack(const struct Journal* journal,
                      const struct Step* record,
                      const char* target) {
  long pages = 0;
  for (int i = 0; i < journal->step_count; i++) {
    const struct Step* step = &journal->steps[i];
    if (step->undoes == record->number && Happened(step) && strcmp(step->target, target) == 0) {
      pages += ValueNumber(step->observed, 0);
    }
  }
  return pages;
}

// Takes `pages` of `record` out of the pool of `target`; true when none of them is left.
static bool ShrinkPool(const struct Undoing* undoing,
                       struct Journal* journal,
                       const struct Step* record,
                       const char* target,
                       long pages) {
  for (int round = 0; round < kMaxRounds; round++) {
    const long ours = pages - MovedBack(journal, record, target);
    if (ours <= 0) return true;
    char asked[32];
    // Pages that others took out of the pool are gone; later ones are not ours.
    const long lost = ours - PersistentPages(undoing->root, target);
    const long take = lost > 0 ? lost : TakeablePages(undoing->root, target, ours);
    if (take <= 0) return false;
    snprintf(asked, sizeof(asked), "%ld", take);
    const struct Step* step =
        lost > 0 ? Take(undoing, journal, record, kPoolGone, "pool.gone", target, asked)
                 : Take(undoing, journal, record, kPoolShrink, "pool.shrink", target, asked);
    if (step == NULL || strcmp(step->observed, step->asked) != 0) return false;
  }
  return false;
}

// Gives split pages back to the larger pool: first out of the smaller one, then anew into the
// larger one.
static bool UndoDemote(const struct Undoing* undoing,
                       struct Journal* journal,
                       const struct Step* record) {
  char pool[kPathBytes];
  char above[kPathBytes];
  char text[64];
  char small_pool[kMaxText];
  char large_pool[kMaxText];
  if (!FolderOf(record->target, pool, sizeof(pool)) || !FolderOf(pool, above, sizeof(above))) {
    return false;
  }
  snprintf(small_pool, sizeof(small_pool), "%.400s/demote_size", pool);
  if (!ReadFile(undoing->root, small_pool, text, sizeof(text))) return false;
  const char* large_name = strrchr(pool, '-');
  const long small_kb = strtol(text, NULL, 10);
  const long large_kb = large_name == NULL ? 0 : strtol(large_name + 1, NULL, 10);
  if (small_kb <= 0 || large_kb <= 0) return false;
  snprintf(small_pool, sizeof(small_pool), "%.400s/hugepages-%ldkB/nr_hugepages", above, small_kb);
  snprintf(large_pool, sizeof(large_pool), "%.400s/nr_hugepages", pool);
  const long pages = ValueNumber(record->observed, 0);
  if (!ShrinkPool(undoing, journal, record, small_pool, pages * (large_kb / small_kb)))
    return false;
  const long missing = pages - MovedBack(journal, record, large_pool);
  if (missing <= 0) return true;
  char asked[32];
  snprintf(asked, sizeof(asked), "%ld", missing);
  const struct Step* step =
      Take(undoing, journal, record, kPoolGrow, "pool.grow", large_pool, asked);
  return step != NULL && strcmp(step->observed, step->asked) == 0;
}

static bool UndoSetting(const struct Undoing* undoing,
                        struct Journal* journal,
                        const struct Step* record) {
  char now[kMaxValue];
  if (!ReadSetting(undoing->root, record->target, now, sizeof(now))) return false;
  // Another value than ours is another's.
  if (strcmp(now, record->observed) != 0) return true;
  const struct Step* step =
      Take(undoing, journal, record, kFileSet, "file.set", record->target, record->prior);
  return step != NULL && Happened(step);
}

static bool UndoStep(const struct Undoing* undoing,
                     struct Journal* journal,
                     const struct Step* record) {
  switch (record->op) {
    case kPoolGrow:
      return ShrinkPool(undoing, journal, record, record->target, ValueNumber(record->observed, 0));
    case kPoolDemote:
      return UndoDemote(undoing, journal, record);
    case kFileSet:
      return UndoSetting(undoing, journal, record);
    default:
      return true;
  }
}

static bool SameBoot(const struct Undoing* undoing, const struct Journal* journal) {
  char text[64];
  if (!ReadFile(undoing->root, "/proc/sys/kernel/random/boot_id", text, sizeof(text))) return false;
  text[strcspn(text, "\n")] = '\0';
  return strcmp(text, journal->boot_id) == 0;
}

enum UndoResult UndoJournal(const struct Undoing* undoing, struct Journal* journal) {
  static char text[kJournalBytes];
  const long length = ReadWhole(undoing->journal_fd, text, sizeof(text));
  if (length < 0) return kLeftToOthers;
  ParseJournal(text, (size_t)length, journal);
  if (journal->corrupt == NULL && journal->closed) return kUndone;
  if (journal->corrupt != NULL || journal->unknown_steps || !SameBoot(undoing, journal)) {
    return kLeftToOthers;
  }
  if ((size_t)length > journal->valid_bytes &&
      (ftruncate(undoing->journal_fd, (off_t)journal->valid_bytes) != 0 ||
       fsync(undoing->journal_fd) != 0)) {
    return kLeftToOthers;
  }
  for (int i = 0; i < journal->step_count; i++) {
    struct Step* step = &journal->steps[i];
    if (step->observed[0] != '\0') continue;
    if (!Observe(undoing, step) || !AppendDone(undoing, journal, step, true)) return kLeftToOthers;
  }
  bool complete = true;
  const int count = journal->step_count;
  for (int i = count - 1; i >= 0; i--) {
    const struct Step record = journal->steps[i];
    if (record.undoes >= 0 || !Happened(&record)) continue;
    if (!UndoStep(undoing, journal, &record)) complete = false;
  }
  if (!complete) return kBlocked;
  char members[256];
  snprintf(members, sizeof(members), "\"type\":\"rolledback\",\"reason\":\"%s\"", undoing->reason);
  return Append(undoing, journal, members) ? kUndone : kLeftToOthers;
}
