#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/cost_histogram.h"
#include "gpu/cupti/pm_clock.h"
#include "gpu/cupti/pm_plan.h"
#include "gpu/cupti/pm_table.h"

namespace warpgauge {

// How a GPU is to be sampled.
struct PmSettings {
  int64_t interval_ns = 1'000'000;
  size_t hardware_buffer_bytes = 64 << 20;
  // Longest time between two decodings, and the room of the image that one of them fills.
  [[nodiscard]] int64_t DecodePeriodNs() const;
  [[nodiscard]] uint32_t ImageSamples() const;
};

// PM sampling of one GPU: the objects of CUPTI and the calls on them. Used by one thread at a time;
// any call may hang, and `call` says which one for how long.
class PmDevice {
 public:
  PmDevice(PmTable table, size_t ordinal) : table_(std::move(table)), ordinal_(ordinal) {}
  PmDevice(const PmDevice&) = delete;
  PmDevice& operator=(const PmDevice&) = delete;

  std::string uuid, name;
  std::string chip;  // "GH100"
  PmPlan plan;
  PmTrigger trigger = PmTrigger::kTime;
  uint64_t interval = 0;  // of the trigger: ns or cycles

  // What the chip can count. Before Enable.
  Status Plan();
  // Takes the counters of the GPU and sets them up. `clock_hertz`: for a trigger by clock cycles.
  Status Enable(const PmSettings& settings, double clock_hertz);
  // Gives them back. After a call that failed too.
  void Disable();
  // That, and what evaluated them.
  void Close();
  CuptiResult Start();
  CuptiResult Stop();

  // Samples of one decoding, oldest first; values by quantity, NaN where it is not counted.
  struct Sample {
    uint64_t start = 0, end = 0;  // on CUPTI's clock
    const double* values = nullptr;
  };
  struct Decoded {
    CuptiResult result = kCuptiSuccess;
    const char* function = "";  // the call that failed
    bool overflow = false;
    bool image_full = false;
    uint64_t without_time = 0;
    int64_t decode_ns = 0, evaluate_ns = 0;
  };
  Decoded Decode();
  [[nodiscard]] const std::vector<Sample>& samples() const { return samples_; }
  [[nodiscard]] PmClock::Pair ReadClock();

  // The call that is being made, for whoever watches. nullptr: none.
  std::atomic<const char*> call{nullptr};
  std::atomic<int64_t> call_since_ns{0};

 private:
  template <typename T>
  CuptiResult Call(CuptiResult (*function)(T*), const char* function_name, T* parameters);
  CuptiResult InitializeImage();

  const PmTable table_;
  const size_t ordinal_;
  PmHostObject host_;
  PmSampler sampler_ = nullptr;
  std::vector<uint8_t> availability_, config_, image_;
  std::vector<const char*> metrics_;
  std::vector<size_t> quantities_;  // by metric
  std::vector<double> evaluated_;   // of one sample, by metric
  std::vector<double> values_;      // of all samples, by quantity
  std::vector<Sample> samples_;
};

}  // namespace warpgauge
