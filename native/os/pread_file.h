#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace warpgauge {

// A file of /proc or /sys that is kept open and read again and again from its start into one
// reused buffer: a read costs the kernel's own work and no open, close or allocation. The buffer
// grows (rarely) when the text does not fit. A file whose object has gone (a device pulled, an
// interface removed) is opened again at the next read, so that one that came back is found.
// One thread at a time.
class PreadFile {
 public:
  // How the kernel hands the text out.
  enum class Shape : uint8_t {
    // One pread gives the whole text: files of /sys, and of /proc those that are one record
    // (meminfo, stat, pressure). Costs one system call.
    kOneRead,
    // Records of a seq_file, at most one page a call (vmstat, diskstats, net/dev): read until the
    // end is seen. A single pread would lose the second half of vmstat.
    kRecords,
  };

  PreadFile() = default;
  // `path` with the root prefix already in front. Opens at the first Read. `keep_open` false opens
  // the file for each read: for sources with more files than descriptors should be held.
  explicit PreadFile(std::string path,
                     Shape shape,
                     size_t capacity = kDefaultCapacity,
                     bool keep_open = true);
  PreadFile(PreadFile&& other) noexcept;
  PreadFile& operator=(PreadFile&& other) noexcept;
  PreadFile(const PreadFile&) = delete;
  PreadFile& operator=(const PreadFile&) = delete;
  ~PreadFile() { Close(); }

  // The text of the file now, valid until the next Read; false when it cannot be read: error().
  bool Read(std::string_view* text);
  // errno of the last Read that failed; 0 after one that did not.
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  void Close();

  static constexpr size_t kDefaultCapacity = 4096;

 private:
  struct Free {
    void operator()(char* buffer) const { std::free(buffer); }
  };
  bool Open();
  // One pass over the open file; false with error_ set.
  bool ReadOpen();
  bool Grow();
  // True for an ordinary file (a recorded tree) that was deleted or replaced: the kernel's own
  // files answer with an error instead.
  [[nodiscard]] bool IsUnlinked() const;

  std::string path_;
  Shape shape_ = Shape::kOneRead;
  bool keep_open_ = true;
  bool is_ordinary_ = false;
  int fd_ = -1;
  int error_ = 0;
  size_t length_ = 0;
  size_t capacity_ = 0;
  std::unique_ptr<char, Free> buffer_;
};

}  // namespace warpgauge
