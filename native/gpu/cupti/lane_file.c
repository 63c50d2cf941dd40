#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lane_identity.h"
#include "lane_writer.h"

/* Programs that one process may run in a row, each with a file of its own. */
enum { kMostPrograms = 64 };

/* The names that matter to someone who reads a folder; others stand as numbers. */
static const char* errno_name(int error) {
  switch (error) {
    case EACCES:
      return "EACCES";
    case EDQUOT:
      return "EDQUOT";
    case EEXIST:
      return "EEXIST";
    case EFBIG:
      return "EFBIG";
    case EIO:
      return "EIO";
    case EMFILE:
      return "EMFILE";
    case ENFILE:
      return "ENFILE";
    case ENOENT:
      return "ENOENT";
    case ENOMEM:
      return "ENOMEM";
    case ENOSPC:
      return "ENOSPC";
    case EPERM:
      return "EPERM";
    case EPROTO:
      return "EPROTO";
    case EROFS:
      return "EROFS";
    default:
      return NULL;
  }
}

static void leave_untraceable(const char* folder, int error) {
  char path[512];
  char number[16];
  snprintf(number, sizeof number, "%d", error);
  const char* const name = errno_name(error);
  const int length = snprintf(path,
                              sizeof path,
                              "%s/untraceable.%d.%s",
                              folder,
                              (int)getpid(),
                              name == NULL ? number : name);
  if (length < 0 || (size_t)length >= sizeof path) return;
  const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd >= 0) close(fd);
}

static int open_control(struct wg_lane_writer* writer, const char* folder) {
  char path[512];
  const int length = snprintf(path, sizeof path, "%s/control", folder);
  if (length < 0 || (size_t)length >= sizeof path) return ENAMETOOLONG;
  writer->control_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (writer->control_fd < 0) return errno;
  const ssize_t got =
      pread(writer->control_fd, &writer->header_copy, sizeof writer->header_copy, 0);
  /* The file holds the header alone; its lanes are the reader's memory. */
  if (got != (ssize_t)sizeof writer->header_copy ||
      !wg_lane_is_sound(&writer->header_copy, UINT64_MAX)) {
    return EPROTO;
  }
  return 0;
}

/* As many records as there is space for, at most what the reader names. A file beyond RLIMIT_FSIZE
 * would be a signal that ends the process. */
static int allocate(int fd, uint32_t* capacity) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0) limit.rlim_cur = RLIM_INFINITY;
  const uint32_t least = *capacity < WG_LANE_LEAST_CAPACITY ? *capacity : WG_LANE_LEAST_CAPACITY;
  int error = 0;
  for (; *capacity >= least; *capacity /= 2) {
    const off_t bytes = WG_TRACE_PAGE + (off_t)*capacity * WG_RECORD_BYTES;
    error = EFBIG;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < (rlim_t)bytes) continue;
    do {
      error = posix_fallocate(fd, 0, bytes);
    } while (error == EINTR);
    if (error != ENOSPC && error != EDQUOT && error != EFBIG) return error;
  }
  return error;
}

static int attach(struct wg_lane_writer* writer, const char* folder, char* path, size_t bytes) {
  int error = open_control(writer, folder);
  if (error != 0) return error;
  /* A program that executes another in its place leaves its file behind: same pid, same start. */
  for (int turn = 0; turn < kMostPrograms; ++turn) {
    const int length = snprintf(path,
                                bytes,
                                turn == 0 ? "%s/lane.%d.%llu" : "%s/lane.%d.%llu.%d",
                                folder,
                                (int)getpid(),
                                (unsigned long long)wg_identity_start_ticks(),
                                turn);
    if (length < 0 || (size_t)length >= bytes) return ENAMETOOLONG;
    /* 0644: the reader may be another user; only the folder's mode keeps strangers out. */
    writer->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (writer->fd >= 0 || errno != EEXIST) break;
  }
  if (writer->fd < 0) {
    path[0] = 0;
    return errno;
  }
  writer->capacity = writer->header_copy.lane_capacity;
  error = allocate(writer->fd, &writer->capacity);
  if (error != 0) return error;
  struct wg_lane* const lane = &writer->lane_copy;
  struct wg_identity identity;
  wg_identity_read(&identity);
  wg_identity_fill(lane, &identity);
  lane->pid = identity.pid;
  lane->capacity = writer->capacity;
  lane->state = WG_LANE_ATTACHED;
  writer->mode = WG_LANE_FILE;
  /* The magic comes last: a reader that sees it sees all of the page. */
  wg_lane_sync(writer);
  lane->magic = WG_TRACE_MAGIC;
  wg_lane_sync(writer);
  return 0;
}

int wg_lane_attach_file(struct wg_lane_writer* writer, const char* folder) {
  wg_lane_forget(writer);
  char path[512] = "";
  const int error = attach(writer, folder, path, sizeof path);
  if (error == 0) return 0;
  if (writer->fd >= 0) {
    close(writer->fd);
    if (path[0] != 0) unlink(path);
  }
  if (writer->control_fd >= 0) close(writer->control_fd);
  wg_lane_forget(writer);
  leave_untraceable(folder, error);
  return error;
}
