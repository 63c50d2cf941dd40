#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/cost_histogram.h"
#include "core/thread.h"
#include "gpu/cupti/pm_device.h"

namespace warpgauge {

class PmSession;

inline constexpr size_t kMostPmQuantities = 16;

// One GPU of a session, with the thread that samples it and everything that thread uses.
struct PmGpu {
  PmGpu(PmTable table, size_t ordinal) : device(std::move(table), ordinal) {}

  PmSession* session = nullptr;
  PmDevice device;
  std::string whole_uuid;  // of the GPU that an instance is a part of; else the device's own
  Thread thread;
  // For a trigger by clock cycles: the highest clock stands for the one it will have, and window_ns
  // says what it was. 1 GHz where the driver does not tell it.
  double clock_hertz = 1e9;

  // ---- of its thread alone ----
  PmClock clock;
  bool was_started = false;
  bool skip_first = false;  // the first sample after a start is an outlier
  int64_t last_end_ns = 0;  // of the window before; 0: none
  int64_t retry_ns = 0;     // wait before the next restart after an overflow
  int64_t restarted_ns = 0;
  int64_t next_intent_ns = 0;  // when it is looked for next
  bool told_image_full = false, told_foreign_clock = false;
  struct Row {
    int64_t start_ns = 0, end_ns = 0;
    const double* values = nullptr;
  };
  std::vector<Row> fresh;  // windows of one decoding

  // ---- guarded by the session's mutex ----
  bool ended = false;
  struct Counts {
    uint64_t samples = 0, lost = 0, overflows = 0, without_time = 0, decodes = 0;
    int64_t decode_ns = 0, evaluate_ns = 0;
    double image_ratio = 0;  // since the last row of pm-sampling.stat
    int64_t backlog_ns = 0;
  } counts;
  // The newest window, held back until all GPUs have one: so the last tick, which latest() shows,
  // has a row of each.
  bool has_held = false;
  Row held;
  std::array<double, kMostPmQuantities> held_values{};

  // ---- of the supervisor alone ----
  bool hung = false;

  CostHistogram cost;  // decoding and evaluation, per sample; its thread writes
};

}  // namespace warpgauge
