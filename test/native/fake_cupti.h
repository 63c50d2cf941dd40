#pragma once

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/dynamic_library.h"
#include "fake/activity_feed.h"
#include "fake_driver.h"

namespace warpgauge {

// The functions of the simulated libcupti that its own tests call. What only newer toolkits have
// is null where the loaded file lacks it.
struct FakeCupti {
  using Request = void(uint8_t**, size_t*, size_t*);
  using Complete = void(void*, uint32_t, uint8_t*, size_t, size_t);
  using Callback = void(void*, int, uint32_t, const void*);

  int (*GetVersion)(uint32_t*) = nullptr;
  int (*GetTimestamp)(uint64_t*) = nullptr;
  int (*Subscribe)(void**, Callback*, void*) = nullptr;
  int (*Unsubscribe)(void*) = nullptr;
  int (*EnableCallback)(uint32_t, void*, int, uint32_t) = nullptr;
  int (*RegisterCallbacks)(Request*, Complete*) = nullptr;
  int (*Enable)(int) = nullptr;
  int (*Disable)(int) = nullptr;
  int (*EnableDriverApi)(uint32_t, uint8_t) = nullptr;
  int (*GetNextRecord)(uint8_t*, size_t, void**) = nullptr;
  int (*GetNumDroppedRecords)(void*, uint32_t, size_t*) = nullptr;
  int (*FlushAll)(uint32_t) = nullptr;
  int (*GetAttribute)(int, size_t*, void*) = nullptr;
  int (*SetAttribute)(int, size_t*, void*) = nullptr;
  int (*RegisterTimestampCallback)(uint64_t (*)()) = nullptr;
  int (*SetThreadIdType)(int) = nullptr;
  int (*ConfigureUnifiedMemoryCounter)(const void*, uint32_t) = nullptr;
  int (*PushExternalCorrelationId)(int, uint64_t) = nullptr;
  int (*PopExternalCorrelationId)(int, uint64_t*) = nullptr;

  decltype(&warpgauge_fake_cupti_record) record = nullptr;
  decltype(&warpgauge_fake_cupti_queue) queue = nullptr;
  decltype(&warpgauge_fake_cupti_finish) finish = nullptr;
  decltype(&warpgauge_fake_cupti_event) event = nullptr;
  decltype(&warpgauge_fake_cupti_generate) generate = nullptr;
  decltype(&warpgauge_fake_cupti_violation) violation = nullptr;

  explicit FakeCupti(const std::string& file = "libcupti.so") {
    const Result<DynamicLibrary> opened = DynamicLibrary::Open({FakeDriver::Folder() + "/" + file});
    REQUIRE_MESSAGE(opened.ok(), opened.status.message());
    const DynamicLibrary& library = opened.value;
    library.Load("cuptiGetVersion", &GetVersion);
    library.Load("cuptiGetTimestamp", &GetTimestamp);
    library.Load("cuptiSubscribe", &Subscribe);
    library.Load("cuptiUnsubscribe", &Unsubscribe);
    library.Load("cuptiEnableCallback", &EnableCallback);
    library.Load("cuptiActivityRegisterCallbacks", &RegisterCallbacks);
    library.Load("cuptiActivityEnable", &Enable);
    library.Load("cuptiActivityDisable", &Disable);
    library.Load("cuptiActivityEnableDriverApi", &EnableDriverApi);
    library.Load("cuptiActivityGetNextRecord", &GetNextRecord);
    library.Load("cuptiActivityGetNumDroppedRecords", &GetNumDroppedRecords);
    library.Load("cuptiActivityFlushAll", &FlushAll);
    library.Load("cuptiActivityGetAttribute", &GetAttribute);
    library.Load("cuptiActivitySetAttribute", &SetAttribute);
    library.Load("cuptiActivityRegisterTimestampCallback", &RegisterTimestampCallback);
    library.Load("cuptiSetThreadIdType", &SetThreadIdType);
    library.Load("cuptiActivityConfigureUnifiedMemoryCounter", &ConfigureUnifiedMemoryCounter);
    library.Load("cuptiActivityPushExternalCorrelationId", &PushExternalCorrelationId);
    library.Load("cuptiActivityPopExternalCorrelationId", &PopExternalCorrelationId);
    library.Load("warpgauge_fake_cupti_record", &record);
    library.Load("warpgauge_fake_cupti_queue", &queue);
    library.Load("warpgauge_fake_cupti_finish", &finish);
    library.Load("warpgauge_fake_cupti_event", &event);
    library.Load("warpgauge_fake_cupti_generate", &generate);
    REQUIRE(library.Load("warpgauge_fake_cupti_violation", &violation));
  }
};

// One field of a record, whatever its alignment.
template <typename T>
T FieldOf(const std::vector<uint8_t>& record, size_t offset) {
  T value{};
  REQUIRE(offset + sizeof(value) <= record.size());
  std::memcpy(&value, record.data() + offset, sizeof(value));
  return value;
}

inline uint32_t KindOf(const std::vector<uint8_t>& record) { return FieldOf<uint32_t>(record, 0); }

// The client of a test: gives zeroed buffers of one size and keeps what comes back. There is one
// at a time, because CUPTI's callbacks carry no pointer of the user.
class CuptiClient {
 public:
  explicit CuptiClient(const FakeCupti& cupti, size_t buffer_bytes = 4096, size_t most_records = 0)
      : cupti_(cupti), buffer_bytes_(buffer_bytes), most_records_(most_records) {
    current_ = this;
    REQUIRE(cupti.RegisterCallbacks(&RequestBuffer, &CompleteBuffer) == 0);
  }
  CuptiClient(const CuptiClient&) = delete;
  CuptiClient& operator=(const CuptiClient&) = delete;
  ~CuptiClient() {
    cupti_.FlushAll(1);
    current_ = nullptr;
  }

