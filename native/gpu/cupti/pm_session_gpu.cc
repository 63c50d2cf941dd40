// What the thread of a GPU does: start, decode, restart, give back.
#include <algorithm>
#include <cmath>

#include "core/clock.h"
#include "core/futex.h"
#include "gpu/cupti/pm_claims.h"
#include "gpu/cupti/pm_session.h"
#include "gpu/nvml/mig_intent.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kShortestRetryNs = 100 * kMs;
constexpr int64_t kLongestRetryNs = 10'000 * kMs;
// A tenth of the second within which everybody has to let go: decoding comes in between.
constexpr int64_t kIntentNs = 100 * kMs;
constexpr int64_t kCloseNs = 2 * kLongestRetryNs;
// A sample may be this much older than the period of decoding explains.
constexpr int64_t kLateNs = 1000 * kMs;

}  // namespace

void PmSession::RunGpu(void* gpu) {
  auto& self = *static_cast<PmGpu*>(gpu);
  self.session->GpuLoop(self);
  self.session->GiveBack(self);
}

void PmSession::GiveBack(PmGpu& gpu) {
  PmClaims& claims = PmClaims::Get();
  {
    const std::unique_lock<std::mutex> lock(claims.calls);
    gpu.device.Close();
  }
  claims.Release(gpu.device.uuid);
  if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) claims.RemoveUser(table_);
}

bool PmSession::ShouldEnd() const {
  if (stop_.load(std::memory_order_acquire)) return true;
  // The last window before the end is decoded after it.
  return run_.load(std::memory_order_acquire) && end_ns_ != 0 &&
         MonotonicNs() >= end_ns_ + request_.settings.interval_ns + kMs;
}

void PmSession::WaitUntil(uint32_t seen, int64_t deadline_ns) const {
  while (MonotonicNs() < deadline_ns && wake_.load(std::memory_order_acquire) == seen) {
    FutexWait(wake_, seen, deadline_ns);
  }
}

void PmSession::GpuLoop(PmGpu& gpu) {
  const int64_t period_ns = request_.settings.DecodePeriodNs();
  bool is_sampling = false;
  bool is_lost = false;
  int64_t next_ns = 0;
  while (!is_lost) {
    // Read before what it announces is looked at: a change after that does not let us wait.
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    if (ShouldEnd()) break;
    if (!run_.load(std::memory_order_acquire)) {
      WaitUntil(seen, kNoDeadline);
      continue;
    }
    const int64_t close_ns =
        end_ns_ != 0 ? end_ns_ + request_.settings.interval_ns + kMs : kNoDeadline;
    if (paused_.load(std::memory_order_acquire)) {
      if (is_sampling) StopSampling(gpu);
      is_sampling = false;
      gpu.last_end_ns = 0;
      WaitUntil(seen, close_ns);
      continue;
    }
    if (IsChangeAnnounced(gpu)) {
      is_lost = !LetGo(gpu, is_sampling);
      is_sampling = false;
      continue;
    }
    if (!is_sampling) {
      // What passes until the first good sample is lost too.
      if (!gpu.was_started) gpu.last_end_ns = start_ns_;
      gpu.was_started = true;
      is_sampling = StartSampling(gpu);
      is_lost = !is_sampling;
      next_ns = MonotonicNs() + period_ns;
      continue;
    }
    if (MonotonicNs() < next_ns) {
      WaitUntil(seen, std::min(next_ns, close_ns));
      continue;
    }
    is_lost = !DecodeOnce(gpu, false);
    next_ns = std::max(next_ns + period_ns, MonotonicNs());
  }
  if (is_sampling && !is_lost) StopSampling(gpu);
  const int64_t now_ns = MonotonicNs();
  const std::unique_lock<std::mutex> lock(mutex_);
  // What should have come after the last sample and did not.
  if (gpu.last_end_ns != 0) {
    const int64_t missing_ns =
        (end_ns_ != 0 ? std::min(end_ns_, now_ns) : now_ns) - gpu.last_end_ns;
    const int64_t windows = missing_ns / request_.settings.interval_ns;
    if (windows > 0) gpu.counts.lost += static_cast<uint64_t>(windows);
  }
  gpu.ended = true;
  WriteHeld(now_ns);
}

bool PmSession::IsChangeAnnounced(PmGpu& gpu) const {
  const int64_t now_ns = MonotonicNs();
  if (now_ns < gpu.next_intent_ns) return false;
  gpu.next_intent_ns = now_ns + kIntentNs;
  return MigChangeAnnounced(lock_folders_, gpu.whole_uuid);
}

bool PmSession::LetGo(PmGpu& gpu, bool is_sampling) {
  if (is_sampling) StopSampling(gpu);
  {
    const std::unique_lock<std::mutex> lock(PmClaims::Get().calls);
    gpu.device.Disable();
  }
  Report(gpu, "", "unavailable", "mig_change", 0);
  do {
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    if (ShouldEnd()) return true;
    WaitUntil(seen, MonotonicNs() + kIntentNs);
  } while (MigChangeAnnounced(lock_folders_, gpu.whole_uuid));
  Status status;
  {
    const std::unique_lock<std::mutex> lock(PmClaims::Get().calls);
    status = gpu.device.Enable(request_.settings, gpu.clock_hertz);
  }
  if (!status.ok()) {
    Report(gpu, "", "lost", CuptiReason(status.number()), status.number());
    return false;
  }
  Report(gpu, "", "ok", "", 0);
  return true;
}

