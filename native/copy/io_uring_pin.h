#pragma once

#include <cstddef>
#include <cstdint>

#include "core/status.h"

namespace warpgauge {

// Kernel pinning without a GPU driver: io_uring buffer registration calls
// pin_user_pages(FOLL_LONGTERM), the same kernel function as the NVIDIA module's
// os_lock_user_pages(). Proxy of cuMemHostRegister's kernel half. One registration at a time;
// single-threaded; owner of the ring descriptor.
class IoUringPin {
 public:
  IoUringPin() = default;
  IoUringPin(const IoUringPin&) = delete;
  IoUringPin& operator=(const IoUringPin&) = delete;
  ~IoUringPin();

  // Makes the ring, and tells whether `bytes` can be registered at all, asked *before* the call: a
  // registration that fails on RLIMIT_MEMLOCK has by then faulted and pinned every page, so that a
  // cold buffer is cold no longer. ERR_IO_URING, ERR_MEMLOCK.
  Status Check(size_t bytes);

  // `*duration_ns` is that of the registration call alone. On failure the caller must discard the
  // mapping. ERR_IO_URING, ERR_MEMLOCK.
  Status Pin(const void* address, size_t bytes, int64_t* duration_ns);
  Status Unpin(int64_t* duration_ns);

 private:
  Status Open();

  int ring_ = -1;
  bool pinned_ = false;
};

}  // namespace warpgauge
