#include "gpu/cupti/pm_device.h"

#include <algorithm>
#include <cmath>

#include "core/clock.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
// Decoding more often costs more calls; a second of backlog at 1 kHz already is 7 MB of an H100's
// hardware buffer.
constexpr int64_t kShortestPeriodNs = 10 * kMs;
constexpr int64_t kLongestPeriodNs = 100 * kMs;
constexpr uint32_t kSpareSamples = 64;

}  // namespace

int64_t PmSettings::DecodePeriodNs() const {
  return std::clamp(100 * interval_ns, kShortestPeriodNs, kLongestPeriodNs);
}

// What a full image leaves behind in the hardware buffer is lost (an H100 with CUPTI 13.3 gives
// samples without times from then on), so it holds three periods; more costs time at each decoding,
// because the whole image is initialized anew.
uint32_t PmSettings::ImageSamples() const {
  return static_cast<uint32_t>(3 * DecodePeriodNs() / interval_ns) + kSpareSamples;
}

template <typename T>
CuptiResult PmDevice::Call(CuptiResult (*function)(T*), const char* function_name, T* parameters) {
  call_since_ns.store(MonotonicNs(), std::memory_order_relaxed);
  call.store(function_name, std::memory_order_release);
  const CuptiResult result = function(parameters);
  call.store(nullptr, std::memory_order_release);
  return result;
}

#define WARPGAUGE_PM_CALL(function, parameters) Call(table_.function, #function, parameters)

Status PmDevice::Plan() {
  auto named = PmParameters<PmGetChipName>();
  named.device = ordinal_;
  if (const CuptiResult r = WARPGAUGE_PM_CALL(cuptiDeviceGetChipName, &named); r != kCuptiSuccess) {
    return CuptiStatus(r, "cuptiDeviceGetChipName", "Asking for the chip of " + name);
  }
  chip = named.chip;
  trigger = TriggerOf(chip);
  auto asked = PmParameters<PmGetAvailability>();
  asked.device = ordinal_;
  for (const bool fill : {false, true}) {
    if (fill) {
      availability_.assign(asked.size, 0);
      asked.image = availability_.data();
    }
    const CuptiResult r = WARPGAUGE_PM_CALL(cuptiPmSamplingGetCounterAvailability, &asked);
    if (r != kCuptiSuccess) {
      return CuptiStatus(
          r, "cuptiPmSamplingGetCounterAvailability", "Asking for the counters of " + name);
    }
  }
  Result<PmPlan> planned = PlanPmMetrics(table_, chip, availability_.data());
  if (!planned.ok()) return planned.status;
  plan = std::move(planned.value);
  const CuptiResult opened = host_.Open(table_, chip, availability_.data());
  if (opened != kCuptiSuccess) {
    return CuptiStatus(opened, "cuptiProfilerHostInitialize", "Planning the counters of " + name);
  }
  metrics_ = plan.Names();
  for (size_t i = 0; i < plan.metrics.size(); i++) {
    if (!plan.metrics[i].empty()) quantities_.push_back(i);
  }
  evaluated_.resize(metrics_.size());
  if (const CuptiResult r = host_.AddMetrics(metrics_); r != kCuptiSuccess) {
    return CuptiStatus(r, "cuptiProfilerHostConfigAddMetrics", "Planning the counters of " + name);
  }
  size_t passes = 0;
  if (const CuptiResult r = host_.Configure(&config_, &passes); r != kCuptiSuccess) {
    return CuptiStatus(r, "cuptiProfilerHostGetConfigImage", "Planning the counters of " + name);
  }
  return Status::Ok();
}

Status PmDevice::Enable(const PmSettings& settings, double clock_hertz) {
  const std::string doing = "Taking the counters of " + name;
  auto enabled = PmParameters<PmEnable>();
  enabled.device = ordinal_;
  if (const CuptiResult r = WARPGAUGE_PM_CALL(cuptiPmSamplingEnable, &enabled);
      r != kCuptiSuccess) {
    return CuptiStatus(r, "cuptiPmSamplingEnable", doing);
  }
  sampler_ = enabled.sampler;
  interval = static_cast<uint64_t>(settings.interval_ns);
  if (trigger == PmTrigger::kSysClock) {
    interval = static_cast<uint64_t>(
        std::llround(static_cast<double>(settings.interval_ns) * clock_hertz / 1e9));
  }
  auto config = PmParameters<PmSetConfig>();
  if (table_.version < kCuptiApi128) config.struct_size = kPmSetConfigSize126;
  config.sampler = sampler_;
  config.config_size = config_.size();
  config.config = config_.data();
  config.hardware_buffer_bytes = settings.hardware_buffer_bytes;
  config.interval = interval;
  config.trigger = trigger;
  // A full buffer is to be told, not to lose samples silently.
  config.append = PmAppend::kKeepOldest;
  if (const CuptiResult r = WARPGAUGE_PM_CALL(cuptiPmSamplingSetConfig, &config);
      r != kCuptiSuccess) {
    Status status = CuptiStatus(r, "cuptiPmSamplingSetConfig", doing);
    if (r == kCuptiOutOfMemory) {
      return std::move(status).WithFix("choose a smaller hardwareBufferBytes");
    }
    return status;
  }
  auto sized = PmParameters<PmGetImageSize>();
  sized.sampler = sampler_;
  sized.metrics = metrics_.data();
  sized.count = metrics_.size();
  sized.most_samples = settings.ImageSamples();
  if (const CuptiResult r = WARPGAUGE_PM_CALL(cuptiPmSamplingGetCounterDataSize, &sized);
      r != kCuptiSuccess) {
    return CuptiStatus(r, "cuptiPmSamplingGetCounterDataSize", doing);
  }
  image_.assign(sized.size, 0);
  values_.assign(size_t{sized.most_samples} * plan.metrics.size(), std::nan(""));
  samples_.reserve(sized.most_samples);
  if (const CuptiResult r = InitializeImage(); r != kCuptiSuccess) {
    return CuptiStatus(r, "cuptiPmSamplingCounterDataImageInitialize", doing);
  }
  return Status::Ok();
}

