// The fake NVML itself: that its layouts are those of the real header, and that it does what its
// script says. What it is for, the tests of our own reader, stands on this.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "fake/nvml_abi.h"
#include "fake_driver.h"

#if __has_include(<nvml.h>)
#include <nvml.h>
#endif

namespace warpgauge {
namespace {

// One opened fake library, called by name. Every call here has pointers or 32-bit numbers.
class FakeNvml {
 public:
  explicit FakeNvml(const std::string& scheme = "") {
    std::string path = FakeDriver::Nvml();
    if (!scheme.empty()) path.insert(path.rfind('/'), "/nvml-" + scheme);
    library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MESSAGE(library_ != nullptr, dlerror());
    REQUIRE(Call("nvmlInit_v2") == 0);
  }
  FakeNvml(const FakeNvml&) = delete;
  FakeNvml& operator=(const FakeNvml&) = delete;
  ~FakeNvml() {
    Call("nvmlShutdown");
    dlclose(library_);
  }

  [[nodiscard]] bool Has(const char* name) const { return dlsym(library_, name) != nullptr; }
  template <typename... Args>
  int Call(const char* name, Args... args) const {
    void* function = dlsym(library_, name);
    REQUIRE_MESSAGE(function != nullptr, name);
    return reinterpret_cast<int (*)(Args...)>(function)(args...);
  }
  [[nodiscard]] void* Device(unsigned index = 0) const {
    void* device = nullptr;
    REQUIRE(Call("nvmlDeviceGetHandleByIndex_v2", index, &device) == 0);
    return device;
  }
  [[nodiscard]] NvFieldValue Field(unsigned id, unsigned scope = 0) const {
    NvFieldValue value{};
    value.field_id = id;
    value.scope_id = scope;
    CHECK(Call("nvmlDeviceGetFieldValues", Device(), 1, &value) == 0);
    return value;
  }
  [[nodiscard]] std::string Uuid(void* device) const {
    char text[96] = "";
    CHECK(Call("nvmlDeviceGetUUID", device, text, 96U) == 0);
    return text;
  }

