#include "os/pread_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace warpgauge {
namespace {

// Beyond this no file of /proc that we read is real: the largest, /proc/PID/smaps, is read in
// pieces by its own reader.
constexpr size_t kMaxCapacity = size_t{64} << 20;

bool IsKernelFile(int fd) {
  struct statfs64 info {};
  if (fstatfs64(fd, &info) != 0) return true;
  return info.f_type == PROC_SUPER_MAGIC || info.f_type == SYSFS_MAGIC ||
         info.f_type == CGROUP2_SUPER_MAGIC || info.f_type == CGROUP_SUPER_MAGIC;
}

}  // namespace

PreadFile::PreadFile(std::string path, Shape shape, size_t capacity, bool keep_open)
    : path_(std::move(path)), shape_(shape), keep_open_(keep_open), capacity_(capacity) {}

PreadFile::PreadFile(PreadFile&& other) noexcept
    : path_(std::move(other.path_)),
      shape_(other.shape_),
      keep_open_(other.keep_open_),
      is_ordinary_(other.is_ordinary_),
      fd_(std::exchange(other.fd_, -1)),
      error_(other.error_),
      length_(std::exchange(other.length_, 0)),
      capacity_(other.capacity_),
      buffer_(std::move(other.buffer_)) {}

PreadFile& PreadFile::operator=(PreadFile&& other) noexcept {
  if (this == &other) return *this;
  Close();
  path_ = std::move(other.path_);
  shape_ = other.shape_;
  keep_open_ = other.keep_open_;
  is_ordinary_ = other.is_ordinary_;
  fd_ = std::exchange(other.fd_, -1);
  error_ = other.error_;
  length_ = std::exchange(other.length_, 0);
  capacity_ = other.capacity_;
  buffer_ = std::move(other.buffer_);
  return *this;
}

void PreadFile::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

bool PreadFile::Open() {
  fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) {
    error_ = errno;
    return false;
  }
  is_ordinary_ = keep_open_ && !IsKernelFile(fd_);
  return true;
}

bool PreadFile::Grow() {
  const size_t wanted = buffer_ == nullptr ? capacity_ : capacity_ * 2;
  if (wanted > kMaxCapacity) {
    error_ = EFBIG;
    return false;
  }
  auto* larger = static_cast<char*>(std::realloc(buffer_.get(), wanted));
  if (larger == nullptr) {
    error_ = ENOMEM;
    return false;
  }
  static_cast<void>(buffer_.release());
  buffer_.reset(larger);
  capacity_ = wanted;
  return true;
}

bool PreadFile::ReadOpen() {
  length_ = 0;
  if (buffer_ == nullptr && !Grow()) return false;
  while (true) {
    const ssize_t n =
        pread(fd_, buffer_.get() + length_, capacity_ - length_, static_cast<off_t>(length_));
    if (n < 0) {
      if (errno == EINTR) continue;
      error_ = errno;
      return false;
    }
    length_ += static_cast<size_t>(n);
    if (n == 0) return true;
    if (length_ < capacity_) {
      if (shape_ == Shape::kOneRead) return true;
    } else if (!Grow()) {
      return false;
    }
  }
}

bool PreadFile::IsUnlinked() const {
  struct statx info {};
  return statx(fd_, "", AT_EMPTY_PATH, STATX_NLINK, &info) == 0 && info.stx_nlink == 0;
}

bool PreadFile::Read(std::string_view* text) {
  error_ = 0;
  bool is_read = false;
  if (fd_ >= 0) {
    is_read = ReadOpen() && !(is_ordinary_ && IsUnlinked());
    if (!is_read) Close();
  }
  // Opened for the first time, or once more because the object behind the descriptor has gone.
  if (!is_read) {
    error_ = 0;
    is_read = Open() && ReadOpen();
    if (!is_read) Close();
  }
  if (!keep_open_) Close();
  if (!is_read) return false;
  error_ = 0;
  *text = {buffer_.get(), length_};
  return true;
}

}  // namespace warpgauge
