#include "gpu/cupti/pm_plan.h"

#include <algorithm>

namespace warpgauge {
namespace {

constexpr double kPercent = 0.01;
constexpr const char* kNotSupported = "not_supported";
constexpr const char* kNeedsSecondPass = "needs_second_pass";

// Numbers of passes that mean an error.
constexpr size_t kRefused = 0;

// How many passes the chip needs for these metrics; kRefused where it does not know one of them.
size_t PassesOf(const PmTable& table,
                const std::string& chip,
                const uint8_t* availability,
                const std::vector<const char*>& names) {
  PmHostObject host;
  std::vector<uint8_t> image;
  size_t passes = 0;
  if (host.Open(table, chip, availability) != kCuptiSuccess) return kRefused;
  if (host.AddMetrics(names) != kCuptiSuccess) return kRefused;
  if (host.Configure(&image, &passes) != kCuptiSuccess) return kRefused;
  return passes;
}

}  // namespace

const std::vector<PmQuantity>& PmQuantities() {
  static const auto& quantities = *new std::vector<PmQuantity>{
      {"pcie_read_bytes",
       "bytes",
       1,
       "arriving at the GPU over PCIe, with protocol overhead",
       {"pcie__read_bytes.sum",
        "PCI.TriageCompute.pcie__read_bytes.sum",
        "PCI.TriageA.pcie__read_bytes.sum"}},
      {"pcie_write_bytes",
       "bytes",
       1,
       "leaving the GPU over PCIe, with protocol overhead",
       {"pcie__write_bytes.sum",
        "PCI.TriageCompute.pcie__write_bytes.sum",
        "PCI.TriageA.pcie__write_bytes.sum"}},
      {"sm_active_ratio",
       "1",
       kPercent,
       "share of cycles in which a multiprocessor had a warp, mean of all",
       {"sm__cycles_active.avg.pct_of_peak_sustained_elapsed",
        "TPC.TriageCompute.sm__cycles_active.avg.pct_of_peak_sustained_elapsed",
        "SM.TriageA.sm__cycles_active.avg.pct_of_peak_sustained_elapsed"}},
      {"gr_active_ratio",
       "1",
       kPercent,
       "share of cycles in which the graphics and compute engine had work",
       {"gr__cycles_active.sum.pct_of_peak_sustained_elapsed",
        "FE_B.TriageCompute.gr__cycles_active.sum.pct_of_peak_sustained_elapsed",
        "FE_A.TriageA.gr__cycles_active.sum.pct_of_peak_sustained_elapsed"}},
      {"dram_read_bytes",
       "bytes",
       1,
       "read from the GPU's memory",
       {"dram__bytes_read.sum", "dram__bytes_op_read.sum"}},
      {"dram_write_bytes",
       "bytes",
       1,
       "written to the GPU's memory",
       {"dram__bytes_write.sum", "dram__bytes_op_write.sum"}},
      {"tensor_active_ratio",
       "1",
       kPercent,
       "share of cycles in which the tensor pipe worked, mean of all multiprocessors",
       {"sm__pipe_tensor_cycles_active_realtime.avg.pct_of_peak_sustained_elapsed",
        "TPC.TriageCompute.sm__pipe_tensor_cycles_active_realtime.avg.pct_of_peak_sustained_"
        "elapsed",
        "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed"}},
      {"nvlink_rx_bytes",
       "bytes",
       1,
       "arriving over NVLink; links that are down can read as busy",
       {"nvlrx__bytes.sum", "NVLRX.TriageCompute.nvlrx__bytes.sum"}},
      {"nvlink_tx_bytes",
       "bytes",
       1,
       "leaving over NVLink; links that are down can read as busy",
       {"nvltx__bytes.sum", "NVLTX.TriageCompute.nvltx__bytes.sum"}},
      {"c2c_rx_bytes",
       "bytes",
       1,
       "arriving over the link between the chips (NVLink-C2C)",
       {"CTC_B.TriageCompute.ctc__rx_bytes.sum", "CTC.TriageCompute.ctc__rx_bytes.sum"}},
      {"c2c_tx_bytes",
       "bytes",
       1,
       "leaving over the link between the chips (NVLink-C2C)",
       {"CTC_A.TriageCompute.ctc__tx_bytes.sum", "CTC.TriageCompute.ctc__tx_bytes.sum"}},
      {"dram_read_ratio",
       "1",
       kPercent,
       "reading, as share of the memory's peak throughput",
       {"dram__read_throughput.avg.pct_of_peak_sustained_elapsed",
        "FBSP.TriageCompute.dram__read_throughput.avg.pct_of_peak_sustained_elapsed",
        "dramc__read_throughput.avg.pct_of_peak_sustained_elapsed",
        "FBPA.TriageA.dramc__read_throughput.avg.pct_of_peak_sustained_elapsed"}},
      {"dram_write_ratio",
       "1",
       kPercent,
       "writing, as share of the memory's peak throughput",
       {"dram__write_throughput.avg.pct_of_peak_sustained_elapsed",
        "FBSP.TriageCompute.dram__write_throughput.avg.pct_of_peak_sustained_elapsed",
        "dramc__write_throughput.avg.pct_of_peak_sustained_elapsed",
        "FBPA.TriageA.dramc__write_throughput.avg.pct_of_peak_sustained_elapsed"}},
      {"sys_clock_hertz",
       "hertz",
       1,
       "mean frequency of the GPU's system clock in the window",
       {"sys__cycles_elapsed.avg.per_second"}},
  };
  return quantities;
}

size_t PmPlan::size() const {
  return static_cast<size_t>(std::count_if(
      metrics.begin(), metrics.end(), [](const std::string& metric) { return !metric.empty(); }));
}

std::vector<const char*> PmPlan::Names() const {
  std::vector<const char*> names;
  for (const std::string& metric : metrics) {
    if (!metric.empty()) names.push_back(metric.c_str());
  }
  return names;
}

CuptiResult PmHostObject::Open(const PmTable& table,
                               const std::string& chip,
                               const uint8_t* availability) {
  Close();
  table_ = &table;
  auto parameters = PmParameters<PmHostInitialize>();
  parameters.type = PmProfilerType::kSampling;
  parameters.chip = chip.c_str();
  parameters.availability = availability;
  const CuptiResult result = table.cuptiProfilerHostInitialize(&parameters);
  host_ = result == kCuptiSuccess ? parameters.host : nullptr;
  return result;
}

void PmHostObject::Close() {
  if (host_ == nullptr) return;
  auto parameters = PmParameters<PmHostDeinitialize>();
  parameters.host = host_;
  table_->cuptiProfilerHostDeinitialize(&parameters);
  host_ = nullptr;
}

CuptiResult PmHostObject::AddMetrics(std::vector<const char*> names) {
  auto parameters = PmParameters<PmConfigAddMetrics>();
  parameters.host = host_;
  parameters.metrics = names.data();
  parameters.count = names.size();
  return table_->cuptiProfilerHostConfigAddMetrics(&parameters);
}

CuptiResult PmHostObject::Configure(std::vector<uint8_t>* image, size_t* passes) {
  auto size = PmParameters<PmGetConfigSize>();
  size.host = host_;
  CuptiResult result = table_->cuptiProfilerHostGetConfigImageSize(&size);
  if (result != kCuptiSuccess) return result;
  image->assign(size.size, 0);
  auto config = PmParameters<PmGetConfig>();
  config.host = host_;
  config.size = image->size();
  config.image = image->data();
  result = table_->cuptiProfilerHostGetConfigImage(&config);
  if (result != kCuptiSuccess) return result;
  auto counted = PmParameters<PmGetPasses>();
  counted.size = image->size();
  counted.image = image->data();
  result = table_->cuptiProfilerHostGetNumOfPasses(&counted);
  *passes = counted.passes;
  return result;
}

Result<PmPlan> PlanPmMetrics(const PmTable& table,
                             const std::string& chip,
                             const uint8_t* availability) {
  {
    PmHostObject host;
    const CuptiResult result = host.Open(table, chip, availability);
    if (result != kCuptiSuccess) {
      return CuptiStatus(
          result, "cuptiProfilerHostInitialize", "Planning the counters of chip " + chip);
    }
  }
  const std::vector<PmQuantity>& quantities = PmQuantities();
  PmPlan plan;
  plan.metrics.resize(quantities.size());
  plan.reasons.assign(quantities.size(), nullptr);
  // By quantity, those that fit into a pass alone.
  std::vector<std::vector<const char*>> possible(quantities.size());
  std::vector<const char*> first;
  for (size_t i = 0; i < quantities.size(); i++) {
    plan.reasons[i] = kNotSupported;
    for (const char* metric : quantities[i].metrics) {
      const size_t passes = PassesOf(table, chip, availability, {metric});
      if (passes > 1) plan.reasons[i] = kNeedsSecondPass;
      if (passes == 1) possible[i].push_back(metric);
    }
    if (!possible[i].empty()) first.push_back(possible[i].front());
  }
  // All chips that CUPTI 13.0 knows count all they have in one pass (test/native/pm_plan_test.cc);
  // where that does not hold, quantities are added by importance as long as they fit.
  const bool fits = !first.empty() && PassesOf(table, chip, availability, first) == 1;
  std::vector<const char*> taken;
  for (size_t i = 0; i < quantities.size(); i++) {
    for (const char* metric : possible[i]) {
      plan.reasons[i] = kNeedsSecondPass;
      taken.push_back(metric);
      if (fits || PassesOf(table, chip, availability, taken) == 1) {
        plan.metrics[i] = metric;
        plan.reasons[i] = nullptr;
        break;
      }
      taken.pop_back();
    }
  }
  if (taken.empty()) {
    return Status("ERR_UNAVAILABLE",
                  "Chip " + chip + " has none of the counters that PM sampling is asked for")
        .WithFix("set WARPGAUGE_CUPTI to a later libcupti")
        .WithSource(table.path, 0);
  }
  return plan;
}

PmTrigger TriggerOf(const std::string& chip) {
  const bool is_old = chip.starts_with("TU") || chip == "GA100";
  return is_old ? PmTrigger::kSysClock : PmTrigger::kTime;
}

}  // namespace warpgauge
