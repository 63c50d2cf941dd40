// warpgauge-guardian JOURNAL AUDIT LOCK_FOLDER ROOT PID START EXPIRES [COMMAND...]
//
// Undoes the changes of a journal when the process PID that made them (started at tick START) dies,
// by whatever death, or when its time is over (EXPIRES: CLOCK_BOOTTIME in ms, -1: never). Its
// parent starts it before the first change, in a session of its own, and waits for the line
// "watching". Changes that are not writes to files it leaves to COMMAND. When standard input ends
// and nothing is left to undo, it ends. Exit code 0: nothing is left.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guardian/journal.h"
#include "guardian/undo.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

enum {
  kPollMs = 200,      // where the kernel has no pidfd (before 5.3), and for the clock of a lease
  kLockRetryMs = 20,  // another process that undoes the same is quick
  kBlockedRetryMs = 500,  // pages that are in use
  kCommandRetryMs = 2000,
  kGiveUpMs = 300000,  // then it is left to `recover`
  kGraceMs = 500,      // an owner that lives ends its lease by itself
  kTextBytes = 1 << 20
};

struct Watch {
  const char* journal;
  const char* lock_folder;
  struct Undoing undoing;
  pid_t owner;
  unsigned long long owner_start;
  double expires_ms;  // negative: never
  char** command;     // ends with NULL; empty: none
};

