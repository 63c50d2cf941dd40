// Which counters PM sampling takes on which chip: with the real libcupti and libnvperf_host for
// every chip they know, where they are installed; no GPU is needed for that.
#include <doctest/doctest.h>

#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "fake_driver.h"
#include "gpu/cupti/library_paths.h"
#include "gpu/cupti/pm_device.h"
#include "gpu/cupti/pm_plan.h"
#include "sanitized.h"
#include "tree.h"

namespace warpgauge {
namespace {

using Names = std::set<std::string>;

Names Join(const std::vector<Names>& parts) {
  Names all;
  for (const Names& part : parts) all.insert(part.begin(), part.end());
  return all;
}

const Names kActivity = {"sm_active_ratio", "gr_active_ratio", "sys_clock_hertz"};
const Names kTensor = {"tensor_active_ratio"};
const Names kPcie = {"pcie_read_bytes", "pcie_write_bytes"};
const Names kDram = {"dram_read_bytes", "dram_write_bytes", "dram_read_ratio", "dram_write_ratio"};
const Names kNvlink = {"nvlink_rx_bytes", "nvlink_tx_bytes"};
const Names kC2c = {"c2c_rx_bytes", "c2c_tx_bytes"};

const Names kSmallTuring = Join({kActivity, kTensor, kPcie, kDram});  // no NVLink
const Names kTuring = Join({kActivity, kPcie, kDram, kNvlink});       // tensor: a second pass
const Names kAmpere = Join({kActivity, kTensor, kPcie, kDram, kNvlink});
const Names kAda = Join({kActivity, kTensor, kPcie, kDram});
const Names kHopper = Join({kAmpere, kC2c});
const Names kJetson = Join({kActivity, kTensor});

std::map<std::string, Names> Expected() {
  std::map<std::string, Names> expected;
  for (const char* chip : {"TU102", "TU104", "TU106"}) expected[chip] = kTuring;
  for (const char* chip : {"TU116", "TU117"}) expected[chip] = kSmallTuring;
  for (const char* chip : {"GA100", "GA102", "GA103", "GA104", "GA106", "GA107"}) {
    expected[chip] = kAmpere;
  }
  for (const char* chip : {"AD102", "AD103", "AD104", "AD106", "AD107"}) expected[chip] = kAda;
  for (const char* chip : {"GH100", "GB100", "GB102", "GB110"}) expected[chip] = kHopper;
  for (const char* chip : {"GB202", "GB203", "GB205", "GB206", "GB207"}) expected[chip] = kAda;
  for (const char* chip : {"GA10B", "GB10B", "GB20B"}) expected[chip] = kJetson;
  return expected;
}

Names Counted(const PmPlan& plan) {
  Names counted;
  for (size_t i = 0; i < plan.metrics.size(); i++) {
    CHECK(plan.metrics[i].empty() == (plan.reasons[i] != nullptr));
    if (!plan.metrics[i].empty()) counted.insert(PmQuantities()[i].column);
  }
  return counted;
}

std::string MetricOf(const PmPlan& plan, const std::string& column) {
  for (size_t i = 0; i < plan.metrics.size(); i++) {
    if (PmQuantities()[i].column == column) return plan.metrics[i];
  }
  return "no such column";
}

std::string ReasonOf(const PmPlan& plan, const std::string& column) {
  for (size_t i = 0; i < plan.metrics.size(); i++) {
    if (PmQuantities()[i].column == column) {
      return plan.reasons[i] == nullptr ? "" : plan.reasons[i];
    }
  }
  return "no such column";
}

TEST_CASE("the real libraries count what we expect of each chip in one pass") {
  if (kSanitized) {
    std::printf(
        "pm plan: skipped: libcupti opens libnvperf_host with RTLD_DEEPBIND, which "
        "sanitizers refuse\n");
    return;
  }
  const Result<PmTable> table = OpenPm("", 0);
  if (!table.ok()) {
    std::printf("pm plan: skipped: %s\n", table.status.message().c_str());
    return;
  }
  auto known = PmParameters<PmGetSupportedChips>();
  const CuptiResult listed = table.value.cuptiProfilerHostGetSupportedChips(&known);
  if (listed != kCuptiSuccess) {
    std::printf("pm plan: skipped: %s lists no chips (%d): no libnvperf_host.so beside it?\n",
                table.value.path.c_str(),
                listed);
    return;
  }
  const std::map<std::string, Names> expected = Expected();
  size_t planned = 0;
  for (size_t i = 0; i < known.count; i++) {
    const std::string chip = known.chips[i];
    CAPTURE(chip);
    const Result<PmPlan> plan = PlanPmMetrics(table.value, chip, nullptr);
    if (chip.starts_with("GV")) {  // Volta: too old
      CHECK(plan.status.code() == std::string("ERR_UNAVAILABLE"));
      CHECK(plan.status.number() == kCuptiNotSupported);
      continue;
    }
    REQUIRE_MESSAGE(plan.ok(), plan.status.message());
    // All together, as they are sampled.
    PmHostObject host;
    std::vector<uint8_t> image;
    size_t passes = 0;
    REQUIRE(host.Open(table.value, chip, nullptr) == kCuptiSuccess);
    REQUIRE(host.AddMetrics(plan.value.Names()) == kCuptiSuccess);
    REQUIRE(host.Configure(&image, &passes) == kCuptiSuccess);
    CHECK(passes == 1);
    CHECK(!image.empty());
    const auto wanted = expected.find(chip);
    if (wanted == expected.end()) {
      std::printf(
          "pm plan: %s is newer than this test: %zu counters\n", chip.c_str(), plan.value.size());
      continue;
    }
    planned++;
    CHECK(Counted(plan.value) == wanted->second);
    // Blackwell's data-centre chips know the bytes of PCIe under the name of their group alone, its
    // others call the bytes of memory differently.
    const bool is_blackwell = chip == "GB100" || chip == "GB102" || chip == "GB110";
    if (wanted->second.contains("pcie_read_bytes")) {
      CHECK(MetricOf(plan.value, "pcie_read_bytes") ==
            (is_blackwell ? "PCI.TriageCompute.pcie__read_bytes.sum" : "pcie__read_bytes.sum"));
      CHECK(MetricOf(plan.value, "dram_write_bytes") ==
            (chip.starts_with("GB20") ? "dram__bytes_op_write.sum" : "dram__bytes_write.sum"));
    }
  }
  CHECK(planned == expected.size());
  std::printf("pm plan: %zu chips of %s planned\n", planned, table.value.path.c_str());
}

PmTable FakeCupti(const std::string& generation = "") {
  const Result<PmTable> table = OpenPm(FakeDriver::Cupti(generation), 0);
  REQUIRE_MESSAGE(table.ok(), table.status.message());
  return table.value;
}

TEST_CASE("where not all fit into one pass, the least important go and say so") {
  const FakeDriver driver("pm_one_pass = 5\n");
  const PmTable table = FakeCupti();
  const Result<PmPlan> plan = PlanPmMetrics(table, "GH100", nullptr);
  REQUIRE(plan.ok());
  CHECK(Counted(plan.value) == Names{"pcie_read_bytes",
                                     "pcie_write_bytes",
                                     "sm_active_ratio",
                                     "gr_active_ratio",
                                     "dram_read_bytes"});
  CHECK(ReasonOf(plan.value, "dram_write_bytes") == "needs_second_pass");
  CHECK(ReasonOf(plan.value, "sys_clock_hertz") == "needs_second_pass");
}

TEST_CASE("a chip names its counters its own way; what it has not is not supported") {
  const FakeDriver driver("");
  const PmTable table = FakeCupti();
  const PmPlan blackwell = PlanPmMetrics(table, "GB100", nullptr).value;
  CHECK(MetricOf(blackwell, "pcie_read_bytes") == "PCI.TriageCompute.pcie__read_bytes.sum");
  CHECK(MetricOf(blackwell, "c2c_rx_bytes") == "CTC_B.TriageCompute.ctc__rx_bytes.sum");
  const PmPlan turing = PlanPmMetrics(table, "TU102", nullptr).value;
  CHECK(ReasonOf(turing, "tensor_active_ratio") == "needs_second_pass");
  CHECK(ReasonOf(turing, "c2c_rx_bytes") == "not_supported");
  CHECK(MetricOf(turing, "dram_read_ratio") ==
        "dramc__read_throughput.avg.pct_of_peak_sustained_elapsed");
  const Status volta = PlanPmMetrics(table, "GV100", nullptr).status;
  CHECK(volta.code() == std::string("ERR_UNAVAILABLE"));
  CHECK(volta.fix().find("Turing") != std::string::npos);
}

TEST_CASE("host objects are given back") {
  const FakeDriver driver("");
  const PmTable table = FakeCupti();
  REQUIRE(PlanPmMetrics(table, "GH100", nullptr).ok());
  CHECK(driver.Count("cuptiProfilerHostInitialize") > 10);
  CHECK(driver.Count("cuptiProfilerHostInitialize") ==
        driver.Count("cuptiProfilerHostDeinitialize"));
}

TEST_CASE("triggers by chip") {
  CHECK(TriggerOf("TU102") == PmTrigger::kSysClock);
  CHECK(TriggerOf("GA100") == PmTrigger::kSysClock);
  CHECK(TriggerOf("GA102") == PmTrigger::kTime);
  CHECK(TriggerOf("GH100") == PmTrigger::kTime);
}

TEST_CASE("a library before 12.6 is named with what it lacks") {
  const FakeDriver driver("");
  const Status status = OpenPm(FakeDriver::Cupti("12.0"), 0).status;
  CHECK(status.code() == std::string("ERR_LIBRARY_MISSING"));
  CHECK(status.message().find("12.6") != std::string::npos);
  CHECK(!status.fix().empty());
}

TEST_CASE("SetConfig is as long as the library knows it") {
  static size_t told = 0;
  PmTable table;
  table.cuptiPmSamplingEnable = [](PmEnable* parameters) {
    parameters->sampler = reinterpret_cast<PmSampler>(&told);
    return kCuptiSuccess;
  };
  table.cuptiPmSamplingSetConfig = [](PmSetConfig* parameters) {
    told = parameters->struct_size;
    return kCuptiHardwareBusy;
  };
  table.cuptiPmSamplingDisable = [](PmOfSampler*) { return kCuptiSuccess; };
  const std::pair<uint32_t, size_t> expected[] = {{24, 60}, {25, 60}, {26, 64}, {130001, 64}};
  for (const auto& [version, size] : expected) {
    table.version = version;
    PmDevice device(table, 0);
    const Status status = device.Enable({}, 1e9);
    CHECK(told == size);
    CHECK(status.code() == std::string("ERR_BUSY"));
    CHECK(status.fix().find("dcgmi profile --pause") != std::string::npos);
    device.Disable();
  }
}

TEST_CASE("a driver takes no CUPTI of a later major") {
  CHECK(CuptiSuitsDriver(13, 13010));
  CHECK(CuptiSuitsDriver(12, 13010));
  CHECK_FALSE(CuptiSuitsDriver(13, 12080));
  CHECK(CuptiSuitsDriver(13, 0));
}

TEST_CASE("libcupti is looked for where toolkits, distributions and Python put it") {
  const Tree tree;
  const std::vector<std::string> files = {
      "/usr/local/cuda-12.8/targets/x86_64-linux/lib/libcupti.so.12",
      "/usr/local/cuda-13.0/targets/x86_64-linux/lib/libcupti.so.13",
      "/usr/lib/x86_64-linux-gnu/libcupti.so.12",
      "/usr/lib/x86_64-linux-gnu/libcupti.so.11.8",
      "/venv/lib/python3.11/site-packages/nvidia/cuda_cupti/lib/libcupti.so.12",
      "/venv/lib/python3.11/site-packages/nvidia/cu13/lib/libcupti.so.13",
      "/mine/lib64/libcupti.so.13",
      "/usr/lib/x86_64-linux-gnu/libcupti.so"};
  for (const std::string& file : files) tree.Write(file, "");
  const auto environment = [](const char* name) -> std::string {
    if (std::string(name) == "CUDA_HOME") return "/mine";
    return std::string(name) == "VIRTUAL_ENV" ? "/venv" : "";
  };
  std::vector<std::string> found = CuptiLibraryFiles(tree.root(), {"13", "12"}, environment);
  for (std::string& file : found) file = file.substr(tree.root().size());
  CHECK(found ==
        std::vector<std::string>{files[6], files[1], files[5], files[0], files[2], files[4]});
  found = CuptiLibraryFiles(tree.root(), {"11"}, environment);
  REQUIRE(found.size() == 1);
  CHECK(found[0] == tree.root() + files[3]);
}

}  // namespace
}  // namespace warpgauge