 private:
  void* library_ = nullptr;
};

void SleepMs(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

TEST_CASE("layouts of the fake are those of the real header") {
#if __has_include(<nvml.h>)
  CHECK(sizeof(NvFieldValue) == sizeof(nvmlFieldValue_t));
  CHECK(offsetof(NvFieldValue, timestamp) == offsetof(nvmlFieldValue_t, timestamp));
  CHECK(offsetof(NvFieldValue, type) == offsetof(nvmlFieldValue_t, valueType));
  CHECK(offsetof(NvFieldValue, code) == offsetof(nvmlFieldValue_t, nvmlReturn));
  CHECK(offsetof(NvFieldValue, value) == offsetof(nvmlFieldValue_t, value));
  CHECK(sizeof(NvSample) == sizeof(nvmlSample_t));
  CHECK(sizeof(NvUtilization) == sizeof(nvmlUtilization_t));
  CHECK(sizeof(NvMemory) == sizeof(nvmlMemory_t));
  CHECK(offsetof(NvMemory, free) == offsetof(nvmlMemory_t, free));
  CHECK(sizeof(NvMemoryV2) == sizeof(nvmlMemory_v2_t));
  CHECK(offsetof(NvMemoryV2, reserved) == offsetof(nvmlMemory_v2_t, reserved));
  CHECK(offsetof(NvMemoryV2, used) == offsetof(nvmlMemory_v2_t, used));
  CHECK(sizeof(NvPciInfo) == sizeof(nvmlPciInfo_t));
  CHECK(offsetof(NvPciInfo, bus_id) == offsetof(nvmlPciInfo_t, busId));
  CHECK(sizeof(NvViolationTime) == sizeof(nvmlViolationTime_t));
  CHECK(sizeof(NvRowHistogram) == sizeof(nvmlRowRemapperHistogramValues_t));
  CHECK(sizeof(NvProcess) == sizeof(nvmlProcessInfo_t));
  CHECK(offsetof(NvProcess, gpu_instance) == offsetof(nvmlProcessInfo_t, gpuInstanceId));
  CHECK(sizeof(NvProcessSample) == sizeof(nvmlProcessUtilizationSample_t));
  CHECK(sizeof(NvEventData) == sizeof(nvmlEventData_t));
  CHECK(offsetof(NvEventData, data) == offsetof(nvmlEventData_t, eventData));
  CHECK(sizeof(NvGpmSupport) == sizeof(nvmlGpmSupport_t));
  CHECK(sizeof(NvGpmMetric) == sizeof(nvmlGpmMetric_t));
  CHECK(offsetof(NvGpmMetrics, metrics) == offsetof(nvmlGpmMetricsGet_t, metrics));
  CHECK(sizeof(NvAttributes) == sizeof(nvmlDeviceAttributes_t));
  CHECK(offsetof(NvAttributes, memory_mib) == offsetof(nvmlDeviceAttributes_t, memorySizeMB));
  CHECK(sizeof(NvAccounting) == sizeof(nvmlAccountingStats_t));
#else
  MESSAGE("no nvml.h is installed: not compared");
#endif
}

TEST_CASE("values follow their functions of time") {
  const FakeDriver fake("start_ns = " + std::to_string(MonotonicNs() - 10'000'000'000) +
                        "\n"
                        "nvml.temperature = ramp(40, 1)\n"
                        "nvml.power_average = ramp(100, 100) every 4000\n"
                        "nvml.pstate = 2, 5\n"
                        "nvml.utilization_gpu = 808334905\n"
                        "nvml.pcie_gen@1000000 = 1\n"
                        "nvml.pcie_width = 16\nnvml.pcie_width@9000 = 8\n"
                        "nvml.pcie_tx_bytes = counter(4294967290, 1000000000)\n");
  const FakeNvml nvml;
  unsigned value = 0;
  CHECK(nvml.Call("nvmlDeviceGetTemperature", nvml.Device(), 0, &value) == 0);
  CHECK(value >= 50);
  CHECK(value < 60);
  CHECK(nvml.Call("nvmlDeviceGetPowerUsage", nvml.Device(), &value) == 0);
  CHECK(value == 900);  // at 8 s: the driver's period
  CHECK(nvml.Call("nvmlDeviceGetPerformanceState", nvml.Device(), &value) == 0);
  CHECK(value == 2);
  CHECK(nvml.Call("nvmlDeviceGetPerformanceState", nvml.Device(), &value) == 0);
  CHECK(nvml.Call("nvmlDeviceGetPerformanceState", nvml.Device(), &value) == 0);
  CHECK(value == 5);
  NvUtilization use{};
  CHECK(nvml.Call("nvmlDeviceGetUtilizationRates", nvml.Device(), &use) == 0);
  CHECK(use.gpu == 808334905);
  CHECK(nvml.Call("nvmlDeviceGetCurrPcieLinkGeneration", nvml.Device(), &value) == 0);
  CHECK(value == 5);
  CHECK(nvml.Call("nvmlDeviceGetCurrPcieLinkWidth", nvml.Device(), &value) == 0);
  CHECK(value == 8);
  const NvFieldValue bytes = nvml.Field(197);
  CHECK(bytes.code == 0);
  CHECK(bytes.type == kNvUint);
  CHECK(bytes.value.ull < 0x1'0000'0000);  // 14 GB since the start, in 32 bits
  CHECK(nvml.Field(186, 1).code == 3);
  CHECK(nvml.Field(186, 3).code == 2);
  CHECK(nvml.Field(5000).code == 2);
  CHECK(nvml.Field(193).value.si == -8);
}

TEST_CASE("each scheme exports and answers what that driver does") {
  struct Scheme {
    const char* name;
    bool temperature_v, sram, detail_list, pcie_bytes, remapped_v2;
    int id_251, id_199;  // values that show which meaning; -1: no such id
  };
  const Scheme schemes[] = {
      {"535-early", false, false, false, false, false, -1, -1},
      {"12.2", false, false, true, false, false, -1, -1},
      {"12.4", false, true, true, false, false, -1, 1},
      {"12.5", false, true, true, true, false, -1, 4095},
      {"12.8", true, true, true, true, false, 77, 1},
      {"13.0", true, true, true, true, false, 123456789, 1},
      {"580.159", true, true, true, true, true, -1, 1},
      {"", true, true, true, true, false, 77, 1},
      {"13.2", true, true, true, true, true, 77, 1},
  };
  for (const Scheme& scheme : schemes) {
    CAPTURE(scheme.name);
    const FakeDriver fake("nvml.processes = 10:C:1MiB, 11:C:2MiB\n");
    const FakeNvml nvml(scheme.name);
    CHECK(nvml.Has("nvmlDeviceGetTemperatureV") == scheme.temperature_v);
    CHECK(nvml.Has("nvmlDeviceGetSramEccErrorStatus") == scheme.sram);
    CHECK(nvml.Has("nvmlDeviceGetRunningProcessDetailList") == scheme.detail_list);
    CHECK(nvml.Has("nvmlDeviceGetRemappedRows_v2") == scheme.remapped_v2);
    CHECK((nvml.Field(197).code == 0) == scheme.pcie_bytes);
    for (const auto& [id, want] : {std::pair{251U, scheme.id_251}, {199U, scheme.id_199}}) {
      const NvFieldValue value = nvml.Field(id);
      CHECK((value.code == 0) == (want >= 0));
      if (want >= 0) CHECK(value.value.ui == static_cast<unsigned>(want));
    }
    const size_t width = std::string(scheme.name) == "535-early" ? 32 : 24;
    std::vector<unsigned char> list(4 * 32, 0xcc);
    unsigned count = 4;
    CHECK(nvml.Call("nvmlDeviceGetComputeRunningProcesses_v3",
                    nvml.Device(),
                    &count,
                    static_cast<void*>(list.data())) == 0);
    CHECK(count == 2);
    CHECK(list[0] == 10);
    CHECK(list[width] == 11);
    CHECK(list[2 * width] == 0xcc);
  }
}

TEST_CASE("faults: from a call on, for a time, for one device, gone and back") {
  const FakeDriver fake(
      "devices = 2\nlive = 1\n"
      "error.nvmlDeviceGetPowerUsage = 999@2\n"
      "nvml.1.fault = 15\nnvml.1.fault@150 = 0\n"
      "nvml.gone@400 = 1\nnvml.gone@500 = 0\n");
  const FakeNvml nvml;
  void* first = nvml.Device(0);
  void* second = nullptr;
  unsigned value = 0;
  CHECK(nvml.Call("nvmlDeviceGetPowerUsage", first, &value) == 0);
  CHECK(nvml.Call("nvmlDeviceGetPowerUsage", first, &value) == 999);
  CHECK(nvml.Call("nvmlDeviceGetHandleByIndex_v2", 1U, &second) == 15);
  SleepMs(160);
  CHECK(nvml.Call("nvmlDeviceGetHandleByIndex_v2", 1U, &second) == 0);
  CHECK(nvml.Call("nvmlDeviceGetPersistenceMode", second, &value) == 0);
  SleepMs(350);  // past `gone`: a process must initialize again
  CHECK(nvml.Call("nvmlDeviceGetPersistenceMode", second, &value) == 999);
  CHECK(nvml.Call("nvmlShutdown") == 0);
  CHECK(nvml.Call("nvmlInit_v2") == 0);
  CHECK(nvml.Call("nvmlDeviceGetPersistenceMode", second, &value) == 0);
}

TEST_CASE("an instance made again has another UUID, and the old handle is dead") {
  const FakeDriver fake(
      "nvml.0.mig = 2:0:3g.71gb, , 9:0:1g.18gb\n"
      "nvml.0.mig@100 = 2:0:3g.71gb~1, , 9:0:1g.18gb\n"
      "nvml.0.gi.2.memory_total = 74893492224\n");
  const FakeNvml nvml;
  void *old = nullptr, *again = nullptr;
  unsigned value = 0, pending = 0;
  CHECK(nvml.Call("nvmlDeviceGetMigMode", nvml.Device(), &value, &pending) == 0);
  CHECK(value == 1);
  CHECK(nvml.Call("nvmlDeviceGetMigDeviceHandleByIndex", nvml.Device(), 0U, &old) == 0);
  CHECK(nvml.Call("nvmlDeviceGetMigDeviceHandleByIndex", nvml.Device(), 1U, &again) == 6);
  NvMemory memory{};
  CHECK(nvml.Call("nvmlDeviceGetMemoryInfo", old, &memory) == 0);
  CHECK(memory.total == 74893492224);
  CHECK(nvml.Call("nvmlDeviceGetTemperature", old, 0, &value) == 3);
  NvUtilization use{};
  CHECK(nvml.Call("nvmlDeviceGetUtilizationRates", nvml.Device(), &use) == 3);
  const std::string uuid = nvml.Uuid(old);
  CHECK(uuid.substr(0, 4) == "MIG-");
  SleepMs(110);
  CHECK(nvml.Call("nvmlDeviceGetMemoryInfo", old, &memory) == 6);
  CHECK(nvml.Call("nvmlDeviceGetMigDeviceHandleByIndex", nvml.Device(), 0U, &again) == 0);
  CHECK(nvml.Uuid(again) != uuid);
}

TEST_CASE("events reach a set once, and a wait without one times out") {
  const FakeDriver fake("nvml.0.events = 50:0x8:79, 60:0x100:0:2:0\n");
  const FakeNvml nvml;
  void* set = nullptr;
  NvEventData event{};
  CHECK(nvml.Call("nvmlEventSetCreate", &set) == 0);
  CHECK(nvml.Call("nvmlDeviceRegisterEvents", nvml.Device(), 0x108ULL, set) == 0);
  CHECK(nvml.Call("nvmlEventSetWait_v2", set, &event, 1U) == 10);
  CHECK(nvml.Call("nvmlEventSetWait_v2", set, &event, 2000U) == 0);
  CHECK(event.type == 0x8);
  CHECK(event.data == 79);
  CHECK(nvml.Call("nvmlEventSetWait_v2", set, &event, 2000U) == 0);
  CHECK(event.type == 0x100);
  CHECK(event.gpu_instance == 2);
  CHECK(nvml.Call("nvmlEventSetWait_v2", set, &event, 20U) == 10);
  CHECK(nvml.Call("nvmlEventSetFree", set) == 0);
}

TEST_CASE("GPM does what an H200 did: zeros for short windows, a failed call for unknown ids") {
  const FakeDriver fake("nvml.pcie_tx_bytes = counter(0, 104857600)\nnvml.gpm.3 = 12.5\n");
  const FakeNvml nvml;
  void *first = nullptr, *second = nullptr;
  CHECK(nvml.Call("nvmlGpmSampleAlloc", &first) == 0);
  CHECK(nvml.Call("nvmlGpmSampleAlloc", &second) == 0);
  std::vector<unsigned char> buffer(sizeof(NvGpmMetrics) + 3 * sizeof(NvGpmMetric));
  auto* get = reinterpret_cast<NvGpmMetrics*>(buffer.data());
  get->version = 1;
  get->count = 2;
  get->sample1 = first;
  get->sample2 = second;
  get->metrics[0].id = 3;
  get->metrics[1].id = 20;
  get->metrics[2].id = 255;  // not in this driver
  CHECK(nvml.Call("nvmlGpmSampleGet", nvml.Device(), first) == 0);
  CHECK(nvml.Call("nvmlGpmSampleGet", nvml.Device(), second) == 0);
  CHECK(nvml.Call("nvmlGpmMetricsGet", get) == 0);
  CHECK(get->metrics[0].code == 0);
  CHECK(get->metrics[0].value == 0);
  SleepMs(120);
  CHECK(nvml.Call("nvmlGpmSampleGet", nvml.Device(), second) == 0);
  CHECK(nvml.Call("nvmlGpmMetricsGet", get) == 0);
  CHECK(get->metrics[0].code == 0);
  CHECK(get->metrics[0].value == 12.5);
  CHECK(get->metrics[1].value == doctest::Approx(100).epsilon(0.01));  // MiB/s
  get->count = 3;
  CHECK(nvml.Call("nvmlGpmMetricsGet", get) == 2);
  get->count = 2;
  get->sample1 = second;
  CHECK(nvml.Call("nvmlGpmMetricsGet", get) == 2);  // the same sample twice
  get->version = 0x01000000 | 24;
  CHECK(nvml.Call("nvmlGpmMetricsGet", get) == 25);
  nvml.Call("nvmlGpmSampleFree", first);
  nvml.Call("nvmlGpmSampleFree", second);
}

TEST_CASE("sample buffers are on the clock the script says") {
  for (const char* clock : {"epoch", "boottime"}) {
    CAPTURE(clock);
    const FakeDriver fake("start_ns = " + std::to_string(MonotonicNs() - 5'000'000'000) +
                          "\nnvml.sample_clock = " + clock + "\n");
    const FakeNvml nvml;
    unsigned count = 0;
    int type = 0;
    NvSample* none = nullptr;
    CHECK(nvml.Call("nvmlDeviceGetSamples", nvml.Device(), 0, 0ULL, &type, &count, none) == 0);
    CHECK(count == 120);
    std::vector<NvSample> samples(count);
    CHECK(nvml.Call(
              "nvmlDeviceGetSamples", nvml.Device(), 0, 0ULL, &type, &count, samples.data()) == 0);
    CHECK(count == 119);
    const int64_t now = clock[0] == 'e' ? RealtimeNs() : ReadClock(CLOCK_BOOTTIME);
    CHECK(now / 1000 - static_cast<int64_t>(samples[118].timestamp) < 1'000'000);
    CHECK(samples[118].timestamp - samples[117].timestamp == doctest::Approx(20000).epsilon(0.05));
    CHECK(nvml.Call("nvmlDeviceGetSamples",
                    nvml.Device(),
                    0,
                    static_cast<unsigned long long>(samples[118].timestamp + 10'000'000),
                    &type,
                    &count,
                    samples.data()) == 6);
  }
}

TEST_CASE("slow calls that share the driver's lock wait for each other, fast ones do not") {
  const FakeDriver fake(
      "devices = 2\nnvml.lock = slow\nlatency_us.nvmlDeviceGetTotalEnergyConsumption = 30000\n");
  const FakeNvml nvml;
  const int64_t begin = MonotonicNs();
  int64_t fast_ns = 0;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 2; ++i) {
    threads.emplace_back([&nvml, device = nvml.Device(i)] {
      unsigned long long energy = 0;
      nvml.Call("nvmlDeviceGetTotalEnergyConsumption", device, &energy);
    });
  }
  unsigned value = 0;
  CHECK(nvml.Call("nvmlDeviceGetPersistenceMode", nvml.Device(0), &value) == 0);
  fast_ns = MonotonicNs() - begin;
  for (std::thread& thread : threads) thread.join();
  CHECK(MonotonicNs() - begin >= 60'000'000);
  CHECK(fast_ns < 30'000'000);
}

}  // namespace
}  // namespace warpgauge
