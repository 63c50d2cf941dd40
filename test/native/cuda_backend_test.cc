// The CUDA backend on the fake driver (test/native/fake): order of calls, late completion,
// failures. No number here says anything about speed.
#include "copy/cuda_backend.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/dynamic_library.h"
#include "fake_driver.h"
#include "gpu/driver_gate.h"

#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

namespace warpgauge {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;
using Calls = std::vector<std::string>;

std::string Code(const Status& status) { return status.code(); }

Result<std::unique_ptr<CopyBackend>> OpenFake(int device = 0) {
  return OpenCudaBackend(device, FakeDriver::Cuda(), FakeDriver::Nvml());
}

NvmlTable FakeNvmlTable(const std::set<std::string>& hidden) {
  const Result<DynamicLibrary> library = DynamicLibrary::Open({FakeDriver::Nvml()});
  REQUIRE(library.ok());
  return ResolveNvml(
      [&](const char* name) { return hidden.contains(name) ? nullptr : library.value.Find(name); },
      "a library with hidden symbols");
}

// A host buffer of one pin mode. Lives shorter than the backend.
class HostBuffer {
 public:
  HostBuffer(CopyBackend* backend, size_t bytes, PinMode pin) : backend_(backend), pin_(pin) {
    if (pin == PinMode::kHostAlloc) {
      Result<uint8_t*> memory = backend->HostAlloc(bytes);
      status_ = memory.status;
      data_ = memory.value;
      return;
    }
    data_ = static_cast<uint8_t*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096));
    std::memset(data_, 0, bytes);
    if (pin == PinMode::kRegister) status_ = backend->Register(data_, bytes, &register_ns_);
    registered_ = pin == PinMode::kRegister && status_.ok();
  }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;
  ~HostBuffer() {
    if (!Release().ok() && pin_ != PinMode::kHostAlloc) std::free(data_);
  }

  // What fails changes nothing: it can be tried again.
  Status Release() {
    int64_t ns = -1;
    if (pin_ == PinMode::kHostAlloc && data_ != nullptr) {
      if (Status failed = backend_->HostFree(data_); !failed.ok()) return failed;
    }
    if (registered_) {
      if (Status failed = backend_->Unregister(data_, &ns); !failed.ok()) return failed;
    }
    if (pin_ != PinMode::kHostAlloc) std::free(data_);
    registered_ = false;
    data_ = nullptr;
    return Status::Ok();
  }
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] uint8_t* data() const { return data_; }
  [[nodiscard]] int64_t register_ns() const { return register_ns_; }

 private:
  CopyBackend* backend_;
  PinMode pin_;
  Status status_;
  uint8_t* data_ = nullptr;
  bool registered_ = false;
  int64_t register_ns_ = -1;
};

constexpr PinMode kPins[] = {PinMode::kNone, PinMode::kRegister, PinMode::kHostAlloc};

TEST_CASE("the device is described, and says that it is simulated") {
  const FakeDriver fake("pageable_access = 1\n");
  const auto backend = OpenFake();
  REQUIRE_MESSAGE(backend.ok(), backend.status.message());
  CHECK(std::string(backend.value->name()) == "cuda");
  CHECK(std::string(backend.value->htod_verification()) == "readback");
  const BackendDevice& device = *backend.value->device();
  CHECK(device.name == "Simulated NVIDIA H200");
  CHECK(device.simulated);
  CHECK(device.uuid == "GPU-53494d55-4c41-5445-4400-000000000000");
  CHECK(device.pci_address == "0000:83:00.0");
  CHECK(device.compute_capability == "9.0");
  CHECK(device.driver == "Simulated 590.48.01");
  CHECK(device.cuda == "13.1");
  CHECK(device.memory_bytes == 143771 * kMiB);
  CHECK(device.numa_node == -1);  // never the node of a real device at the same address
  CHECK(device.pageable_access == 1);
  CHECK(device.host_page_tables == 0);
  const GpuCondition gpu = backend.value->ReadGpu();
  CHECK(gpu.sm_mhz == 1980);
  CHECK(gpu.pcie_gen == 5);
  CHECK(gpu.pcie_width == 16);
  CHECK(gpu.replays == 0);
  CHECK(gpu.throttle == 0);
}

