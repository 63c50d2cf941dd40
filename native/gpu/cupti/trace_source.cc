#include "gpu/cupti/trace_source.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "core/dynamic_library.h"
#include "gpu/cuda/context.h"
#include "gpu/cuda/table.h"
#include "gpu/cupti/self_trace.h"
#include "gpu/cupti/trace_reader.h"
#include "gpu/driver_gate.h"

namespace warpgauge {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kLeastIntervalNs = kMs;
constexpr int64_t kMostIntervalNs = 10 * kMs;

class TraceSource final : public Source {
 public:
  // `self` is null where others are traced.
  TraceSource(TraceBuffer* trace,
              std::unique_ptr<SelfTrace> self,
              TraceReader::Options options,
              StateSink& states)
      : self_(std::move(self)) {
    for (size_t i = 0; i < kTraceTables; i++) {
      const auto table = static_cast<TraceTable>(i);
      if (!WantsTraceTable(table, trace->options().kinds)) continue;
      specs_.push_back(DescribeTraceTable(table, options.interval_ns, options.simulated));
      written_.push_back(table);
    }
    reader_ = new TraceReader(trace, std::move(options), states);
  }
  ~TraceSource() override {
    Stop();
    reader_->Unref();
  }
  TraceSource(const TraceSource&) = delete;
  TraceSource& operator=(const TraceSource&) = delete;

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return specs_; }
  void Sample(size_t /*table*/, int64_t /*tick_ns*/, TableWriter& /*rows*/) override {}
  [[nodiscard]] bool has_own_threads() const override { return true; }
  Status Start(const std::vector<TableWriter*>& writers,
               int64_t start_ns,
               int64_t end_ns) override {
    std::array<TableWriter*, kTraceTables> by_table{};
    for (size_t i = 0; i < writers.size(); i++) {
      by_table[static_cast<size_t>(written_[i])] = writers[i];
    }
    is_started_ = true;
    return reader_->Start(by_table, start_ns, end_ns);
  }
  void Stop() override {
    // While the reader still makes room for what is handed over at the end.
    if (self_ != nullptr) self_->Stop();
    if (is_started_) reader_->Stop();
    is_started_ = false;
  }
  void SetPaused(bool paused) override { reader_->SetPaused(paused); }
  [[nodiscard]] std::vector<Ticks> ticks() const override {
    std::vector<Ticks> all(written_.size(), reader_->LookTicks());
    all.back() = reader_->ProcessTicks();  // the table of processes is the last one
    return all;
  }
  [[nodiscard]] std::vector<Cost> costs() const override { return reader_->Costs(); }
  [[nodiscard]] int64_t cpu_ns() const override { return reader_->CpuNs(); }

 private:
  std::unique_ptr<SelfTrace> self_;
  TraceReader* reader_;
  std::vector<TableSpec> specs_;
  std::vector<TraceTable> written_;  // by index of specs_
  bool is_started_ = false;
};

Result<uint64_t> Number(const SourceRequest& request,
                        const char* key,
                        uint64_t otherwise,
                        uint64_t most) {
  const std::string text = request.Option(key, std::to_string(otherwise));
  uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && at == end && value <= most) return value;
  return Status("ERR_INVALID_ARGUMENT",
                "cuda: expected a number up to " + std::to_string(most) + " for " + key +
                    " but received \"" + text + "\"");
}

// Whether what an override names calls itself "Simulated": asked of that library alone, never of
// one that the loader would find. A traced command has overrides of its own.
bool IsSimulated(const SourceRequest& request) {
  const auto override_of = [&](const char* option, const char* variable) {
    const char* value = std::getenv(variable);
    return request.Option(option, value != nullptr ? value : "");
  };
  const std::string cupti = override_of("cupti", WG_ENV_CUPTI);
  if (!cupti.empty()) {
    const Result<DynamicLibrary> library = DynamicLibrary::Open({cupti});
    // What the simulated libcupti takes its records by.
    if (library.ok() && library.value.Find("warpgauge_fake_cupti_record") != nullptr) return true;
  }
  const std::string cuda = override_of("cuda", "WARPGAUGE_CUDA");
  if (cuda.empty()) return false;
  const Result<CudaTable> table = OpenCuda(cuda);
  CuDevice device{};
  char name[64] = {};
  return table.ok() && table.value.cuInit(0) == 0 && table.value.cuDeviceGet(&device, 0) == 0 &&
         table.value.cuDeviceGetName(name, sizeof name, device) == 0 &&
         std::string(name).rfind("Simulated", 0) == 0;
}

Result<std::unique_ptr<Source>> OpenSelf(const SourceRequest& request, StateSink& states) {
  constexpr uint64_t kSelfBytes = uint64_t{16} << 20;
  const Result<uint64_t> kinds = Number(request, "kinds", 0, UINT32_MAX);
  const Result<uint64_t> api = Number(request, "api", WG_API_MEMCPY, WG_API_ALL);
  const Result<uint64_t> bytes =
      Number(request, "buffer_bytes", kSelfBytes, TraceBuffer::kMostBytes);
  const Result<uint64_t> flush_ms = Number(request, "flush_ms", 20, 10'000);
  for (const auto* option : {&kinds, &api, &bytes, &flush_ms}) {
    if (!option->ok()) return option->status;
  }
  TraceOptions options;
  options.kinds = static_cast<uint32_t>(kinds.value);
  options.api = static_cast<uint32_t>(api.value);
  options.bytes = std::max(bytes.value, TraceBuffer::kLeastBytes);
  options.flush_ms = static_cast<uint32_t>(std::max<uint64_t>(flush_ms.value, 1));
  // At once: what is copied when sampling has begun is to be found, and kinds are switched on here.
  options.tracing = true;
  Result<std::unique_ptr<SelfTrace>> self =
      SelfTrace::Open(options, request.root, request.Option("cupti_paths"));
  if (!self.ok()) return self.status;
  TraceReader::Options reader;
  reader.instance = request.instance;
  reader.interval_ns = request.interval_ns;
  reader.simulated = IsSimulated(request);
  TraceBuffer* buffer = self.value->buffer();
  buffer->Ref();
  return std::unique_ptr<Source>(
      std::make_unique<TraceSource>(buffer, std::move(self.value), std::move(reader), states));
}

}  // namespace

std::unique_ptr<Source> MakeTraceSource(TraceBuffer* trace,
                                        const SourceRequest& request,
                                        bool simulated,
                                        StateSink& states) {
  TraceReader::Options options;
  options.instance = request.instance;
  options.interval_ns = request.interval_ns;
  options.simulated = simulated;
  return std::make_unique<TraceSource>(trace, nullptr, std::move(options), states);
}

Result<std::unique_ptr<Source>> OpenTraceSource(const SourceRequest& request, StateSink& states) {
  if (request.interval_ns < kLeastIntervalNs || request.interval_ns > kMostIntervalNs) {
    return Status("ERR_INVALID_ARGUMENT",
                  "cuda: expected 1 to 10 ms for the interval but received " +
                      std::to_string(request.interval_ns) + " ns");
  }
  const Result<uint64_t> id = Number(request, "trace", 0, UINT32_MAX);
  if (!id.ok()) return id.status;
  if (id.value == 0) return OpenSelf(request, states);
  TraceBuffer* trace = FindTrace(static_cast<uint32_t>(id.value));
  if (trace == nullptr) {
    return Status("ERR_GONE", "cuda: there is no trace " + std::to_string(id.value));
  }
  return MakeTraceSource(trace, request, IsSimulated(request), states);
}

}  // namespace warpgauge