bool PmSession::StartSampling(PmGpu& gpu) {
  CuptiResult result = kCuptiSuccess;
  {
    const std::unique_lock<std::mutex> lock(PmClaims::Get().calls);
    result = gpu.device.Start();
  }
  if (result != kCuptiSuccess) {
    Report(gpu, "", "lost", CuptiReason(result), result);
    return false;
  }
  gpu.skip_first = true;
  gpu.clock.Forget();
  return true;
}

void PmSession::StopSampling(PmGpu& gpu) {
  {
    const std::unique_lock<std::mutex> lock(PmClaims::Get().calls);
    if (gpu.device.Stop() != kCuptiSuccess) return;
  }
  static_cast<void>(DecodeOnce(gpu, true));
}

bool PmSession::Restart(PmGpu& gpu) {
  // Overflows that follow each other closely mean that the rate is too high: no fast loop.
  const bool is_again = gpu.restarted_ns != 0 && MonotonicNs() - gpu.restarted_ns < kCloseNs;
  gpu.retry_ns = is_again ? std::clamp(2 * gpu.retry_ns, kShortestRetryNs, kLongestRetryNs) : 0;
  {
    const std::unique_lock<std::mutex> lock(PmClaims::Get().calls);
    gpu.device.Stop();
    gpu.device.Disable();
  }
  const int64_t until_ns = MonotonicNs() + gpu.retry_ns;
  for (;;) {
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    if (ShouldEnd()) return false;
    if (MonotonicNs() >= until_ns) break;
    WaitUntil(seen, until_ns);
  }
  Status status;
  {
    const std::unique_lock<std::mutex> lock(PmClaims::Get().calls);
    status = gpu.device.Enable(request_.settings, gpu.clock_hertz);
  }
  if (!status.ok()) {
    Report(gpu, "", "lost", CuptiReason(status.number()), status.number());
    return false;
  }
  gpu.restarted_ns = MonotonicNs();
  return StartSampling(gpu);
}

void PmSession::ConvertTimes(PmGpu& gpu, bool drained, int64_t now_ns) {
  gpu.fresh.clear();
  const std::vector<PmDevice::Sample>& samples = gpu.device.samples();
  size_t first = 0;
  if (gpu.skip_first && !samples.empty()) {
    gpu.skip_first = false;
    first = 1;
  }
  for (size_t i = first; i < samples.size(); i++) {
    const PmClock::Window window = gpu.clock.Convert(samples[i].start, samples[i].end);
    gpu.fresh.push_back({window.start_ns, window.end_ns, samples[i].values});
  }
  if (gpu.fresh.empty() || !drained) return;
  const PmSettings& settings = request_.settings;
  const int64_t late_ns = 2 * settings.DecodePeriodNs() + 10 * settings.interval_ns + kLateNs;
  const int64_t off_ns = gpu.clock.CheckNewest(gpu.fresh.back().end_ns, now_ns, late_ns);
  if (off_ns == 0) return;
  for (PmGpu::Row& row : gpu.fresh) {
    row.start_ns += off_ns;
    row.end_ns += off_ns;
  }
  if (!gpu.told_foreign_clock) Report(gpu, "time", "degraded", "foreign_clock", off_ns);
  gpu.told_foreign_clock = true;
}

bool PmSession::DecodeOnce(PmGpu& gpu, bool is_last) {
  const PmClock::Pair pair = gpu.device.ReadClock();
  if (gpu.clock.Update(pair)) Report(gpu, "time", "degraded", "clock_step", 0);
  const PmDevice::Decoded decoded = gpu.device.Decode();
  const int64_t now_ns = MonotonicNs();
  ConvertTimes(gpu, !decoded.image_full, now_ns);
  const size_t count = gpu.device.samples().size();
  if (count > 0) {
    gpu.cost.Record((decoded.decode_ns + decoded.evaluate_ns) / static_cast<int64_t>(count));
  }
  uint64_t overflows = 0;
  {
    const std::unique_lock<std::mutex> lock(mutex_);
    PmGpu::Counts& counts = gpu.counts;
    counts.decodes++;
    counts.decode_ns += decoded.decode_ns;
    counts.evaluate_ns += decoded.evaluate_ns;
    counts.without_time += decoded.without_time;
    counts.overflows += decoded.overflow ? 1 : 0;
    overflows = counts.overflows;
    counts.image_ratio =
        std::max(counts.image_ratio, static_cast<double>(count) / request_.settings.ImageSamples());
    if (!gpu.fresh.empty()) {
      counts.backlog_ns = std::max(counts.backlog_ns, now_ns - gpu.fresh.front().end_ns);
    }
    for (const PmGpu::Row& row : gpu.fresh) {
      const int64_t gap_ns = gpu.last_end_ns != 0 ? row.start_ns - gpu.last_end_ns : 0;
      const double windows =
          static_cast<double>(gap_ns) / static_cast<double>(row.end_ns - row.start_ns);
      if (windows > 0.5) counts.lost += static_cast<uint64_t>(std::llround(windows));
      gpu.last_end_ns = row.end_ns;
    }
    WriteRows(gpu, now_ns);
  }
  if (decoded.image_full && !gpu.told_image_full) {
    Report(gpu, "", "degraded", "image_full", request_.settings.ImageSamples());
    gpu.told_image_full = true;
  }
  if (decoded.overflow) {
    Report(gpu, "", "degraded", "overflow", static_cast<int64_t>(overflows));
    return is_last || Restart(gpu);
  }
  if (decoded.result == kCuptiSuccess) return true;
  Report(gpu, "", "lost", CuptiReason(decoded.result), decoded.result);
  return false;
}

}  // namespace warpgauge