static double NowMs(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void SleepMs(int ms) {
  const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
  nanosleep(&time, NULL);
}

// Whether the owner still runs: the same process, and no zombie, whose memory is gone already.
static bool OwnerLives(const struct Watch* watch) {
  char path[64];
  char text[1024];
  snprintf(path, sizeof(path), "/proc/%d/stat", (int)watch->owner);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const long length = ReadWhole(fd, text, sizeof(text));
  close(fd);
  // The command name may hold blanks and parentheses: fields are counted from the last ')'.
  char* at = length <= 0 ? NULL : strrchr(text, ')');
  if (at == NULL || strlen(at) < 3 || at[2] == 'Z' || at[2] == 'X') return false;
  at += 2;
  for (int field = 3; field < 22; field++) {
    at = strchr(at, ' ');
    if (at == NULL) return false;
    at++;
  }
  return strtoull(at, NULL, 10) == watch->owner_start;
}

static struct Journal g_journal;
static char g_text[kTextBytes];

// The journal as it is now; false with errno when it cannot be read.
static bool LoadJournal(const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const long length = ReadWhole(fd, g_text, sizeof(g_text));
  const int error = errno;
  close(fd);
  errno = error;
  if (length < 0) return false;
  ParseJournal(g_text, (size_t)length, &g_journal);
  return true;
}

static bool Expired(const struct Watch* watch) {
  return watch->expires_ms >= 0 && NowMs(CLOCK_BOOTTIME) >= watch->expires_ms;
}

// Nothing is left to do, whatever happens to the owner. A journal that is gone was tidied away; one
// that cannot be read now (no descriptor, no memory) is what it was.
static bool IsOver(const struct Watch* watch) {
  if (!LoadJournal(watch->journal) && errno == ENOENT) return true;
  return g_journal.closed || (g_journal.committed && watch->expires_ms < 0);
}

// Returns when the owner is dead or the lease is over; ends the process when neither matters any
// more.
static void Wait(const struct Watch* watch) {
  const int pidfd = (int)syscall(SYS_pidfd_open, watch->owner, 0);
  bool parent_listens = true;
  bool owner_matters = true;
  while (!Expired(watch)) {
    struct pollfd files[2] = {{owner_matters ? pidfd : -1, POLLIN, 0},
                              {parent_listens ? STDIN_FILENO : -1, POLLIN, 0}};
    const bool must_look = (pidfd < 0 && owner_matters) || watch->expires_ms >= 0;
    if (poll(files, 2, must_look ? kPollMs : -1) < 0 && errno != EINTR) SleepMs(kPollMs);
    if ((files[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      char byte = 0;
      if (read(STDIN_FILENO, &byte, 1) <= 0) parent_listens = false;
      if (IsOver(watch)) exit(0);
    }
    if (!owner_matters || OwnerLives(watch)) continue;
    if (IsOver(watch)) exit(0);
    if (!g_journal.committed) return;
    owner_matters = false;  // committed, with a time: that goes on without the owner
  }
  // The owner, if it lives, gives back by itself.
  for (int waited = 0; waited < kGraceMs && OwnerLives(watch); waited += kLockRetryMs) {
    if (IsOver(watch)) exit(0);
    SleepMs(kLockRetryMs);
  }
}

// Takes the locks of the devices; false when another process has one of them. `files` are to be
// closed in any case.
static bool LockDevices(const struct Watch* watch, int* files, int* count) {
  *count = 0;
  for (int i = 0; i < g_journal.lock_count; i++) {
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s.lock", watch->lock_folder, g_journal.locks[i]);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return false;
    files[(*count)++] = fd;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) return false;
  }
  return true;
}

// One attempt under the locks.
static enum UndoResult TryUndo(struct Watch* watch) {
  // A living owner (stopped, or hanging) holds the locks of the devices itself, and so keeps others
  // away; the lock of the journal keeps it away, should it wake up.
  const bool owner_holds = OwnerLives(watch) && !g_journal.committed;
  int files[kMaxLocks];
  int count = 0;
  enum UndoResult result = kBlocked;
  const bool locked = owner_holds || LockDevices(watch, files, &count);
  const int journal = locked ? open(watch->journal, O_RDWR | O_APPEND | O_CLOEXEC) : -1;
  if (journal >= 0 && flock(journal, LOCK_EX | LOCK_NB) == 0) {
    watch->undoing.journal_fd = journal;
    result = UndoJournal(&watch->undoing, &g_journal);
  }
  if (journal >= 0) close(journal);
  for (int i = 0; i < count; i++) close(files[i]);
  return result;
}

// Runs COMMAND until nothing is left; what is in use, and what another process has locked, is tried
// again.
static int UndoByCommand(const struct Watch* watch, double give_up) {
  for (;;) {
    if (IsOver(watch)) return 0;
    const pid_t child = fork();
    if (child == 0) {
      execv(watch->command[0], watch->command);
      _exit(127);
    }
    int status = 0;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (IsOver(watch)) return 0;
    if (child < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 127)) return 1;
    if (NowMs(CLOCK_MONOTONIC) >= give_up) return 1;
    SleepMs(kCommandRetryMs);
  }
}

int main(int argc, char** argv) {
  if (argc < 8) {
    fprintf(stderr,
            "usage: %s JOURNAL AUDIT LOCK_FOLDER ROOT PID START EXPIRES [COMMAND...]\n"
            "warpgauge starts it; there is no reason to start it by hand\n",
            argc > 0 ? argv[0] : "warpgauge-guardian");
    return 2;
  }
  struct Watch watch = {.journal = argv[1],
                        .lock_folder = argv[3],
                        .undoing = {.root = strcmp(argv[4], "/") == 0 ? "" : argv[4],
                                    .audit = argv[2],
                                    .reason = "guardian: its process ended",
                                    .journal_fd = -1},
                        .owner = (pid_t)strtol(argv[5], NULL, 10),
                        .owner_start = strtoull(argv[6], NULL, 10),
                        .expires_ms = strtod(argv[7], NULL),
                        .command = argv + 8};
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  if (chdir("/") != 0) return 1;
  if (!LoadJournal(watch.journal))
    return 1;  // a guardian that could undo nothing must not say it watches
  if (write(STDOUT_FILENO, "watching\n", 9) != 9) return 1;
  close(STDOUT_FILENO);
  Wait(&watch);
  if (OwnerLives(&watch) || (LoadJournal(watch.journal) && g_journal.committed)) {
    watch.undoing.reason = "guardian: its time is over";
  }
  const double give_up = NowMs(CLOCK_MONOTONIC) + kGiveUpMs;
  while (NowMs(CLOCK_MONOTONIC) < give_up) {
    if (IsOver(&watch)) return 0;
    if (g_journal.corrupt == NULL && g_journal.unknown_steps) break;
    const enum UndoResult result = TryUndo(&watch);
    if (result == kUndone) return 0;
    if (result == kLeftToOthers) break;
    // Nothing was read: a lock was busy.
    SleepMs(watch.undoing.journal_fd < 0 ? kLockRetryMs : kBlockedRetryMs);
    watch.undoing.journal_fd = -1;
  }
  if (watch.command[0] == NULL || !g_journal.unknown_steps) return 1;
  return UndoByCommand(&watch, give_up);
}
