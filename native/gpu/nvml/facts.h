#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"
#include "gpu/nvml/table.h"

namespace warpgauge {

// One thing that does not change while a driver is loaded: a text, a number or a yes/no; or the
// fixed reason why it cannot be read.
struct GpuFact {
  enum class Kind : uint8_t { kNull, kText, kNumber, kFlag };
  const char* name = "";
  Kind kind = Kind::kNull;
  std::string text;
  double number = 0;
  bool flag = false;
  const char* reason = "";  // where kind is kNull
};

struct MigInstanceFacts {
  std::string uuid;
  int64_t gpu_instance = -1, compute_instance = -1;  // -1: not readable
  int64_t memory_bytes = -1, multiprocessors = -1;
};

struct GpuFacts {
  std::vector<GpuFact> facts;
  std::vector<MigInstanceFacts> instances;
};

struct GpuSystemFacts {
  std::string library;             // the file that was mapped
  std::string driver, nvml, cuda;  // versions; empty where they cannot be read
  bool simulated = false;          // a library or device that calls itself "Simulated"
  std::vector<GpuFacts> gpus;
};

// What the environment record says of GPUs: initializes NVML, asks each device once (no call of a
// device that sleeps: its facts are null with "asleep"), shuts NVML down. Blocks for as long as the
// driver does, tens of milliseconds as a rule: never on the JavaScript thread. `override_path` and
// errors as for OpenNvml; `root` is put before /sys paths.
Result<GpuSystemFacts> ReadGpuFacts(const std::string& override_path, const std::string& root);

}  // namespace warpgauge