  // Records of all buffers that were completed since the last call.
  std::vector<std::vector<uint8_t>> Take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<std::vector<uint8_t>> records;
    for (Filled& filled : filled_) {
      uint8_t* bytes = filled.bytes.data();
      size_t at = 0;
      void* record = nullptr;
      // The step is what the next call does; the last record ends where the valid bytes do.
      std::vector<size_t> starts;
      while (cupti_.GetNextRecord(bytes, filled.valid, &record) == 0) {
        starts.push_back(static_cast<size_t>(static_cast<uint8_t*>(record) - bytes));
      }
      starts.push_back(filled.valid);
      for (size_t i = 0; i + 1 < starts.size(); ++i) {
        records.emplace_back(bytes + starts[i], bytes + starts[i + 1]);
        at = starts[i + 1];
      }
      CHECK(at == filled.valid);
    }
    filled_.clear();
    return records;
  }
  // The valid bytes of each completed buffer.
  std::vector<std::vector<uint8_t>> TakeBuffers() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::vector<std::vector<uint8_t>> buffers;
    for (Filled& filled : filled_) {
      filled.bytes.resize(filled.valid);
      buffers.push_back(std::move(filled.bytes));
    }
    filled_.clear();
    return buffers;
  }
  size_t requests() const { return requests_; }
  std::thread::id request_thread() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return request_thread_;
  }
  std::thread::id complete_thread() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return complete_thread_;
  }

  // What the next requests give instead of a zeroed buffer of this client.
  enum class Answer { kBuffer, kNothing, kMisaligned, kDirty };
  std::atomic<Answer> answer{Answer::kBuffer};

 private:
  struct Filled {
    std::vector<uint8_t> bytes;
    size_t valid;
  };

  static void RequestBuffer(uint8_t** buffer, size_t* size, size_t* most_records) {
    static std::vector<uint64_t> never_used(1024);
    CuptiClient& self = *current_;
    const std::lock_guard<std::mutex> lock(self.mutex_);
    ++self.requests_;
    self.request_thread_ = std::this_thread::get_id();
    *size = self.buffer_bytes_;
    *most_records = self.most_records_;
    *buffer = nullptr;
    if (self.answer == Answer::kNothing) return;
    if (self.answer == Answer::kMisaligned) {
      *buffer = reinterpret_cast<uint8_t*>(never_used.data()) + 4;
      *size = 1024;
      return;
    }
    *buffer = static_cast<uint8_t*>(std::calloc(1, self.buffer_bytes_));
    if (self.answer == Answer::kDirty) (*buffer)[40] = 1;
  }
  static void CompleteBuffer(
      void* context, uint32_t stream, uint8_t* buffer, size_t size, size_t valid) {
    CuptiClient& self = *current_;
    const std::lock_guard<std::mutex> lock(self.mutex_);
    if (context != nullptr || stream != 0 || size != self.buffer_bytes_) return;
    self.complete_thread_ = std::this_thread::get_id();
    self.filled_.push_back({std::vector<uint8_t>(buffer, buffer + size), valid});
    std::free(buffer);
  }

  static inline std::atomic<CuptiClient*> current_{nullptr};
  const FakeCupti& cupti_;
  const size_t buffer_bytes_, most_records_;
  std::mutex mutex_;
  std::vector<Filled> filled_;
  std::atomic<size_t> requests_{0};
  std::thread::id request_thread_, complete_thread_;
};

// An activity of `kind` with a value of its own in every field.
inline fake_activity SomeActivity(uint32_t kind) {
  fake_activity activity{};
  activity.kind = kind;
  activity.correlation = 77;
  activity.device = 2;
  activity.context = 3;
  activity.stream = 14;
  activity.start_ns = 1'000'000;
  activity.end_ns = 1'002'500;
  switch (kind) {
    case 1:
    case 22:
      activity.of.copy = {65536, kind == 1 ? 1U : 10U, 2, 3, 1, 5, 6, 7, 8};
      break;
    case 2:
      activity.of.set = {4096, 0x5a, 3, 1};
      break;
    case 4:
    case 5:
      activity.of.api = {277, 700};
      break;
    case 10:
      activity.name = "simulated_kernel";
      activity.of.kernel = {{16, 2, 3}, {256, 4, 5}, 40, 1024, 2048, 64};
      break;
    case 12:
      activity.name = "range";
      activity.of.marker.domain = "domain";
      activity.of.marker.flags = 2;
      activity.of.marker.id = 9;
      break;
    case 17:
      activity.of.overhead.overhead = 0x20000;
      break;
    case 25:
      activity.of.managed = {2097152, 0x7f0000000000, 1, 0xffffffff, 2, 2};
      break;
    case 38:
      activity.of.synchronization = {3, 0xffffffff};
      break;
    default:
      FAIL("no such activity");
  }
  return activity;
}

}  // namespace warpgauge
