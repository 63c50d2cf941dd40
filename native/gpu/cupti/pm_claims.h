#pragma once

#include <mutex>
#include <set>
#include <string>

#include "gpu/cupti/pm_table.h"

namespace warpgauge {

// Which GPUs this process samples, and CUPTI's profiler, which is one for all of them.
// Process-wide, never destroyed; any thread. What changes sessions is serialized here: CUPTI says
// nothing of calling it from several threads at once. A call that hangs inside keeps the others
// out.
class PmClaims {
 public:
  static PmClaims& Get() {
    static auto& claims = *new PmClaims;
    return claims;
  }
  // Starts the profiler for its first user.
  Status AddUser(const PmTable& table) {
    const std::unique_lock<std::mutex> lock(calls);
    if (users_ == 0) {
      auto parameters = PmParameters<PmProfilerInitialize>();
      const CuptiResult result = table.cuptiProfilerInitialize(&parameters);
      if (result != kCuptiSuccess) {
        return CuptiStatus(result, "cuptiProfilerInitialize", "Starting CUPTI's profiler");
      }
    }
    users_++;
    return Status::Ok();
  }
  // Ends it with the last one, which lets go of the driver.
  void RemoveUser(const PmTable& table) {
    const std::unique_lock<std::mutex> lock(calls);
    if (--users_ > 0) return;
    auto parameters = PmParameters<PmProfilerDeinitialize>();
    table.cuptiProfilerDeInitialize(&parameters);
  }
  bool Claim(const std::string& uuid) {
    const std::unique_lock<std::mutex> lock(mutex_);
    return uuids_.insert(uuid).second;
  }
  void Release(const std::string& uuid) {
    const std::unique_lock<std::mutex> lock(mutex_);
    uuids_.erase(uuid);
  }

  // Nobody samples and the profiler is off.
  [[nodiscard]] bool IsIdle() {
    const std::unique_lock<std::mutex> lock(calls);
    return users_ == 0;
  }

  // Held during calls that begin or end the sampling of a GPU.
  std::mutex calls;

 private:
  unsigned users_ = 0;  // guarded by calls
  std::mutex mutex_;
  std::set<std::string> uuids_;
};

}  // namespace warpgauge
