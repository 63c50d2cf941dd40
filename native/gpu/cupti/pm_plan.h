#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gpu/cupti/pm_table.h"

namespace warpgauge {

// Something that PM sampling measures, under one column name for every chip. Chips name their
// metrics differently: the first of `metrics` that a chip accepts and that fits into the pass is
// taken.
struct PmQuantity {
  const char* column;  // "pcie_read_bytes"
  const char* unit;    // "bytes", "1", "hertz"
  double scale;        // from what CUPTI evaluates to the unit: 0.01 for percent
  const char* what;    // one phrase for the field's metadata
  std::vector<const char*> metrics;
};

// All of them, most important first: when a chip cannot count all in one pass, the last go.
const std::vector<PmQuantity>& PmQuantities();

// What a chip counts in one pass.
struct PmPlan {
  // By quantity: the metric's name, or "" and then `reasons` says why: "not_supported" (the chip
  // has no such counter), "needs_second_pass".
  std::vector<std::string> metrics;
  std::vector<const char*> reasons;
  [[nodiscard]] size_t size() const;                     // quantities that are counted
  [[nodiscard]] std::vector<const char*> Names() const;  // their metrics, in order of quantity
};

// A host object of CUPTI: plans and evaluates, needs no GPU. Belongs to one thread at a time.
class PmHostObject {
 public:
  PmHostObject() = default;
  ~PmHostObject() { Close(); }
  PmHostObject(const PmHostObject&) = delete;
  PmHostObject& operator=(const PmHostObject&) = delete;
  // `availability`: what the GPU told of its counters; nullptr for a chip that is not there.
  CuptiResult Open(const PmTable& table, const std::string& chip, const uint8_t* availability);
  void Close();
  CuptiResult AddMetrics(std::vector<const char*> names);
  // The configuration for what was added, and how often the GPU must run to count it.
  CuptiResult Configure(std::vector<uint8_t>* image, size_t* passes);
  [[nodiscard]] PmHost get() const { return host_; }

 private:
  const PmTable* table_ = nullptr;
  PmHost host_ = nullptr;
};

// Chooses metrics for a chip such that all are counted in one pass, which is what PM sampling can
// do. ERR_UNAVAILABLE for a chip that CUPTI does not sample or that has none of the quantities.
// Tens of calls of some milliseconds each.
Result<PmPlan> PlanPmMetrics(const PmTable& table,
                             const std::string& chip,
                             const uint8_t* availability);

// Turing and GA100 can be triggered by their system clock alone.
PmTrigger TriggerOf(const std::string& chip);

}  // namespace warpgauge