void PmDevice::Disable() {
  if (sampler_ == nullptr) return;
  auto parameters = PmParameters<PmOfSampler>();
  parameters.sampler = sampler_;
  WARPGAUGE_PM_CALL(cuptiPmSamplingDisable, &parameters);
  sampler_ = nullptr;
}

void PmDevice::Close() {
  Disable();
  host_.Close();
}

CuptiResult PmDevice::Start() {
  auto parameters = PmParameters<PmOfSampler>();
  parameters.sampler = sampler_;
  return WARPGAUGE_PM_CALL(cuptiPmSamplingStart, &parameters);
}

CuptiResult PmDevice::Stop() {
  auto parameters = PmParameters<PmOfSampler>();
  parameters.sampler = sampler_;
  return WARPGAUGE_PM_CALL(cuptiPmSamplingStop, &parameters);
}

CuptiResult PmDevice::InitializeImage() {
  auto parameters = PmParameters<PmImageInitialize>();
  parameters.sampler = sampler_;
  parameters.size = image_.size();
  parameters.image = image_.data();
  return WARPGAUGE_PM_CALL(cuptiPmSamplingCounterDataImageInitialize, &parameters);
}

PmDevice::Decoded PmDevice::Decode() {
  Decoded decoded;
  samples_.clear();
  const auto failed = [&](CuptiResult result, const char* function) {
    decoded.result = result;
    decoded.function = function;
    return decoded;
  };
  const int64_t begin_ns = MonotonicNs();
  auto parameters = PmParameters<PmDecode>();
  parameters.sampler = sampler_;
  parameters.image = image_.data();
  parameters.image_size = image_.size();
  CuptiResult result = WARPGAUGE_PM_CALL(cuptiPmSamplingDecodeData, &parameters);
  decoded.overflow = parameters.overflow != 0 || result == kCuptiOutOfMemory;
  decoded.image_full = parameters.stop == PmStop::kImageFull;
  decoded.decode_ns = MonotonicNs() - begin_ns;
  if (result != kCuptiSuccess) return failed(result, "cuptiPmSamplingDecodeData");

  const int64_t decoded_ns = MonotonicNs();
  auto info = PmParameters<PmGetImageInfo>();
  info.image = image_.data();
  info.image_size = image_.size();
  result = WARPGAUGE_PM_CALL(cuptiPmSamplingGetCounterDataInfo, &info);
  if (result != kCuptiSuccess) return failed(result, "cuptiPmSamplingGetCounterDataInfo");
  const size_t width = plan.metrics.size();
  const size_t count = std::min(info.completed, values_.size() / width);
  for (size_t i = 0; i < count; i++) {
    auto sample = PmParameters<PmGetSampleInfo>();
    sample.sampler = sampler_;
    sample.image = image_.data();
    sample.image_size = image_.size();
    sample.sample = i;
    result = WARPGAUGE_PM_CALL(cuptiPmSamplingCounterDataGetSampleInfo, &sample);
    if (result != kCuptiSuccess) return failed(result, "cuptiPmSamplingCounterDataGetSampleInfo");
    if (sample.start == 0 || sample.end <= sample.start) {
      decoded.without_time++;
      continue;
    }
    auto evaluate = PmParameters<PmEvaluate>();
    evaluate.host = host_.get();
    evaluate.image = image_.data();
    evaluate.image_size = image_.size();
    evaluate.sample = i;
    evaluate.metrics = metrics_.data();
    evaluate.count = metrics_.size();
    evaluate.values = evaluated_.data();
    result = WARPGAUGE_PM_CALL(cuptiProfilerHostEvaluateToGpuValues, &evaluate);
    if (result != kCuptiSuccess) return failed(result, "cuptiProfilerHostEvaluateToGpuValues");
    double* values = values_.data() + samples_.size() * width;
    for (size_t j = 0; j < quantities_.size(); j++) values[quantities_[j]] = evaluated_[j];
    samples_.push_back({sample.start, sample.end, values});
  }
  const int64_t evaluated_ns = MonotonicNs();
  decoded.evaluate_ns = evaluated_ns - decoded_ns;
  result = InitializeImage();
  decoded.decode_ns += MonotonicNs() - evaluated_ns;
  if (result != kCuptiSuccess) return failed(result, "cuptiPmSamplingCounterDataImageInitialize");
  return decoded;
}

// The closest of some tries: a thread that was scheduled away in between makes a wide one.
PmClock::Pair PmDevice::ReadClock() {
  constexpr int kTries = 3;
  constexpr int64_t kCloseNs = 5'000;
  PmClock::Pair best;
  for (int i = 0; i < kTries; i++) {
    PmClock::Pair pair;
    uint64_t cupti = 0;
    pair.before_ns = MonotonicNs();
    const CuptiResult result = WARPGAUGE_PM_CALL(cuptiGetTimestamp, &cupti);
    pair.after_ns = MonotonicNs();
    // Without an answer: the clock that CUPTI has by default.
    pair.cupti_ns = result == kCuptiSuccess ? static_cast<int64_t>(cupti) : RealtimeNs();
    if (i == 0 || pair.after_ns - pair.before_ns < best.after_ns - best.before_ns) best = pair;
    if (best.after_ns - best.before_ns <= kCloseNs) break;
  }
  return best;
}

}  // namespace warpgauge
