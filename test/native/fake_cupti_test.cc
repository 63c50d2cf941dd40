// The simulated libcupti keeps CUPTI's own protocol, traps included: what its client is tested
// against has to behave as NVIDIA documents it.
#include "fake_cupti.h"

#include <doctest/doctest.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

namespace warpgauge {
namespace {

constexpr int kMemcpy = 1;
constexpr int kMemset = 2;
constexpr int kDriverApi = 4;
constexpr int kKernel = 10;
constexpr int kPeerMemcpy = 22;
constexpr int kManaged = 25;
constexpr int kExternal = 39;

// 4096 bytes hold 42 copies of 96 bytes.
constexpr size_t kCopiesPerBuffer = 42;

uint64_t ClockNs(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

fake_activity CopyOf(uint64_t bytes) {
  fake_activity activity = SomeActivity(kMemcpy);
  activity.of.copy.bytes = bytes;
  return activity;
}

TEST_CASE("a full buffer comes by itself, from another thread, and a part of one only on a flush") {
  const FakeDriver fake("");
  const FakeCupti cupti;
  CuptiClient client(cupti);
  REQUIRE(cupti.Enable(kMemcpy) == 0);
  const fake_activity copy = SomeActivity(kMemcpy);
  for (size_t i = 0; i <= kCopiesPerBuffer; ++i) REQUIRE(cupti.record(&copy) == 1);
  CHECK(client.requests() == 2);
  CHECK(client.request_thread() == std::this_thread::get_id());
  std::vector<std::vector<uint8_t>> records;
  for (int tries = 0; records.empty() && tries < 1000; ++tries) {
    usleep(1000);
    records = client.Take();
  }
  CHECK(records.size() == kCopiesPerBuffer);
  CHECK(client.complete_thread() != std::this_thread::get_id());
  usleep(20'000);
  CHECK(client.Take().empty());
  REQUIRE(cupti.FlushAll(0) == 0);
  CHECK(client.Take().size() == 1);  // the flush has waited for the delivery
  REQUIRE(cupti.FlushAll(0) == 0);
  CHECK(client.Take().empty());
}

TEST_CASE("a buffer with an unfinished record waits; a forced flush gives it without times") {
  const FakeDriver fake("");
  const FakeCupti cupti;
  CuptiClient client(cupti);
  REQUIRE(cupti.Enable(kMemcpy) == 0);
  const fake_activity copy = SomeActivity(kMemcpy);
  REQUIRE(cupti.record(&copy) == 1);
  const fake_ticket late = cupti.queue(&copy);
  REQUIRE(late.serial != 0);
  REQUIRE(cupti.FlushAll(0) == 0);
  CHECK(client.Take().empty());

  SUBCASE("until it is finished") {
    cupti.finish(&late, 5'000'000, 6'000'000);
    REQUIRE(cupti.FlushAll(0) == 0);
    const std::vector<std::vector<uint8_t>> records = client.Take();
    REQUIRE(records.size() == 2);
    for (const std::vector<uint8_t>& record : records) {
      const uint64_t duration = FieldOf<uint64_t>(record, 24) - FieldOf<uint64_t>(record, 16);
      CHECK((duration == 1'000'000 || duration == 2'500));
    }
  }
  SUBCASE("even when it is full") {
    for (size_t i = 0; i < kCopiesPerBuffer; ++i) REQUIRE(cupti.record(&copy) == 1);
    REQUIRE(cupti.FlushAll(0) == 0);
    CHECK(client.Take().size() == 2);  // those of the second buffer
    cupti.finish(&late, 5'000'000, 6'000'000);
    REQUIRE(cupti.FlushAll(0) == 0);
    CHECK(client.Take().size() == kCopiesPerBuffer);
  }
  SUBCASE("or until somebody forces it") {
    REQUIRE(cupti.FlushAll(1) == 0);
    const std::vector<std::vector<uint8_t>> records = client.Take();
    REQUIRE(records.size() == 2);
    const auto without_time = [](const std::vector<uint8_t>& record) {
      return FieldOf<uint64_t>(record, 16) == 0 && FieldOf<uint64_t>(record, 24) == 0;
    };
    CHECK(std::count_if(records.begin(), records.end(), without_time) == 1);
    cupti.finish(&late, 5'000'000, 6'000'000);  // the buffer is the client's: nothing is written
    REQUIRE(cupti.FlushAll(1) == 0);
    CHECK(client.Take().empty());
  }
}

TEST_CASE("records come in no order, unless the script wants one") {
  for (const bool shuffled : {true, false}) {
    const FakeDriver fake(shuffled ? "" : "cupti_shuffle = 0\n");
    const FakeCupti cupti;
    CuptiClient client(cupti);
    REQUIRE(cupti.Enable(kMemcpy) == 0);
    for (uint64_t bytes = 1; bytes <= 3; ++bytes) {
      const fake_activity copy = CopyOf(bytes);
      REQUIRE(cupti.record(&copy) == 1);
    }
    REQUIRE(cupti.FlushAll(0) == 0);
    std::vector<uint64_t> order;
    for (const auto& record : client.Take()) order.push_back(FieldOf<uint64_t>(record, 8));
    CHECK(order == (shuffled ? std::vector<uint64_t>{2, 1, 3} : std::vector<uint64_t>{1, 2, 3}));
  }
}

TEST_CASE("what the client has no buffer for is dropped and counted once") {
  const FakeDriver fake("cupti_dropped = 0,7,0\n");
  const FakeCupti cupti;
  size_t dropped = 99;
  CuptiClient client(cupti);
  REQUIRE(cupti.Enable(kMemcpy) == 0);
  const fake_activity copy = SomeActivity(kMemcpy);
  client.answer = CuptiClient::Answer::kNothing;
  CHECK(cupti.record(&copy) == -1);
  CHECK(cupti.record(&copy) == -1);
  client.answer = CuptiClient::Answer::kBuffer;
  CHECK(cupti.record(&copy) == 1);
  REQUIRE(cupti.GetNumDroppedRecords(nullptr, 0, &dropped) == 0);
  CHECK(dropped == 2);
  REQUIRE(cupti.GetNumDroppedRecords(nullptr, 0, &dropped) == 0);
  CHECK(dropped == 7);
  REQUIRE(cupti.GetNumDroppedRecords(nullptr, 0, &dropped) == 0);
  CHECK(dropped == 0);
  REQUIRE(cupti.FlushAll(0) == 0);
  CHECK(client.Take().size() == 1);
  CHECK(std::string(cupti.violation()).empty());
}

TEST_CASE("buffers that the real library could not use are told, and so is a promise not kept") {
  const FakeDriver fake("");
  const FakeCupti cupti;
  CuptiClient client(cupti);
  REQUIRE(cupti.Enable(kMemcpy) == 0);
  const fake_activity copy = SomeActivity(kMemcpy);
  SUBCASE("not aligned") {
    client.answer = CuptiClient::Answer::kMisaligned;
    CHECK(cupti.record(&copy) == -1);
    CHECK(std::string(cupti.violation()).find("aligned") != std::string::npos);
  }
  SUBCASE("not zeroed, although attribute 5 says so") {
    uint8_t yes = 1;
    size_t size = sizeof(yes);
    REQUIRE(cupti.SetAttribute(5, &size, &yes) == 0);
    client.answer = CuptiClient::Answer::kDirty;
    CHECK(cupti.record(&copy) == 1);
    CHECK(std::string(cupti.violation()).find("zeroed") != std::string::npos);
  }
  SUBCASE("not zeroed, and CUPTI does it") {
    client.answer = CuptiClient::Answer::kDirty;
    CHECK(cupti.record(&copy) == 1);
    CHECK(std::string(cupti.violation()).empty());
  }
}

TEST_CASE("a buffer that is too small goes back empty; a bound on records is kept") {
  const FakeDriver fake("");
  const FakeCupti cupti;
  const fake_activity copy = SomeActivity(kMemcpy);
  SUBCASE("too small") {
    CuptiClient client(cupti, 64);
    REQUIRE(cupti.Enable(kMemcpy) == 0);
    CHECK(cupti.record(&copy) == -1);
    REQUIRE(cupti.FlushAll(0) == 0);
    const std::vector<std::vector<uint8_t>> buffers = client.TakeBuffers();
    REQUIRE(buffers.size() == 1);
    CHECK(buffers[0].empty());
  }
  SUBCASE("two records each") {
    CuptiClient client(cupti, 4096, 2);
    REQUIRE(cupti.Enable(kMemcpy) == 0);
    for (int i = 0; i < 5; ++i) REQUIRE(cupti.record(&copy) == 1);
    REQUIRE(cupti.FlushAll(0) == 0);
    CHECK(client.requests() == 3);
    CHECK(client.Take().size() == 5);
  }
}

TEST_CASE("one buffer for all threads or one for each, as attribute 9 and the toolkit have it") {
  struct Case {
    const char* script;
    int get;        // what reading attribute 9 answers
    int set;        // -1: the default stays
    size_t wanted;  // buffers for two threads
  };
  for (const Case& one : {Case{"", 0, -1, 2},
                          Case{"", 0, 0, 1},
                          Case{"cupti_generation = 12.8", 0, -1, 1},
                          Case{"cupti_generation = 12.8", 0, 1, 2},
                          Case{"cupti_generation = 11.8", 1, -1, 1}}) {
    CAPTURE(one.script);
    const FakeDriver fake(one.script);
    const FakeCupti cupti;
    CuptiClient client(cupti);
    uint8_t value = 0;
    size_t size = sizeof(value);
    CHECK(cupti.GetAttribute(9, &size, &value) == one.get);
    if (one.set >= 0) {
      value = static_cast<uint8_t>(one.set);
      REQUIRE(cupti.SetAttribute(9, &size, &value) == 0);
    }
    REQUIRE(cupti.Enable(kMemcpy) == 0);
    const fake_activity copy = SomeActivity(kMemcpy);
    REQUIRE(cupti.record(&copy) == 1);
    std::thread([&] { CHECK(cupti.record(&copy) == 1); }).join();
    REQUIRE(cupti.FlushAll(0) == 0);
    CHECK(client.requests() == one.wanted);
    CHECK(client.Take().size() == 2);
  }
}

TEST_CASE("one subscriber; refusals and errors come as the script has them") {
  void* first = nullptr;
  void* second = nullptr;
  {
    const FakeDriver fake("error.cuptiActivityEnable = 28@2\n");
    const FakeCupti cupti;
    REQUIRE(cupti.Subscribe(&first, nullptr, nullptr) == 0);
    CHECK(cupti.Subscribe(&second, nullptr, nullptr) == 39);
    REQUIRE(cupti.Unsubscribe(first) == 0);
    CHECK(cupti.Unsubscribe(first) == 1);
    REQUIRE(cupti.Subscribe(&second, nullptr, nullptr) == 0);
    CHECK(cupti.Enable(kMemcpy) == 0);
    CHECK(cupti.Enable(kMemset) == 28);
    CHECK(fake.Count("cuptiSubscribe") == 3);
  }
  for (const auto& [script, code] : {std::pair{"cupti_foreign_subscriber = 1", 39},
                                     std::pair{"error.cuptiSubscribe = 35@1", 35},
                                     std::pair{"error.cuptiSubscribe = 15@1", 15}}) {
    const FakeDriver fake(script);
    const FakeCupti cupti;
    CHECK(cupti.Subscribe(&first, nullptr, nullptr) == code);
  }
  const FakeDriver fake("");
  const FakeCupti cupti;
  CHECK(cupti.Subscribe(&first, nullptr, nullptr) == 0);
  CHECK(cupti.Enable(7) == 21);
  CHECK(cupti.RegisterCallbacks(nullptr, nullptr) == 1);
}

TEST_CASE("only what is enabled is recorded; memcpy brings the copies between devices along") {
  const FakeDriver fake("");
  const FakeCupti cupti;
  CuptiClient client(cupti);
  const fake_activity copy = SomeActivity(kMemcpy);
  const fake_activity peer = SomeActivity(kPeerMemcpy);
  CHECK(cupti.record(&copy) == 0);
  CHECK(cupti.queue(&copy).serial == 0);
  REQUIRE(cupti.Enable(kMemcpy) == 0);
  CHECK(cupti.record(&copy) == 1);
  CHECK(cupti.record(&peer) == 1);
  REQUIRE(cupti.Disable(kMemcpy) == 0);
  CHECK(cupti.record(&copy) == 0);
  CHECK(cupti.record(&peer) == 0);
}

TEST_CASE(
    "calls: single ones by their id, the pushed ids before them, correlation only with them") {
  const FakeDriver fake("cupti_shuffle = 0\n");
  const FakeCupti cupti;
  CuptiClient client(cupti);
  const fake_activity copy = SomeActivity(kMemcpy);
  fake_activity call = SomeActivity(kDriverApi);
  REQUIRE(cupti.Enable(kMemcpy) == 0);
  REQUIRE(cupti.record(&copy) == 1);
  REQUIRE(cupti.Enable(kExternal) == 0);
  REQUIRE(cupti.Enable(kDriverApi) == 0);
  REQUIRE(cupti.SetThreadIdType(1) == 0);
  REQUIRE(cupti.PushExternalCorrelationId(3, 41) == 0);
  REQUIRE(cupti.PushExternalCorrelationId(3, 42) == 0);
  REQUIRE(cupti.record(&copy) == 1);
  REQUIRE(cupti.record(&call) == 1);
  uint64_t last = 0;
  CHECK(cupti.PopExternalCorrelationId(3, &last) == 0);
  CHECK(last == 42);
  CHECK(cupti.PopExternalCorrelationId(3, &last) == 0);
  CHECK(cupti.PopExternalCorrelationId(3, &last) == 18);
  REQUIRE(cupti.EnableDriverApi(279, 1) == 0);
  CHECK(cupti.record(&call) == 0);
  call.of.api.cbid = 279;
  CHECK(cupti.record(&call) == 1);
  REQUIRE(cupti.FlushAll(0) == 0);

  const std::vector<std::vector<uint8_t>> records = client.Take();
  REQUIRE(records.size() == 5);
  CHECK(FieldOf<uint32_t>(records[0], 44) == 0);
  CHECK(FieldOf<uint32_t>(records[1], 44) == 77);
  CHECK(KindOf(records[2]) == kExternal);
  CHECK(FieldOf<uint32_t>(records[2], 4) == 3);
  CHECK(FieldOf<uint64_t>(records[2], 8) == 42);
  CHECK(FieldOf<uint32_t>(records[2], 16) == 77);
  CHECK(KindOf(records[3]) == kDriverApi);
  CHECK(FieldOf<uint32_t>(records[3], 24) == static_cast<uint32_t>(getpid()));
  CHECK(FieldOf<uint32_t>(records[3], 28) == static_cast<uint32_t>(gettid()));
  CHECK(FieldOf<uint32_t>(records[4], 4) == 279);
}

TEST_CASE("times are on CUPTI's clock: REALTIME, another, the client's own, or not known") {
  const auto offset_of = [](const char* script, clockid_t clock, uint64_t (*callback)()) {
    const FakeDriver fake(script);
    const FakeCupti cupti;
    CuptiClient client(cupti);
    if (callback != nullptr) REQUIRE(cupti.RegisterTimestampCallback(callback) == 0);
    REQUIRE(cupti.Enable(kMemcpy) == 0);
    fake_activity copy = SomeActivity(kMemcpy);
    copy.start_ns = ClockNs(CLOCK_MONOTONIC);
    const uint64_t wanted = clock < 0 ? 0 : ClockNs(clock);
    copy.end_ns = copy.start_ns + 500;
    REQUIRE(cupti.record(&copy) == 1);
    uint64_t now = 0;
    REQUIRE(cupti.GetTimestamp(&now) == 0);
    REQUIRE(cupti.FlushAll(0) == 0);
    const std::vector<std::vector<uint8_t>> records = client.Take();
    REQUIRE(records.size() == 1);
    const auto start = FieldOf<uint64_t>(records[0], 16);
    CHECK(FieldOf<uint64_t>(records[0], 24) == start + 500);
    CHECK(now >= start);
    return static_cast<int64_t>(start - wanted);
  };
  // Between two readings of two clocks lies whatever the machine does meanwhile.
  constexpr int64_t kApart = 100'000'000;
  CHECK(std::abs(offset_of("", CLOCK_REALTIME, nullptr)) < kApart);
  CHECK(std::abs(offset_of("cupti_clock = monotonic", CLOCK_MONOTONIC, nullptr)) < kApart);
  CHECK(std::abs(offset_of("cupti_clock_offset_ns = 5000000000", CLOCK_REALTIME, nullptr) -
                 5'000'000'000) < kApart);
  CHECK(std::abs(offset_of("", CLOCK_MONOTONIC_RAW, [] { return ClockNs(CLOCK_MONOTONIC_RAW); })) <
        kApart);

  const FakeDriver fake("cupti_zero_time = 3\n");
  const FakeCupti cupti;
  CuptiClient client(cupti);
  REQUIRE(cupti.Enable(kMemcpy) == 0);
  const fake_activity copy = SomeActivity(kMemcpy);
  for (int i = 0; i < 7; ++i) REQUIRE(cupti.record(&copy) == 1);
  REQUIRE(cupti.FlushAll(0) == 0);
  int without_time = 0;
  for (const auto& record : client.Take()) {
    without_time += FieldOf<uint64_t>(record, 16) == 0 && FieldOf<uint64_t>(record, 24) == 0;
  }
  CHECK(without_time == 2);
}

TEST_CASE("unified memory needs an initialized driver and a configuration") {
  static int calls;
  calls = 0;
  const FakeDriver fake("");
  const FakeCupti cupti;
  CuptiClient client(cupti);
  void* subscriber = nullptr;
  const FakeCupti::Callback* const count = [](void*, int domain, uint32_t cbid, const void*) {
    calls += domain == 3 && cbid == FAKE_INITIALIZED;
  };
  REQUIRE(cupti.Subscribe(&subscriber, count, nullptr) == 0);
  REQUIRE(cupti.EnableCallback(1, subscriber, 3, FAKE_INITIALIZED) == 0);
  const uint32_t configuration[4] = {1, 1, 0, 1};
  CHECK(cupti.ConfigureUnifiedMemoryCounter(configuration, 1) == 15);
  const fake_activity moved = SomeActivity(kManaged);
  cupti.event(FAKE_CONTEXT_CREATED, nullptr);
  CHECK(calls == 0);
  cupti.event(FAKE_INITIALIZED, nullptr);
  CHECK(calls == 1);
  REQUIRE(cupti.ConfigureUnifiedMemoryCounter(configuration, 1) == 0);
  REQUIRE(cupti.Enable(kManaged) == 0);
  CHECK(cupti.record(&moved) == 1);
  CHECK(std::string(cupti.violation()).empty());
  REQUIRE(cupti.ConfigureUnifiedMemoryCounter(configuration, 1) == 0);
  CHECK(std::string(cupti.violation()).find("after it was enabled") != std::string::npos);
}

TEST_CASE("records in bulk: as many as were asked for, at the rate, what finds no buffer counted") {
  const FakeDriver fake("");
  const FakeCupti cupti;
  CuptiClient client(cupti, 65536);
  CHECK(cupti.generate(10, 0) == 0);
  REQUIRE(cupti.Enable(kMemcpy) == 0);
  REQUIRE(cupti.Enable(kKernel) == 0);
  CHECK(cupti.generate(10'001, 0) == 10'001);
  REQUIRE(cupti.FlushAll(1) == 0);
  size_t kernels = 0;
  size_t copies = 0;
  for (const auto& record : client.Take()) {
    kernels += KindOf(record) == kKernel;
    copies += KindOf(record) == kMemcpy;
    CHECK(FieldOf<uint64_t>(record, 24) > FieldOf<uint64_t>(record, 16));
  }
  CHECK(kernels == 5001);
  CHECK(copies == 5000);
  const uint64_t begin = ClockNs(CLOCK_MONOTONIC);
  CHECK(cupti.generate(2000, 20'000) == 2000);
  CHECK(ClockNs(CLOCK_MONOTONIC) - begin >= 95'000'000);
  REQUIRE(cupti.FlushAll(1) == 0);
  client.answer = CuptiClient::Answer::kNothing;
  CHECK(cupti.generate(100, 0) == 0);
  size_t dropped = 0;
  REQUIRE(cupti.GetNumDroppedRecords(nullptr, 0, &dropped) == 0);
  CHECK(dropped == 100);
}

TEST_CASE("a toolkit's file exports what there was then") {
  struct Toolkit {
    const char* file;
    uint32_t version;
    bool timestamp_callback, single_calls;
  };
  for (const Toolkit& one : {Toolkit{"cupti-11.4/libcupti.so", 15, false, false},
                             Toolkit{"cupti-11.6/libcupti.so", 17, true, false},
                             Toolkit{"cupti-11.8/libcupti.so", 18, true, false},
                             Toolkit{"cupti-12.0/libcupti.so", 19, true, false},
                             Toolkit{"cupti-12.8/libcupti.so", 26, true, true},
                             Toolkit{"libcupti.so", 130001, true, true}}) {
    CAPTURE(one.file);
    const FakeDriver fake("");
    const FakeCupti cupti(one.file);
    uint32_t version = 0;
    REQUIRE(cupti.GetVersion(&version) == 0);
    CHECK(version == one.version);
    CHECK((cupti.RegisterTimestampCallback != nullptr) == one.timestamp_callback);
    CHECK((cupti.EnableDriverApi != nullptr) == one.single_calls);
  }
}

}  // namespace
}  // namespace warpgauge
