#include "gpu/nvml/gpu_source.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "gpu/nvml/session.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSlowNs = 1000 * kMs;
// An H200's link fills the 32-bit counters in 72 ms: this leaves room for a driver that is busy.
constexpr int64_t kExactPcieNs = 40 * kMs;
// Where GPM's rates tell how often the counters wrapped, and where nothing does.
constexpr int64_t kPcieWithGpmNs = 250 * kMs;
constexpr int64_t kPcieAloneNs = 50 * kMs;

class GpuSource final : public Source {
 public:
  GpuSource(NvmlSession* session, StateSink& states) : session_(session) {
    subscription_.states = &states;
  }
  ~GpuSource() override {
    Stop();
    session_->Unsubscribe(&subscription_);
    NvmlService::Get().Release(session_);
  }
  GpuSource(const GpuSource&) = delete;
  GpuSource& operator=(const GpuSource&) = delete;

  Status Open(GpuRequest request) {
    const auto pcie = static_cast<size_t>(GpuTable::kPcie);
    if (request.interval_ns[pcie] > 0) {
      request.interval_ns[pcie] =
          request.exact_pcie ? kExactPcieNs
                             : std::max(request.interval_ns[pcie],
                                        session_->all_have_gpm() ? kPcieWithGpmNs : kPcieAloneNs);
    }
    subscription_.request = std::move(request);
    if (Status status = session_->Subscribe(&subscription_); !status.ok()) return status;
    for (size_t i = 0; i < kGpuTables; i++) {
      const auto table = static_cast<GpuTable>(i);
      TableSpec spec = session_->Describe(subscription_, table);
      if (spec.interval_ns <= 0) continue;
      session_->SetInterval(&subscription_, table, spec.interval_ns);
      specs_.push_back(std::move(spec));
      written_.push_back(table);
    }
    return Status::Ok();
  }

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return specs_; }
  void Sample(size_t /*table*/, int64_t /*tick_ns*/, TableWriter& /*rows*/) override {}
  [[nodiscard]] bool has_own_threads() const override { return true; }
  Status Start(const std::vector<TableWriter*>& writers,
               int64_t start_ns,
               int64_t end_ns) override {
    std::array<TableWriter*, kGpuTables> by_table{};
    for (size_t i = 0; i < writers.size(); i++) {
      by_table[static_cast<size_t>(written_[i])] = writers[i];
    }
    session_->Start(&subscription_, by_table, start_ns, end_ns);
    return Status::Ok();
  }
  void Stop() override { session_->Stop(&subscription_); }
  void SetPaused(bool paused) override { session_->SetPaused(&subscription_, paused); }
  [[nodiscard]] std::vector<Ticks> ticks() const override {
    std::vector<Ticks> all;
    for (const GpuTable table : written_) all.push_back(session_->TicksOf(subscription_, table));
    return all;
  }
  [[nodiscard]] std::vector<Cost> costs() const override { return session_->Costs(); }
  [[nodiscard]] int64_t cpu_ns() const override { return session_->CpuNs(); }

 private:
  NvmlSession* session_;
  GpuSubscription subscription_;
  std::vector<TableSpec> specs_;
  std::vector<GpuTable> written_;  // by index of specs_
};

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < text.size();) {
    const size_t plus = std::min(text.find('+', at), text.size());
    if (plus > at) parts.push_back(text.substr(at, plus - at));
    at = plus + 1;
  }
  return parts;
}

Status Bad(const char* option, const char* expected, const std::string& given) {
  return {"ERR_INVALID_ARGUMENT",
          std::string("Expected ") + expected + " for " + option + " but received \"" + given +
              "\" of type string"};
}

// A whole number of nanoseconds; false when there is something else.
bool ParseNs(const std::string& text, int64_t* ns) {
  char* end = nullptr;
  *ns = std::strtoll(text.c_str(), &end, 10);
  return !text.empty() && *end == '\0' && *ns > 0;
}

Result<GpuRequest> ParseRequest(const SourceRequest& request) {
  GpuRequest gpu;
  const char* override_path = std::getenv("WARPGAUGE_NVML");
  gpu.library = request.Option("library", override_path != nullptr ? override_path : "");
  gpu.root = request.root;
  gpu.table_prefix = request.instance.empty() ? request.name : request.instance;
  gpu.devices = Split(request.Option("devices"));
  const std::string pcie = request.Option("pcie", "auto");
  if (pcie != "auto" && pcie != "exact") return Bad("gpu pcie", "auto or exact", pcie);
  gpu.exact_pcie = pcie == "exact";
  const std::string wake = request.Option("wake", "false");
  if (wake != "true" && wake != "false") return Bad("gpu wake", "true or false", wake);
  gpu.wake = wake == "true";
  const std::string share = request.Option("driverShare", "0.005");
  char* end = nullptr;
  gpu.driver_share = std::strtod(share.c_str(), &end);
  if (share.empty() || *end != '\0' || !(gpu.driver_share > 0 && gpu.driver_share <= 1)) {
    return Bad("gpu driverShare", "a share above 0, up to 1", share);
  }
  const int64_t interval = request.interval_ns > 0 ? request.interval_ns : 100 * kMs;
  const int64_t slow = std::max(interval, kSlowNs);
  gpu.interval_ns = {interval, interval, slow, slow, slow, slow, slow, slow};
  const std::pair<const char*, GpuTable> intervals[] = {{"slow", GpuTable::kSlow},
                                                        {"process", GpuTable::kProcess},
                                                        {"gpm", GpuTable::kGpm},
                                                        {"samples", GpuTable::kSamples}};
  for (const auto& [option, table] : intervals) {
    const std::string text = request.Option(option);
    if (text.empty()) continue;
    int64_t& ns = gpu.interval_ns[static_cast<size_t>(table)];
    if (!ParseNs(text, &ns)) return Bad(option, "nanoseconds above 0", text);
  }
  if (gpu.interval_ns[static_cast<size_t>(GpuTable::kGpm)] < kGpmShortestWindowNs) {
    return Status(
               "ERR_INVALID_ARGUMENT",
               "Expected at least 100 ms for the interval of gpu.gpm: the hardware counters give "
               "wrong numbers over shorter windows")
        .WithFix("gpm=100ms");
  }
  const std::vector<std::string> tables = Split(request.Option("tables"));
  for (size_t i = 0; i < kGpuTables && !tables.empty(); i++) {
    const std::string suffix = i == 0 ? "main" : GpuTableSuffix(static_cast<GpuTable>(i));
    if (std::find(tables.begin(), tables.end(), suffix) == tables.end()) gpu.interval_ns[i] = 0;
  }
  if (std::all_of(
          gpu.interval_ns.begin(), gpu.interval_ns.end(), [](int64_t ns) { return ns == 0; })) {
    return Bad("gpu tables",
               "main, pcie, slow, process, gpm, samples, event or mig, joined by +",
               request.Option("tables"));
  }
  return gpu;
}

}  // namespace

Result<std::unique_ptr<Source>> OpenGpuSource(const SourceRequest& request, StateSink& states) {
  Result<GpuRequest> gpu = ParseRequest(request);
  if (!gpu.ok()) return gpu.status;
  Result<NvmlSession*> session = NvmlService::Get().Acquire(gpu.value);
  if (!session.ok()) return session.status;
  auto source = std::make_unique<GpuSource>(session.value, states);
  if (Status status = source->Open(std::move(gpu.value)); !status.ok()) return status;
  return {std::move(source)};
}

}  // namespace warpgauge
