#define _GNU_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "floor.h"

int64_t floor_read_files(const struct floor_file* files, size_t count, char* buffer) {
  ssize_t n = 0;
  for (size_t i = 0; i < count; ++i) {
    const struct floor_file* file = &files[i];
    if (file->to_end < 0) {
      n = read(file->fd, buffer, file->bytes);
    } else {
      size_t length = 0;
      do {
        n = pread(file->fd, buffer + length, file->bytes - length, (off_t)length);
        if (n > 0) length += (size_t)n;
      } while (n > 0 && file->to_end);
      if (n == 0) n = (ssize_t)length;
    }
    if (n < 0) return -1;
  }
  return n;
}

int floor_open_group(const uint64_t* configs, size_t count, int task) {
  int leader = -1;
  for (size_t i = 0; i < count; ++i) {
    struct perf_event_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.size = sizeof(attr);
    attr.type = PERF_TYPE_SOFTWARE;
    attr.config = configs[i];
    attr.exclude_guest = 1;
    attr.disabled = leader < 0;
    attr.read_format = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED |
                       PERF_FORMAT_TOTAL_TIME_RUNNING | PERF_FORMAT_ID;
    const int fd = (int)syscall(SYS_perf_event_open, &attr, task, -1, leader, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) return -errno;
    if (leader < 0) leader = fd;
  }
  ioctl(leader, PERF_EVENT_IOC_ENABLE, PERF_IOC_FLAG_GROUP);
  return leader;
}
