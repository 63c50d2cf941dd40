#include "gpu/cupti/pm_source.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "gpu/cupti/library_paths.h"
#include "gpu/cupti/pm_session.h"

namespace warpgauge {
namespace {

constexpr int64_t kDefaultNs = 1'000'000;
constexpr int64_t kShortestNs = 50'000;
constexpr int64_t kLongestNs = 1'000'000'000;
constexpr int64_t kLeastBuffer = int64_t{1} << 20;
constexpr int64_t kMostBuffer = int64_t{2} << 30;

class PmSource final : public Source {
 public:
  // Takes over a reference.
  explicit PmSource(PmSession* session) : session_(session), tables_(session->Tables()) {}
  ~PmSource() override {
    session_->Stop();
    session_->Unref();
  }
  PmSource(const PmSource&) = delete;
  PmSource& operator=(const PmSource&) = delete;

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }
  void Sample(size_t /*table*/, int64_t /*tick_ns*/, TableWriter& /*rows*/) override {}
  [[nodiscard]] bool has_own_threads() const override { return true; }
  Status Start(const std::vector<TableWriter*>& writers,
               int64_t start_ns,
               int64_t end_ns) override {
    return session_->Start(writers[0], writers[1], start_ns, end_ns);
  }
  void Stop() override { session_->Stop(); }
  void SetPaused(bool paused) override { session_->SetPaused(paused); }
  [[nodiscard]] std::vector<Ticks> ticks() const override { return session_->Ticks(); }
  [[nodiscard]] std::vector<Cost> costs() const override { return session_->Costs(); }
  [[nodiscard]] int64_t cpu_ns() const override { return session_->CpuNs(); }

 private:
  PmSession* session_;
  std::vector<TableSpec> tables_;
};

Status Bad(const char* option, const char* expected, const std::string& given) {
  return {"ERR_INVALID_ARGUMENT",
          std::string("Expected ") + expected + " for " + option + " but received \"" + given +
              "\" of type string"};
}

Result<PmRequest> ParseRequest(const SourceRequest& request) {
  PmRequest wanted;
  wanted.cuda_library = request.Option("cuda", ReadEnvironment("WARPGAUGE_CUDA"));
  wanted.cupti_library = request.Option("cupti", ReadEnvironment("WARPGAUGE_CUPTI"));
  wanted.root = request.root;
  wanted.table = request.instance.empty() ? request.name : request.instance;
  const std::string devices = request.Option("devices");
  for (size_t at = 0; at < devices.size();) {
    const size_t plus = std::min(devices.find('+', at), devices.size());
    if (plus > at) wanted.devices.push_back(devices.substr(at, plus - at));
    at = plus + 1;
  }
  const int64_t interval = request.interval_ns > 0 ? request.interval_ns : kDefaultNs;
  if (interval < kShortestNs || interval > kLongestNs) {
    return Bad("pm-sampling interval", "50us to 1s", std::to_string(interval) + "ns");
  }
  wanted.settings.interval_ns = interval;
  if (const std::string text = request.Option("hardwareBufferBytes"); !text.empty()) {
    char* end = nullptr;
    const int64_t bytes = std::strtoll(text.c_str(), &end, 10);
    if (*end != '\0' || bytes < kLeastBuffer || bytes > kMostBuffer) {
      return Bad("pm-sampling hardwareBufferBytes", "1048576 to 2147483648 bytes", text);
    }
    wanted.settings.hardware_buffer_bytes = static_cast<size_t>(bytes);
  }
  return wanted;
}

}  // namespace

Result<std::unique_ptr<Source>> OpenPmSource(const SourceRequest& request, StateSink& states) {
  Result<PmRequest> wanted = ParseRequest(request);
  if (!wanted.ok()) return wanted.status;
  auto* session = new PmSession;
  if (Status status = session->Open(wanted.value, states); !status.ok()) {
    session->Stop();
    session->Unref();
    return status;
  }
  return {std::unique_ptr<Source>(std::make_unique<PmSource>(session))};
}

}  // namespace warpgauge
