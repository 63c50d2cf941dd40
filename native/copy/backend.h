#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "copy/pattern.h"
#include "core/status.h"

namespace warpgauge {

// How the host buffer of a copy was prepared: it decides which timers are valid.
enum class PinMode : uint8_t { kNone, kRegister, kHostAlloc };

struct CopyTiming {
  int64_t host_ns = 0;    // CLOCK_MONOTONIC_RAW around the copy and its stream synchronization
  int64_t event_ns = -1;  // CUDA events around the same; -1 where the backend has none
};

struct VectorAddTiming {
  CopyTiming copy_a, copy_b, kernel, copy_c;
  int64_t host_ns = 0;  // from before copy A to after copy C
};

// A test hook: what goes wrong on purpose in the next copy. Never set outside tests.
struct CopyFault {
  int64_t drop_page = -1;  // this 4 KB page of the host buffer is not copied
  double stretch = 0;      // the timed region is made longer by this share (0.1 = +10 %)
};

struct BackendDevice {
  std::string name, uuid, pci_address, compute_capability, driver, cuda;
  uint64_t memory_bytes = 0;
  int numa_node = -1;
  int pageable_access = -1, host_page_tables = -1;  // -1 unknown, else 0 / 1
  bool simulated = false;
};

struct GpuCondition {  // -1: not readable
  int64_t sm_mhz = -1, memory_mhz = -1, pcie_gen = -1, pcie_width = -1;
  int64_t replays = -1;   // cumulative
  int64_t throttle = -1;  // clock event reason bits
};

// The memcpy records that CUPTI made of one timed operation.
struct CopyWitnessReading {
  int64_t copy_ns = 0;  // sum of their durations
  int64_t records = 0;
  uint64_t bytes_htod = 0, bytes_dtoh = 0;
  uint32_t host_memory = 0;  // bits 1 << CUpti_ActivityMemoryKind of the host's side
};

// The other side of a copy: a GPU through the CUDA driver API, or a staging buffer of this
// process that stands in for it ("host proxy"). Single-threaded: made, used and destroyed on
// the thread that is timed.
//
// The copy calls do exactly the timed operation and read the clock as close to it as possible: no
// allocation, no page fault of their own, no verification. Everything else is untimed.
class CopyBackend {
 public:
  CopyBackend() = default;
  CopyBackend(const CopyBackend&) = delete;
  CopyBackend& operator=(const CopyBackend&) = delete;
  virtual ~CopyBackend() = default;

  [[nodiscard]] virtual const char* name() const = 0;  // "host" | "cuda"
  // nullptr on the host backend.
  [[nodiscard]] virtual const BackendDevice* device() const = 0;

  // Makes room for copies of `bytes` (vectorAdd: three buffers). Untimed, idempotent.
  virtual Status Reserve(size_t bytes, bool vector_add) = 0;
  // Untimed copies that bring link and clocks out of idle. Nothing on the host backend.
  virtual Status Wake() = 0;

  // Puts the pattern on the device side (source of the next DtoH).
  virtual Status LoadDevice(const Pattern& pattern, size_t bytes) = 0;
  // Overwrites the first `bytes` of every reserved device buffer with something no pattern contains
  // (before a HtoD or a vectorAdd that will be verified).
  virtual Status PoisonDevice(size_t bytes) = 0;
  // After anything that emptied the caches: brings the backend's own small buffers back, so that
  // only the user's buffer is cold in cache.
  virtual void RewarmStaging(size_t bytes) = 0;

  virtual Result<CopyTiming> CopyHtoD(const uint8_t* host, size_t bytes, PinMode pin) = 0;
  virtual Result<CopyTiming> CopyDtoH(uint8_t* host, size_t bytes, PinMode pin) = 0;

  // After CopyHtoD: offset of the first byte on the device side that is not the pattern's, -1 when
  // all is right. The host backend has overwritten its staging buffer by then and replays the copy
  // loop, chunk by chunk, over a poisoned buffer.
  virtual Result<int64_t> VerifyHtoD(const uint8_t* host, size_t bytes, const Pattern& pattern) = 0;
  [[nodiscard]] virtual const char* htod_verification() const = 0;  // "replay" | "readback"

  // Whether Register can work at all, asked before the buffer is touched.
  // ERR_IO_URING, ERR_MEMLOCK.
  virtual Status CheckRegister(size_t /*bytes*/) { return Status::Ok(); }
  // Pins an existing buffer. `*register_ns` / `*unregister_ns` are the duration of the call alone.
  // A failed registration may have faulted pages in: the caller discards the mapping.
  virtual Status Register(uint8_t* host, size_t bytes, int64_t* register_ns) = 0;
  virtual Status Unregister(uint8_t* host, int64_t* unregister_ns) = 0;

  // Memory the driver allocates and pins. ERR_ILLEGAL_CELL on the host backend.
  virtual Result<uint8_t*> HostAlloc(size_t bytes) = 0;
  virtual Status HostFree(uint8_t* host) = 0;

  // c = a + b over `count` doubles through the device. ERR_ILLEGAL_CELL on the host backend.
  virtual Result<VectorAddTiming> VectorAdd(
      const double* a, const double* b, double* c, size_t count, PinMode pin) = 0;

  // Clocks, link and throttle state; all -1 on the host backend. Untimed.
  virtual GpuCondition ReadGpu() = 0;

  // Has CUPTI watch the copies between the two: a third timer. From the first call on it stays in
  // the process, so it comes after everything that is timed for its own sake. End waits at most a
  // second for the records of so many bytes.
  virtual Status BeginWitness() {
    return {"ERR_ILLEGAL_CELL", std::string("the ") + name() + " backend does not use the GPU"};
  }
  virtual Result<CopyWitnessReading> EndWitness(uint64_t /*bytes*/) { return BeginWitness(); }

  void set_fault(CopyFault fault) { fault_ = fault; }

 protected:
  CopyFault fault_;
};

}  // namespace warpgauge
