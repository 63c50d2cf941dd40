#include <string>

#include "core/clock.h"
#include "core/patience.h"
#include "gpu/nvml/session.h"
#include "gpu/nvml/session_times.h"

namespace warpgauge {

NvmlService& NvmlService::Get() {
  static auto& service = *new NvmlService;
  return service;
}

Result<NvmlSession*> NvmlService::Acquire(const GpuRequest& request) {
  const std::string key = request.library + "\n" + request.root;
  // One opens at a time; releasing is possible meanwhile.
  const std::unique_lock<std::mutex> opening(opening_);
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    for (Entry& entry : entries_) {
      if (entry.key != key) continue;
      entry.users++;
      return entry.session;
    }
  }
  auto* session = new NvmlSession;
  Status status = session->Open(request, 15'000 * kMs);
  if (!status.ok()) {
    End(session);
    return status;
  }
  const std::unique_lock<std::mutex> lock(mutex_);
  entries_.push_back({key, session, 1});
  return session;
}

void NvmlService::Release(NvmlSession* session) {
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    const auto at = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      return entry.session == session;
    });
    if (at == entries_.end() || --at->users > 0) return;
    entries_.erase(at);
  }
  End(session);
}

void NvmlService::End(NvmlSession* session) {
  session->RequestStop();
  const int64_t now_ns = MonotonicNs();
  if (!session->WaitStopped(StopDeadlineNs(now_ns, session->CallSinceNs()))) {
    NoteLeftBehind(MonotonicNs());
  }
  session->Unref();
}

}  // namespace warpgauge
