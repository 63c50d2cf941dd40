#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/status.h"
#include "gpu/cuda/table.h"

namespace warpgauge {

// What the driver says about one device; empty, 0 or -1 where it does not say.
struct CudaDeviceInfo {
  std::string name;
  std::string uuid_hex;            // 32 digits; of the MIG instance where the device is one
  std::string pci_address;         // "0000:83:00.0", lower case; of the whole GPU in MIG mode
  std::string compute_capability;  // "9.0"
  std::string cuda;                // the newest CUDA this driver runs, "13.1"
  uint64_t memory_bytes = 0;
  int multiprocessors = 0;
  int pageable_access = -1;
  int host_page_tables = -1;
};

// An initialized driver with the primary context of one device, current on the thread that opened
// it until this object is destroyed (on the same thread).
class CudaContext {
 public:
  // ERR_NO_DEVICE when there is none or no such ordinal; ERR_CUDA otherwise.
  static Result<std::unique_ptr<CudaContext>> Open(const CudaTable& table, int ordinal);
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;
  ~CudaContext();

  [[nodiscard]] const CudaTable& table() const { return table_; }
  [[nodiscard]] const CudaDeviceInfo& info() const { return info_; }

 private:
  explicit CudaContext(CudaTable table) : table_(std::move(table)) {}
  Status ReadInfo();

  CudaTable table_;
  CuDevice device_ = 0;
  CuContext context_ = nullptr;
  CudaDeviceInfo info_;
};

}  // namespace warpgauge
