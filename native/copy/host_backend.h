#pragma once

#include <memory>

#include "copy/backend.h"
#include "copy/io_uring_pin.h"
#include "memory/region.h"

namespace warpgauge {

// Stands in for a GPU driver on any Linux machine ("host proxy"): the driver copies pageable
// memory through a pinned staging buffer with one CPU thread, so HtoD is a memcpy loop from
// the user's buffer into a 1 MiB staging buffer, DtoH the reverse. Registration is
// io_uring's. No link, no device.
class HostBackend final : public CopyBackend {
 public:
  static Result<std::unique_ptr<CopyBackend>> Open();

  [[nodiscard]] const char* name() const override { return "host"; }
  [[nodiscard]] const BackendDevice* device() const override { return nullptr; }
  Status Reserve(size_t bytes, bool vector_add) override;
  Status Wake() override { return Status::Ok(); }
  Status LoadDevice(const Pattern& pattern, size_t bytes) override;
  Status PoisonDevice(size_t bytes) override;
  void RewarmStaging(size_t bytes) override;
  Result<CopyTiming> CopyHtoD(const uint8_t* host, size_t bytes, PinMode pin) override;
  Result<CopyTiming> CopyDtoH(uint8_t* host, size_t bytes, PinMode pin) override;
  Result<int64_t> VerifyHtoD(const uint8_t* host, size_t bytes, const Pattern& pattern) override;
  [[nodiscard]] const char* htod_verification() const override { return "replay"; }
  Status CheckRegister(size_t bytes) override { return pin_.Check(bytes); }
  Status Register(uint8_t* host, size_t bytes, int64_t* register_ns) override;
  Status Unregister(uint8_t* host, int64_t* unregister_ns) override;
  Result<uint8_t*> HostAlloc(size_t bytes) override;
  Status HostFree(uint8_t* host) override;
  Result<VectorAddTiming> VectorAdd(
      const double* a, const double* b, double* c, size_t count, PinMode pin) override;
  GpuCondition ReadGpu() override { return {}; }

  // kStagingBytes; for bench/, which times a bare loop on the same buffers.
  [[nodiscard]] uint8_t* staging() { return staging_; }

 private:
  HostBackend() = default;

  Region staging_memory_;
  uint8_t* staging_ = nullptr;
  IoUringPin pin_;
};

// The timed loops, apart so that the benchmark of the benchmark can time them against a bare
// memcpy. Both move `bytes` between `host` and the 1 MiB staging buffer in chunks of kStagingBytes.
void StageFromUser(uint8_t* staging, const uint8_t* host, size_t bytes);
void StageToUser(uint8_t* host, const uint8_t* staging, size_t bytes);

}  // namespace warpgauge