TEST_CASE("a fake cannot pass for a real device") {
  const FakeDriver fake("devices = 2\nname = NVIDIA H200, Simulated NVIDIA L4\n");
  const auto first = OpenFake(0);
  REQUIRE(first.ok());
  CHECK(first.value->device()->name == "Simulated NVIDIA H200");
  CHECK(first.value->device()->simulated);
}

TEST_CASE(
    "data arrive in every pin mode and direction, at whole and odd sizes, in the right order of "
    "calls") {
  for (const PinMode pin : kPins) {
    for (const size_t bytes : {size_t{1}, size_t{4096}, kMiB, 5 * kMiB + 123}) {
      CAPTURE(static_cast<int>(pin));
      CAPTURE(bytes);
      const FakeDriver fake("delay_us = 500\n");
      auto opened = OpenFake();
      REQUIRE(opened.ok());
      CopyBackend& backend = *opened.value;
      REQUIRE(backend.Reserve(bytes, false).ok());
      HostBuffer host(&backend, bytes, pin);
      REQUIRE_MESSAGE(host.status().ok(), host.status().message());
      if (pin == PinMode::kRegister) CHECK(host.register_ns() > 0);
      const char* const kind = pin == PinMode::kNone ? "pageable" : "pinned";

      const Pattern to(7);
      to.Fill(host.data(), bytes);
      REQUIRE(backend.PoisonDevice(bytes).ok());
      backend.RewarmStaging(bytes);
      size_t before = fake.Log().size();
      const auto in = backend.CopyHtoD(host.data(), bytes, pin);
      REQUIRE_MESSAGE(in.ok(), in.status.message());
      CHECK(in.value.host_ns >= 500'000);
      CHECK(in.value.event_ns >= 500'000);
      CHECK(fake.Calls(before) == Calls{"cuEventRecord",
                                        "cuMemcpyHtoDAsync_v2",
                                        "cuEventRecord",
                                        "cuStreamSynchronize",
                                        "cuEventElapsedTime_v2"});
      CHECK(fake.Log()[before + 1].find(kind) != std::string::npos);
      const auto verified = backend.VerifyHtoD(host.data(), bytes, to);
      REQUIRE(verified.ok());
      CHECK(verified.value == -1);

      const Pattern from(8);
      REQUIRE(backend.LoadDevice(from, bytes).ok());
      before = fake.Log().size();
      const auto out = backend.CopyDtoH(host.data(), bytes, pin);
      REQUIRE_MESSAGE(out.ok(), out.status.message());
      CHECK(out.value.host_ns > 0);
      CHECK(out.value.event_ns >= (pin == PinMode::kNone ? 0 : 500'000));
      CHECK(fake.Calls(before) == Calls{"cuEventRecord",
                                        "cuMemcpyDtoHAsync_v2",
                                        "cuEventRecord",
                                        "cuStreamSynchronize",
                                        "cuEventElapsedTime_v2"});
      CHECK(fake.Log()[before + 1].find(kind) != std::string::npos);
      CHECK(from.FirstMismatch(host.data(), bytes) == -1);

      CHECK(host.Release().ok());
      CHECK(Violation().empty());
      CHECK(fake.Count("cuLaunchKernel") == 0);
    }
  }
}

TEST_CASE("what was taken is given back") {
  const FakeDriver fake("");
  {
    auto backend = OpenFake();
    REQUIRE(backend.ok());
    REQUIRE(backend.value->Reserve(64 * kKiB, false).ok());
    REQUIRE(backend.value->Reserve(kMiB, true).ok());
    REQUIRE(backend.value->Reserve(64 * kKiB, true).ok());  // is there already
    HostBuffer host(backend.value.get(), kMiB, PinMode::kHostAlloc);
    CHECK(host.Release().ok());
  }
  CHECK(fake.Count("cuMemAlloc_v2") == 5);  // the small buffer, its larger successor, b, c, scratch
  for (const auto& [taken, given] :
       {std::pair{"cuMemAlloc_v2", "cuMemFree_v2"},
        std::pair{"cuMemHostAlloc", "cuMemFreeHost"},
        std::pair{"cuEventCreate", "cuEventDestroy_v2"},
        std::pair{"cuStreamCreate", "cuStreamDestroy_v2"},
        std::pair{"cuModuleLoadDataEx", "cuModuleUnload"},
        std::pair{"cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2"},
        std::pair{"nvmlInit_v2", "nvmlShutdown"}}) {
    CAPTURE(taken);
    CHECK(fake.Count(taken) > 0);
    CHECK(fake.Count(taken) == fake.Count(given));
  }
  CHECK(Violation().empty());
}

TEST_CASE("without the stream synchronization the data are not there, and verification says so") {
  if (kThreadSanitizer) {
    std::printf("ignored synchronization: skipped under TSan: the data race is the point\n");
    return;
  }
  // The fake acknowledges synchronizations at once, as if the call were missing.
  for (const PinMode pin : kPins) {
    CAPTURE(static_cast<int>(pin));
    const FakeDriver fake("ignore_sync = 1\ndelay_us = 100000\n");
    auto opened = OpenFake();
    REQUIRE(opened.ok());
    CopyBackend& backend = *opened.value;
    constexpr size_t kBytes = 64 * kKiB;
    REQUIRE(backend.Reserve(kBytes, false).ok());
    HostBuffer host(&backend, kBytes, pin);
    const Pattern pattern(3);
    pattern.Fill(host.data(), kBytes);
    REQUIRE(backend.CopyHtoD(host.data(), kBytes, pin).ok());
    const auto verified = backend.VerifyHtoD(host.data(), kBytes, pattern);
    REQUIRE(verified.ok());
    CHECK(verified.value >= 0);

    std::memset(host.data(), 0, kBytes);
    if (pin == PinMode::kNone) continue;  // the driver itself waits there
    REQUIRE(backend.LoadDevice(Pattern(4), kBytes).ok());
    REQUIRE(backend.CopyDtoH(host.data(), kBytes, pin).ok());
    CHECK(Pattern(4).FirstMismatch(host.data(), kBytes) >= 0);
    // The bounce buffer still holds the pattern from loading it: a read-back that never comes is
    // not taken for a right one.
    REQUIRE(backend.LoadDevice(Pattern(4), kBytes).ok());
    CHECK(backend.VerifyHtoD(host.data(), kBytes, Pattern(4)).value >= 0);
    // The checker refuses to release memory that a copy is still on its way to.
    CHECK_FALSE(host.Release().ok());
    CHECK(Violation().find("in flight") != std::string::npos);
    while (!host.Release().ok()) usleep(10'000);
  }
}

TEST_CASE("a dropped page is found where it is, in every direction and pin mode") {
  constexpr size_t kBytes = 3 * kMiB;
  for (const PinMode pin : kPins) {
    const FakeDriver fake("");
    auto opened = OpenFake();
    REQUIRE(opened.ok());
    CopyBackend& backend = *opened.value;
    REQUIRE(backend.Reserve(kBytes, false).ok());
    HostBuffer host(&backend, kBytes, pin);
    for (const int64_t page : {int64_t{0}, int64_t{400}, static_cast<int64_t>(kBytes / 4096 - 1)}) {
      CAPTURE(static_cast<int>(pin));
      CAPTURE(page);
      const Pattern pattern(static_cast<uint64_t>(page) + 11);
      pattern.Fill(host.data(), kBytes);
      REQUIRE(backend.PoisonDevice(kBytes).ok());
      backend.set_fault({.drop_page = page, .stretch = 0});
      REQUIRE(backend.CopyHtoD(host.data(), kBytes, pin).ok());
      backend.set_fault({});
      const auto verified = backend.VerifyHtoD(host.data(), kBytes, pattern);
      REQUIRE(verified.ok());
      // One byte in 256 is the poison's own: the first that differs may be a
      // few bytes into the page.
      CHECK(verified.value / 4096 == page);

      std::memset(host.data(), 0, kBytes);
      REQUIRE(backend.LoadDevice(pattern, kBytes).ok());
      backend.set_fault({.drop_page = page, .stretch = 0});
      REQUIRE(backend.CopyDtoH(host.data(), kBytes, pin).ok());
      backend.set_fault({});
      CHECK(pattern.FirstMismatch(host.data(), kBytes) / 4096 == page);
      REQUIRE(backend.CopyDtoH(host.data(), kBytes, pin).ok());
      CHECK(pattern.FirstMismatch(host.data(), kBytes) == -1);
    }
  }
}

TEST_CASE("a stretched copy is longer by that share") {
  const FakeDriver fake("latency_us.cuStreamSynchronize = 20000\n");
  auto opened = OpenFake();
  REQUIRE(opened.ok());
  CopyBackend& backend = *opened.value;
  REQUIRE(backend.Reserve(4096, false).ok());
  HostBuffer host(&backend, 4096, PinMode::kNone);
  const auto plain = backend.CopyHtoD(host.data(), 4096, PinMode::kNone);
  backend.set_fault({.drop_page = -1, .stretch = 2});
  const auto stretched = backend.CopyHtoD(host.data(), 4096, PinMode::kNone);
  REQUIRE(plain.ok());
  REQUIRE(stretched.ok());
  CHECK(plain.value.host_ns >= 20'000'000);
  CHECK(stretched.value.host_ns >= 60'000'000);
}

TEST_CASE("vectorAdd adds, phase by phase, each waited for") {
  for (const PinMode pin : kPins) {
    for (const size_t count : {size_t{1}, size_t{1000}, size_t{300'001}}) {
      CAPTURE(static_cast<int>(pin));
      CAPTURE(count);
      const FakeDriver fake("delay_us = 200\n");
      auto opened = OpenFake();
      REQUIRE(opened.ok());
      CopyBackend& backend = *opened.value;
      const size_t bytes = count * sizeof(double);
      REQUIRE(backend.Reserve(bytes, true).ok());
      HostBuffer ha(&backend, bytes, pin);
      HostBuffer hb(&backend, bytes, pin);
      HostBuffer hc(&backend, bytes, pin);
      auto* a = reinterpret_cast<double*>(ha.data());
      auto* b = reinterpret_cast<double*>(hb.data());
      auto* c = reinterpret_cast<double*>(hc.data());
      for (size_t i = 0; i < count; ++i) {
        a[i] = static_cast<double>(i);
        b[i] = 0.5;
      }
      REQUIRE(backend.PoisonDevice(bytes).ok());
      const size_t before = fake.Log().size();
      const auto timing = backend.VectorAdd(a, b, c, count, pin);
      REQUIRE_MESSAGE(timing.ok(), timing.status.message());
      size_t wrong = 0;
      for (size_t i = 0; i < count; ++i) wrong += c[i] == static_cast<double>(i) + 0.5 ? 0 : 1;
      CHECK(wrong == 0);
      const VectorAddTiming& t = timing.value;
      CHECK(t.kernel.host_ns >= 200'000);
      CHECK(t.kernel.event_ns >= 200'000);
      CHECK(t.copy_a.host_ns + t.copy_b.host_ns + t.kernel.host_ns + t.copy_c.host_ns <= t.host_ns);
      Calls expected;
      for (const char* call : {"cuMemcpyHtoDAsync_v2",
                               "cuMemcpyHtoDAsync_v2",
                               "cuLaunchKernel",
                               "cuMemcpyDtoHAsync_v2"}) {
        expected.insert(expected.end(),
                        {"cuEventRecord", call, "cuEventRecord", "cuStreamSynchronize"});
      }
      expected.insert(expected.end(), 4, "cuEventElapsedTime_v2");
      CHECK(fake.Calls(before) == expected);

      // The page of C that is not copied back keeps what it held.
      std::memset(c, 0, bytes);
      backend.set_fault({.drop_page = 0, .stretch = 0});
      REQUIRE(backend.VectorAdd(a, b, c, count, pin).ok());
      CHECK(c[0] == 0);
      if (count > 512) CHECK(c[512] == 512.5);
      CHECK(Violation().empty());
    }
  }
}

TEST_CASE("a poisoned device has no result of an earlier vectorAdd left") {
  const FakeDriver fake("");
  auto opened = OpenFake();
  REQUIRE(opened.ok());
  CopyBackend& backend = *opened.value;
  const std::vector<double> ones(64, 1.0);
  std::vector<double> c(64);
  REQUIRE(backend.Reserve(512, true).ok());
  REQUIRE(backend.VectorAdd(ones.data(), ones.data(), c.data(), 64, PinMode::kNone).ok());
  const size_t before = fake.Log().size();
  REQUIRE(backend.PoisonDevice(512).ok());
  CHECK(fake.Calls(before) ==
        Calls{"cuMemsetD8Async", "cuMemsetD8Async", "cuMemsetD8Async", "cuStreamSynchronize"});
}

TEST_CASE("waking stops when the link is at its best, when it rises no more, and without NVML") {
  struct Woken {
    long rounds = 0;
    bool out_of_time = false;  // the bound of half a second: a busy machine
  };
  const auto wake = [](const std::string& script) {
    const FakeDriver fake("delay_us = 0\n" + script);
    auto backend = OpenFake();
    REQUIRE(backend.ok());
    const size_t before = fake.Log().size();
    const int64_t begin = MonotonicNs();
    CHECK(backend.value->Wake().ok());
    Woken woken;
    woken.out_of_time = MonotonicNs() - begin >= 500'000'000;
    const Calls calls = fake.Calls(before);
    woken.rounds = std::count(calls.begin(), calls.end(), "cuStreamSynchronize");
    return woken;
  };
  CHECK(wake("").rounds == 1);
  const Woken rising = wake("nvml.pcie_gen = 1, 1, 3, 5\n");
  CHECK((rising.rounds == 4 || rising.out_of_time));
  const Woken stuck = wake("nvml.pcie_gen = 4\n");
  CHECK((stuck.rounds > 1 || stuck.out_of_time));
  CHECK(stuck.rounds < 10);
  const Woken blind = wake("error.nvmlInit_v2 = 18\n");
  CHECK((blind.rounds == 4 || blind.out_of_time));
}

TEST_CASE("a GPU that NVML has lost costs the clocks, not the copies") {
  const FakeDriver fake("nvml.lost_from_call = 6\n");
  auto backend = OpenFake();
  REQUIRE(backend.ok());
  CHECK(backend.value->ReadGpu().replays == -1);
  CHECK(backend.value->ReadGpu().sm_mhz == -1);
  REQUIRE(backend.value->Reserve(4096, false).ok());
  HostBuffer host(backend.value.get(), 4096, PinMode::kNone);
  CHECK(backend.value->CopyHtoD(host.data(), 4096, PinMode::kNone).ok());
}

TEST_CASE("an NVML that does not know the device by a simulated name is not mixed in") {
  const FakeDriver fake("");
  const NvmlTable nvml = FakeNvmlTable({"nvmlDeviceGetName"});
  auto backend = MakeCudaBackend(FakeTable(), &nvml, 0);
  REQUIRE(backend.ok());
  CHECK(backend.value->device()->driver.empty());
  CHECK(backend.value->ReadGpu().sm_mhz == -1);
}

TEST_CASE("absent devices and libraries have their own codes") {
  {
    const FakeDriver fake("devices = 0\n");
    const auto backend = OpenFake();
    CHECK(Code(backend.status) == "ERR_NO_DEVICE");
    CHECK(backend.status.number() == 100);
    CHECK(backend.status.source() == "cuInit");
    CHECK(backend.status.message().find("CUDA_ERROR_NO_DEVICE (100)") != std::string::npos);
    CHECK(backend.status.fix().find("nvidia-smi -L") != std::string::npos);
  }
  {
    const FakeDriver fake("devices = 2\n");
    const auto backend = OpenFake(2);
    CHECK(Code(backend.status) == "ERR_NO_DEVICE");
    CHECK(backend.status.fix() == "choose --device 0 to 1");
    CHECK(Code(OpenFake(-1).status) == "ERR_NO_DEVICE");
    CHECK(OpenFake(1).ok());
  }
  {
    const FakeDriver fake("error.cuInit = 803\n");
    const auto backend = OpenFake();
    CHECK(Code(backend.status) == "ERR_CUDA");
    CHECK(backend.status.message().find("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH") != std::string::npos);
    CHECK(backend.status.fix().find("reboot") != std::string::npos);
  }
  const auto missing = OpenCudaBackend(0, "/nowhere/libcuda.so.1", "");
  CHECK(Code(missing.status) == "ERR_LIBRARY_MISSING");
  CHECK(missing.status.fix().find("WARPGAUGE_CUDA") != std::string::npos);
  const FakeDriver fake("");
  CHECK(Code(OpenCudaBackend(0, FakeDriver::Cuda(), "/nowhere/libnvidia-ml.so.1").status) ==
        "ERR_LIBRARY_MISSING");
  if (KernelDriverPresent("")) {
    std::printf("closed gate: skipped: this machine has a driver\n");
  } else {
    CHECK(Code(OpenCudaBackend(0, "", "").status) == "ERR_NO_DRIVER");
  }
}

TEST_CASE("device memory that runs out is an error, and a smaller size works afterwards") {
  const FakeDriver fake("memory_bytes = 20971520\n");
  auto backend = OpenFake();
  REQUIRE(backend.ok());
  const Status failed = backend.value->Reserve(32 * kMiB, false);
  CHECK(Code(failed) == "ERR_NO_MEMORY");
  CHECK(failed.number() == 2);
  CHECK(failed.fix().find("--sizes") != std::string::npos);
  CHECK(Code(backend.value->Reserve(8 * kMiB, true)) == "ERR_NO_MEMORY");
  HostBuffer host(backend.value.get(), 64 * kKiB, PinMode::kNone);
  REQUIRE(backend.value->Reserve(64 * kKiB, false).ok());
  CHECK(backend.value->CopyHtoD(host.data(), 64 * kKiB, PinMode::kNone).ok());
}

TEST_CASE("improper use is refused by name") {
  const FakeDriver fake("");
  auto backend = OpenFake();
  REQUIRE(backend.ok());
  HostBuffer host(backend.value.get(), kMiB, PinMode::kRegister);
  const Pattern pattern(1);
  CHECK(Code(backend.value->CopyHtoD(host.data(), 4096, PinMode::kRegister).status) ==
        "ERR_INVALID_ARGUMENT");
  REQUIRE(backend.value->Reserve(4096, false).ok());
  CHECK(Code(backend.value->CopyHtoD(host.data(), 4097, PinMode::kRegister).status) ==
        "ERR_INVALID_ARGUMENT");
  CHECK(Code(backend.value->CopyDtoH(host.data(), 0, PinMode::kRegister).status) ==
        "ERR_INVALID_ARGUMENT");
  CHECK(Code(backend.value->LoadDevice(pattern, kMiB)) == "ERR_INVALID_ARGUMENT");
  CHECK(Code(backend.value->PoisonDevice(kMiB)) == "ERR_INVALID_ARGUMENT");
  CHECK(Code(backend.value->VerifyHtoD(host.data(), kMiB, pattern).status) ==
        "ERR_INVALID_ARGUMENT");
  const std::vector<double> a(8);
  std::vector<double> c(8);
  CHECK(Code(backend.value->VectorAdd(a.data(), a.data(), c.data(), 8, PinMode::kNone).status) ==
        "ERR_INVALID_ARGUMENT");
  int64_t ns = -1;
  const Status twice = backend.value->Register(host.data(), kMiB, &ns);
  CHECK(Code(twice) == "ERR_CUDA");
  CHECK(twice.number() == kCuAlreadyRegistered);
  CHECK(Code(backend.value->HostFree(host.data())) == "ERR_CUDA");
}

TEST_CASE("a kernel that the driver cannot assemble shows the assembler's words") {
  const FakeDriver fake("error.cuModuleLoadDataEx = 222\n");
  auto backend = OpenFake();
  REQUIRE(backend.ok());
  const Status failed = backend.value->Reserve(4096, true);
  CHECK(Code(failed) == "ERR_CUDA");
  CHECK(failed.number() == kCuUnsupportedPtx);
  CHECK(failed.message().find("assembler: Simulated assembler") != std::string::npos);
}

TEST_CASE("every missing optional function costs what it says, every required one is named") {
  const FakeDriver fake("");
  const Result<DynamicLibrary> library = DynamicLibrary::Open({FakeDriver::Cuda()});
  REQUIRE(library.ok());
#define HIDE(symbol, required, lost, ...)                                             \
  {                                                                                   \
    CAPTURE(#symbol);                                                                 \
    const Result<CudaTable> table = ResolveCuda(                                      \
        [&](const char* name) {                                                       \
          return std::string(name) == #symbol ? nullptr : library.value.Find(name);   \
        },                                                                            \
        "a library");                                                                 \
    if (required) {                                                                   \
      CHECK(Code(table.status) == "ERR_SYMBOL_MISSING");                              \
      CHECK(table.status.message().find(#symbol) != std::string::npos);               \
    } else {                                                                          \
      REQUIRE(table.ok());                                                            \
      auto backend = MakeCudaBackend(table.value, nullptr, 0);                        \
      REQUIRE_MESSAGE(backend.ok(), backend.status.message());                        \
      const Status reserved = backend.value->Reserve(4096, true);                     \
      CHECK(reserved.ok() == (std::string(lost) != "vectorAdd"));                     \
      HostBuffer host(backend.value.get(), 4096, PinMode::kNone);                     \
      const auto timing = backend.value->CopyHtoD(host.data(), 4096, PinMode::kNone); \
      REQUIRE(timing.ok());                                                           \
      CHECK(timing.value.event_ns >= 0);                                              \
    }                                                                                 \
  }
  WARPGAUGE_CUDA_FUNCTIONS(HIDE)
#undef HIDE

  auto backend = MakeCudaBackend(FakeTable({"cuEventElapsedTime",
                                            "cuEventElapsedTime_v2",
                                            "cuDeviceGetUuid",
                                            "cuDeviceGetUuid_v2",
                                            "cuDriverGetVersion",
                                            "cuDeviceGetPCIBusId",
                                            "cuGetErrorName",
                                            "cuGetErrorString",
                                            "cuLaunchKernel"}),
                                 nullptr,
                                 0);
  REQUIRE(backend.ok());
  CHECK(backend.value->device()->uuid.empty());
  CHECK(backend.value->device()->cuda.empty());
  CHECK(backend.value->device()->pci_address.empty());
  REQUIRE(backend.value->Reserve(4096, false).ok());
  HostBuffer host(backend.value.get(), 4096, PinMode::kRegister);
  const auto timing = backend.value->CopyHtoD(host.data(), 4096, PinMode::kRegister);
  REQUIRE(timing.ok());
  CHECK(timing.value.event_ns == -1);
  const Status add = backend.value->Reserve(4096, true);
  CHECK(Code(add) == "ERR_SYMBOL_MISSING");
  CHECK(add.message().find("cuLaunchKernel") != std::string::npos);
  int64_t ns = -1;
  const Status twice = backend.value->Register(host.data(), 4096, &ns);
  CHECK(twice.message().find("an error without a name (712)") != std::string::npos);
}

// One of everything, stopping at the first failure.
Status Everything() {
  constexpr size_t kBytes = 96 * kKiB;
  auto opened = OpenFake();
  if (!opened.ok()) return opened.status;
  CopyBackend& backend = *opened.value;
  const Pattern pattern(5);
  if (Status s = backend.Reserve(kBytes, true); !s.ok()) return s;
  if (Status s = backend.Wake(); !s.ok()) return s;
  for (const PinMode pin : kPins) {
    HostBuffer host(&backend, kBytes, pin);
    if (!host.status().ok()) return host.status();
    pattern.Fill(host.data(), kBytes);
    if (Status s = backend.PoisonDevice(kBytes); !s.ok()) return s;
    if (auto t = backend.CopyHtoD(host.data(), kBytes, pin); !t.ok()) return t.status;
    auto verified = backend.VerifyHtoD(host.data(), kBytes, pattern);
    if (!verified.ok()) return verified.status;
    CHECK(verified.value == -1);
    std::memset(host.data(), 0, kBytes);
    if (Status s = backend.LoadDevice(pattern, kBytes); !s.ok()) return s;
    if (auto t = backend.CopyDtoH(host.data(), kBytes, pin); !t.ok()) return t.status;
    CHECK(pattern.FirstMismatch(host.data(), kBytes) == -1);
    auto* doubles = reinterpret_cast<double*>(host.data());
    const std::vector<double> ones(kBytes / sizeof(double), 1.0);
    auto add = backend.VectorAdd(ones.data(), ones.data(), doubles, ones.size(), pin);
    if (!add.ok()) return add.status;
    CHECK(doubles[ones.size() - 1] == 2);
    if (Status s = host.Release(); !s.ok()) return s;
  }
  return Status::Ok();
}

#ifdef __SANITIZE_THREAD__
constexpr int kStep = 7;
#else
constexpr int kStep = 1;
#endif

TEST_CASE("an error at any call is a status, never a crash, and nothing wrong is taken for right") {
  // Call n and all after it fail (a dead device), or call n alone fails (a passing error).
  for (const char* kind : {"error_from_call = 719@", "error_at_call = 700@"}) {
    int failures = 0;
    int survived = 0;
    // One thread does all this, and ThreadSanitizer makes it ten times as long.
    for (int n = 1;; n += kStep) {
      REQUIRE(n < 2000);
      const FakeDriver fake("delay_us = 20\n" + std::string(kind) + std::to_string(n) + "\n");
      const Status status = Everything();
      CAPTURE(kind);
      CAPTURE(n);
      bool injected = false;
      for (const std::string& line : fake.Log()) {
        injected = injected || line.find(") = 7") != std::string::npos;
      }
      if (!injected) {  // n is beyond the last call
        CHECK(status.ok());
        break;
      }
      if (status.ok()) {
        ++survived;
        continue;
      }
      ++failures;
      CHECK(Code(status) == "ERR_CUDA");
      CHECK((status.number() == 719 || status.number() == 700));
      CHECK_FALSE(status.source().empty());
      CHECK(Violation().empty());
    }
    std::printf("%s1...: %d calls failed cleanly, %d did not matter\n", kind, failures, survived);
    CHECK(failures > 80 / kStep);
    // Only what is for the report alone, and what is released at the very end.
    CHECK(survived < 30 / kStep + 1);
  }
}

}  // namespace
}  // namespace warpgauge
