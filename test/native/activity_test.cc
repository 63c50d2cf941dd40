// Tracing in this process over the simulated CUPTI: records, names, clocks, ends, refusals, and a
// reader that does not read. What children do is in inject_test.cc.
#include "gpu/cupti/activity.h"

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "fake/activity_feed.h"
#include "fake_driver.h"
#include "sanitized.h"
#include "single_step.h"
#include "trace_ring_support.h"

namespace warpgauge {
namespace {

using Clock = std::chrono::steady_clock;

std::string FakeFile(const std::string& name) {
  const char* const folder = std::getenv("WARPGAUGE_FAKE_DIR");
  return (folder != nullptr ? std::string(folder) : "out/debug/fake") + "/" + name;
}

int64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

bool Wait(const std::function<bool()>& done, int ms = 10'000) {
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(ms);
  while (!done()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Static, because an activity that was not waited for keeps them.
wg_lane_writer& Writer() {
  static auto& writer = *new wg_lane_writer;
  return writer;
}

// The simulated libraries with a script, and CUDA initialized.
class Session {
 public:
  explicit Session(const std::string& script, const std::string& library = "libcupti.so")
      : driver_(script), path_(FakeFile(library)) {
    setenv("WARPGAUGE_CUPTI", path_.c_str(), 1);  // where the simulated libcuda feeds
    void* const cuda = dlopen(FakeDriver::Cuda().c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE(cuda != nullptr);
    cupti_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE(cupti_ != nullptr);
    REQUIRE(reinterpret_cast<int (*)(unsigned)>(dlsym(cuda, "cuInit"))(0) == 0);
    // Reads the script anew.
    uint32_t version = 0;
    Function<int(uint32_t*)>("cuptiGetVersion")(&version);
  }
  [[nodiscard]] wg_reason Start(const TestRing& ring, wg_lane_writer* writer = &Writer()) const {
    REQUIRE(wg_lane_attach_mapped(writer, ring.header()) == 0);
    REQUIRE(writer->lane == ring.lane(0));
    wg_activity_options options{};
    options.cupti_override = path_.c_str();
    options.in_process = 1;
    return wg_activity_start(writer, &options);
  }
  template <typename F>
  [[nodiscard]] F* Function(const char* name) const {
    void* const found = dlsym(cupti_, name);
    REQUIRE(found != nullptr);
    return reinterpret_cast<F*>(found);
  }
  // The simulated libcuda tells only the first library that it found.
  void Initialized() const {
    Function<void(int, void*)>("warpgauge_fake_cupti_event")(FAKE_INITIALIZED, nullptr);
  }
  [[nodiscard]] int Feed(const fake_activity& activity) const {
    return Function<int(const fake_activity*)>("warpgauge_fake_cupti_record")(&activity);
  }
  [[nodiscard]] uint64_t Generate(uint64_t records, uint64_t per_second = 0) const {
    return Function<uint64_t(uint64_t, uint64_t)>("warpgauge_fake_cupti_generate")(records,
                                                                                   per_second);
  }
  [[nodiscard]] std::string Violation() const {
    return Function<const char*()>("warpgauge_fake_cupti_violation")();
  }

 private:
  FakeDriver driver_;
  std::string path_;
  void* cupti_ = nullptr;
};

fake_activity Copy(uint64_t bytes, uint32_t correlation) {
  fake_activity copy{};
  copy.kind = WG_CUPTI_MEMCPY;
  copy.correlation = correlation;
  copy.context = 1;
  copy.stream = 7;
  copy.start_ns = static_cast<uint64_t>(MonotonicNs());
  copy.end_ns = copy.start_ns + 1000;
  copy.of.copy.bytes = bytes;
  copy.of.copy.copy_kind = 1;
  copy.of.copy.source = 1;
  copy.of.copy.destination = 3;
  copy.of.copy.async = 1;
  return copy;
}

fake_activity Kernel(const char* name) {
  fake_activity kernel{};
  kernel.kind = WG_CUPTI_CONCURRENT_KERNEL;
  kernel.name = name;
  kernel.start_ns = static_cast<uint64_t>(MonotonicNs());
  kernel.end_ns = kernel.start_ns + 500;
  kernel.of.kernel.grid[0] = 64;
  kernel.of.kernel.registers_per_thread = 32;
  return kernel;
}

fake_activity Call(uint32_t kind, uint32_t cbid) {
  fake_activity call{};
  call.kind = kind;
  call.of.api.cbid = cbid;
  call.start_ns = static_cast<uint64_t>(MonotonicNs());
  call.end_ns = call.start_ns + 10;
  return call;
}

TEST_CASE("records of this process, with names, devices and clocks, from every toolkit") {
  struct Toolkit {
    const char* generation;
    const char* library;
    bool has_copies, has_cluster, can_select;
  };
  const Toolkit toolkits[] = {
      {"11.4", "cupti-11.4/libcupti.so", false, false, false},
      {"11.8", "cupti-11.8/libcupti.so", false, true, false},
      {"12.8", "cupti-12.8/libcupti.so", true, true, true},
      {"13.0", "libcupti.so", true, true, true},
  };
  for (const Toolkit& toolkit : toolkits) {
    CAPTURE(toolkit.generation);
    const Session session("", toolkit.library);
    const TestRing ring;
    // Unified memory can be had only when CUDA is initialized, whether that is so already or not.
    if (toolkit.can_select) session.Initialized();
    REQUIRE(session.Start(ring) == WG_REASON_NONE);
    if (!toolkit.can_select) session.Initialized();
    CHECK(ring.state(0) == WG_LANE_TRACING);
    CHECK(Wait([&] { return __atomic_load_n(&ring.lane(0)->kinds, __ATOMIC_RELAXED) == 0x7fe; }));
    CHECK(session.Feed(Copy(4096, 1)) == 1);
    CHECK(session.Feed(Copy(8192, 2)) == 1);
    CHECK(session.Feed(Kernel("_Z3addPfS_")) == 1);
    CHECK(session.Feed(Kernel(std::string(300, 'k').c_str())) == 1);
    CHECK(session.Feed(Kernel("_Z3addPfS_")) == 1);
    static_cast<void>(session.Feed(Call(WG_CUPTI_DRIVER, 279)));  // cuMemcpyDtoHAsync_v2
    static_cast<void>(session.Feed(Call(WG_CUPTI_DRIVER, 307)));  // cuLaunchKernel: not asked for
    static_cast<void>(session.Feed(Call(WG_CUPTI_RUNTIME, 41)));  // cudaMemcpyAsync
    const int64_t before = MonotonicNs();
    REQUIRE(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20'000) == 0);
    CHECK(ring.state(0) == WG_LANE_ENDED);

    const std::vector<wg_record> records = ring.Take(0);
    const auto names = NamesOf(records);
    CHECK(CountKind(records, WG_RECORD_MEMCPY) == 2);
    CHECK(CountKind(records, WG_RECORD_KERNEL) == 3);
    CHECK(CountKind(records, WG_RECORD_API) == 2);
    CHECK(CountKind(records, WG_RECORD_DEVICE) >= 1);
    CHECK(CountKind(records, WG_RECORD_CLOCK) >= 1);
    uint64_t bytes = 0;
    for (const wg_record& record : records) {
      if (record.kind == WG_RECORD_MEMCPY) {
        bytes += record.of.memcpy.bytes;
        CHECK(((record.flags & WG_FLAG_COPIES) != 0) == toolkit.has_copies);
        CHECK((record.flags & WG_FLAG_ASYNC) != 0);
        CHECK(record.stream == 7);
      } else if (record.kind == WG_RECORD_KERNEL) {
        CHECK(((record.flags & WG_FLAG_CLUSTER) != 0) == toolkit.has_cluster);
        CHECK(record.of.kernel.grid_x == 64);
        const std::string name = names.at(record.name);
        CHECK((name == "_Z3addPfS_" || name == std::string(300, 'k')));
      } else if (record.kind == WG_RECORD_API) {
        const bool is_runtime = (record.flags & WG_FLAG_RUNTIME) != 0;
        CHECK(names.at(record.name).find(is_runtime ? "cudaMemcpyAsync" : "cuMemcpyDtoHAsync_v2") ==
              0);
        CHECK(record.of.api.tid == static_cast<uint32_t>(gettid()));
      } else if (record.kind == WG_RECORD_DEVICE) {
        CHECK(std::string(record.of.device.device_name).find("Simulated") == 0);
        CHECK(std::string(record.of.device.pci).size() == 12);
        CHECK(record.of.device.uuid[0] != 0);
      } else if (record.kind == WG_RECORD_CLOCK) {
        const auto& clock = record.of.clock;
        CHECK(clock.monotonic_before_ns <= clock.monotonic_after_ns);
        CHECK(clock.monotonic_before_ns > before - 60'000'000'000);
        CHECK(std::abs(static_cast<int64_t>(record.start) - clock.realtime_ns) < 10'000'000);
      }
    }
    CHECK(bytes == 12'288);
    const wg_lane& lane = *ring.lane(0);
    CHECK(lane.simulated == 1);
    CHECK(lane.reason == WG_REASON_NONE);
    CHECK(std::string(lane.cupti_path).find(toolkit.library) != std::string::npos);
    CHECK(lane.cupti_version != 0);
    CHECK(lane.driver_version != 0);
    CHECK(lane.dropped + lane.dropped_cupti + lane.dropped_names + lane.unknown == 0);
    CHECK(lane.flushes >= 1);
    CHECK(lane.buffers >= 1);
    CHECK(lane.cpu_ns > 0);
    // Older libraries cannot select calls, and all are recorded: we leave the others out.
    CHECK(session.Violation().empty());
  }
}

TEST_CASE("pause and go on by the reader's word, and its end") {
  const Session session("");
  const TestRing ring;
  ring.Run(WG_RUN_PAUSED);
  REQUIRE(session.Start(ring) == WG_REASON_NONE);
  CHECK(ring.state(0) == WG_LANE_ATTACHED);
  CHECK(session.Feed(Copy(1, 1)) == 0);  // nobody wants it
  ring.Run(WG_RUN_TRACING);
  REQUIRE(Wait([&] { return ring.state(0) == WG_LANE_TRACING; }));
  CHECK(session.Feed(Copy(2, 2)) == 1);
  ring.Run(WG_RUN_PAUSED);
  REQUIRE(Wait([&] { return session.Feed(Copy(4, 3)) == 0; }));
  ring.Run(WG_RUN_TRACING);
  REQUIRE(Wait([&] { return session.Feed(Copy(1000, 4)) == 1; }));
  std::vector<wg_record> all;
  REQUIRE(Wait([&] {
    for (const wg_record& record : ring.Take(0)) all.push_back(record);
    return !all.empty() && CountKind(all, WG_RECORD_MEMCPY) >= 2 &&
           std::any_of(all.begin(), all.end(), [](const wg_record& record) {
             return record.kind == WG_RECORD_MEMCPY && record.of.memcpy.bytes == 1000;
           });
  }));
  for (const wg_record& record : all) {
    if (record.kind == WG_RECORD_MEMCPY) CHECK(record.of.memcpy.bytes != 1);
  }
  ring.Run(WG_RUN_ENDED);
  REQUIRE(Wait([&] { return ring.state(0) == WG_LANE_ENDED; }));
  CHECK(session.Feed(Copy(1, 5)) == 0);
  CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 1000) == 0);
  // CUPTI was given back: another one may have it, and so may we again.
  void* other = nullptr;
  using Subscribe = int(void**, void*, void*);
  CHECK(session.Function<Subscribe>("cuptiSubscribe")(&other, nullptr, nullptr) == 0);
  CHECK(session.Function<int(void*)>("cuptiUnsubscribe")(other) == 0);
  const TestRing again;
  REQUIRE(session.Start(again) == WG_REASON_NONE);
  CHECK(session.Feed(Copy(5, 1)) == 1);
  CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20'000) == 0);
  CHECK(CountKind(again.Take(0), WG_RECORD_MEMCPY) == 1);
  CHECK(session.Violation().empty());
}

TEST_CASE("exit() between any two instructions of a thread that begins ours") {
  if (!kCanSingleStep) {
    std::printf("exit() at every instruction: skipped: no single steps here\n");
    return;
  }
  const Session session("");
  auto* const initialized = session.Function<void(int, void*)>("warpgauge_fake_cupti_event");
  const TestRing ring(1, 64);
  wg_activity_options options{};
  const std::string path = FakeFile("libcupti.so");
  options.cupti_override = path.c_str();
  bool has_thread = false;
  uint64_t moments = 0;
  while (!has_thread) {
    ring.lane(0)->state = WG_LANE_FREE;
    ring.lane(0)->tail = ring.lane(0)->head;
    REQUIRE(wg_lane_attach_mapped(&Writer(), ring.header()) == 0);
    REQUIRE(wg_activity_start(&Writer(), &options) == WG_REASON_NONE);
    SingleStep steps([&](uint64_t step) {
      if (step < moments) return true;
      has_thread = wg_activity_stop(WG_STOP_EXIT, 0) != 0;
      return false;
    });
    steps.Begin();
    initialized(FAKE_INITIALIZED, nullptr);
    steps.End();
    REQUIRE(steps.steps() == ++moments);
    if (!has_thread) REQUIRE(ring.state(0) == WG_LANE_ENDED);
  }
  CHECK(moments > 50);
  // The last of them came too late to prevent the thread, which ends as if it had been there.
  REQUIRE(Wait([] { return wg_activity_stop(WG_STOP_EXIT, 1000) == 0; }));
  CHECK(ring.state(0) == WG_LANE_ENDED);
  const TestRing after;
  REQUIRE(session.Start(after) == WG_REASON_NONE);
  CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20'000) == 0);
}

TEST_CASE("two at a time are refused") {
  const Session session("");
  const TestRing ring;
  REQUIRE(session.Start(ring) == WG_REASON_NONE);
  static auto& second = *new wg_lane_writer;
  REQUIRE(wg_lane_attach_mapped(&second, ring.header()) == 0);
  wg_activity_options options{};
  options.in_process = 1;
  CHECK(wg_activity_start(&second, &options) == WG_REASON_BUSY);
  CHECK(ring.state(1) == WG_LANE_REFUSED);
  CHECK(ring.lane(1)->reason == WG_REASON_BUSY);
  CHECK(ring.state(0) == WG_LANE_TRACING);
  CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20'000) == 0);
  CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20'000) == 0);  // twice is once
}

TEST_CASE("why it cannot be traced stands in the lane") {
  struct Case {
    const char* script;
    const char* library;
    wg_reason reason;
    int code;
    const char* detail;
  };
  const Case cases[] = {
      {"cupti_foreign_subscriber = 1\n", "libcupti.so", WG_REASON_BUSY, 39, "cuptiSubscribe: "},
      {"error.cuptiSubscribe = 35\n", "libcupti.so", WG_REASON_PRIVILEGE, 35, "cuptiSubscribe: "},
      {"error.cuptiSubscribe = 999\n", "libcupti.so", WG_REASON_CUPTI_ERROR, 999, "cuptiSubscribe"},
      {"driver_version = 12020\nerror.cuptiSubscribe = 15\n",
       "libcupti.so",
       WG_REASON_CUPTI_TOO_NEW,
       15,
       "cuptiSubscribe: "},
      {"error.cuptiActivityRegisterCallbacks = 999\n",
       "libcupti.so",
       WG_REASON_CUPTI_ERROR,
       999,
       "cuptiActivityRegisterCallbacks"},
      {"error.cuptiActivityEnable = 40\nerror.cuptiActivityEnableDriverApi = 40\n",
       "libcupti.so",
       WG_REASON_PRIVILEGE,
       40,
       "cuptiActivityEnable"},
  };
  for (const Case& want : cases) {
    CAPTURE(want.script);
    const Session session(want.script, want.library);
    const TestRing ring;
    CHECK(session.Start(ring) == want.reason);
    CHECK(ring.state(0) == WG_LANE_REFUSED);
    CHECK(ring.lane(0)->reason == static_cast<uint32_t>(want.reason));
    CHECK(ring.lane(0)->code == want.code);
    CAPTURE(std::string(ring.lane(0)->detail));
    CHECK(std::string(ring.lane(0)->detail).find(want.detail) == 0);
    CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 1000) == 0);
  }
  // And after all that it works.
  const Session session("");
  const TestRing ring;
  CHECK(session.Start(ring) == WG_REASON_NONE);
  CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20'000) == 0);
}

TEST_CASE("no library, and one that is no CUPTI") {
  const auto start = [](const TestRing& ring, const char* path) {
    REQUIRE(wg_lane_attach_mapped(&Writer(), ring.header()) == 0);
    wg_activity_options options{};
    options.cupti_override = path;
    options.in_process = 1;
    return wg_activity_start(&Writer(), &options);
  };
  const TestRing none;
  CHECK(start(none, "/nowhere/libcupti.so") == WG_REASON_NO_CUPTI);
  CHECK(std::string(none.lane(0)->detail).find("/nowhere/libcupti.so") != std::string::npos);
  const TestRing other;
  CHECK(start(other, FakeFile("libnvidia-ml.so.1").c_str()) == WG_REASON_CUPTI_TOO_OLD);
  CHECK(std::string(other.lane(0)->detail).find("has no function cuptiGetVersion") !=
        std::string::npos);
}

TEST_CASE("a clock that is not CLOCK_REALTIME is said") {
  const Session session("cupti_clock = boottime\n");
  const TestRing ring;
  REQUIRE(session.Start(ring) == WG_REASON_NONE);
  CHECK(Wait([&] {
    return __atomic_load_n(&ring.lane(0)->reason, __ATOMIC_ACQUIRE) == WG_REASON_FOREIGN_CLOCK;
  }));
  CHECK(ring.state(0) == WG_LANE_TRACING);
  CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20'000) == 0);
}

TEST_CASE("what CUPTI did not know or lost is counted") {
  const Session session("cupti_zero_time = 4\ncupti_dropped = 7,0\n");
  const TestRing ring;
  REQUIRE(session.Start(ring) == WG_REASON_NONE);
  for (uint32_t i = 0; i < 100; i++) CHECK(session.Feed(Copy(64, i)) == 1);
  CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20'000) == 0);
  const wg_lane& lane = *ring.lane(0);
  CHECK(lane.without_time == 25);
  CHECK(CountKind(ring.Take(0), WG_RECORD_MEMCPY) == 75);
  CHECK(lane.dropped_cupti == 7);
}

TEST_CASE("a reader that is late costs records, which are counted, and never the application") {
  const Session session("");
  const TestRing ring(1, 1024);
  ring.header()->pool_bytes = 1 << 20;
  REQUIRE(session.Start(ring) == WG_REASON_NONE);
  constexpr uint64_t kRecords = 60'000;
  const Clock::time_point before = Clock::now();
  CHECK(session.Generate(kRecords) <= kRecords);
  const auto took = Clock::now() - before;
  if (!kSanitized) CHECK(took < std::chrono::seconds(10));
  // Now it reads; the rest comes.
  std::vector<wg_record> all;
  const auto drain = [&] {
    for (const wg_record& record : ring.Take(0)) all.push_back(record);
  };
  std::thread stopper([] { CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20'000) == 0); });
  REQUIRE(Wait([&] {
    drain();
    return ring.state(0) == WG_LANE_ENDED;
  }));
  stopper.join();
  drain();
  const wg_lane& lane = *ring.lane(0);
  const uint64_t written = CountKind(all, WG_RECORD_MEMCPY) + CountKind(all, WG_RECORD_KERNEL);
  CHECK(written >= 1000);
  CHECK(lane.dropped > 0);
  CHECK(lane.waits > 0);
  CHECK(written + lane.dropped + lane.dropped_cupti == kRecords);
  CHECK(session.Violation().empty());
  NamesOf(all);
}

TEST_CASE("a reader that is gone holds up nobody for longer than was said") {
  const Session session("");
  const TestRing ring(1, 64);
  REQUIRE(session.Start(ring) == WG_REASON_NONE);
  static_cast<void>(session.Generate(2000));
  const Clock::time_point before = Clock::now();
  const int first = wg_activity_stop(WG_STOP_UNSUBSCRIBE, 500);
  // By then the thread has given up; a busy machine may let it say so later only.
  CHECK((first == 0 || first == ETIMEDOUT));
  CHECK(Clock::now() - before < std::chrono::seconds(3));
  REQUIRE(Wait([] { return wg_activity_stop(WG_STOP_UNSUBSCRIBE, 500) == 0; }));
  CHECK(ring.state(0) == WG_LANE_ENDED);
  CHECK(ring.lane(0)->head == 64);
  CHECK(ring.lane(0)->dropped > 0);
}

TEST_CASE("a flush that hangs is not waited for, and tracing can begin again once it has ended") {
  const Session session("latency_us.cuptiActivityFlushAll = 800000\n");
  static auto& ring = *new TestRing(2);
  static auto& hung = *new wg_lane_writer;  // the thread's until it ends
  REQUIRE(session.Start(ring, &hung) == WG_REASON_NONE);
  CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20) == ETIMEDOUT);
  static auto& second = *new wg_lane_writer;
  REQUIRE(wg_lane_attach_mapped(&second, ring.header()) == 0);
  wg_activity_options options{};
  options.in_process = 1;
  CHECK(wg_activity_start(&second, &options) == WG_REASON_BUSY);
  REQUIRE(Wait([&] { return ring.state(0) == WG_LANE_ENDED; }));
  REQUIRE(Wait([&] {
    const TestRing again;
    if (session.Start(again) != WG_REASON_NONE) return false;
    CHECK(wg_activity_stop(WG_STOP_UNSUBSCRIBE, 20'000) == 0);
    return true;
  }));
}

}  // namespace
}  // namespace warpgauge
