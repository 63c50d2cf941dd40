// Times the copies of the host backend, as the benchmark reports them, against a loop of
// memcpy in a C file of its own, in turn, on the same two buffers. One JSON line per pair,
// read by bench/cases/copy.ts:
//   {"direction":"DtoH","round":0,"backend_ns":...,"floor_ns":...}
#include <sched.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "arguments.h"
#include "copy/host_backend.h"
#include "floor.h"
#include "memory/region.h"

namespace warpgauge {
namespace {

class CopyBench {
 public:
  CopyBench(HostBackend* backend, uint8_t* user, size_t bytes)
      : backend_(backend), user_(user), bytes_(bytes) {}

  int64_t Backend(bool to_user) {
    const Result<CopyTiming> timing = to_user ? backend_->CopyDtoH(user_, bytes_, PinMode::kNone)
                                              : backend_->CopyHtoD(user_, bytes_, PinMode::kNone);
    if (!timing.ok()) Fail("HostBackend", timing.status);
    return timing.value.host_ns;
  }

  int64_t Floor(bool to_user) {
    uint8_t* staging = backend_->staging();
    return to_user ? floor_copy_to_user(user_, staging, bytes_, kStagingBytes)
                   : floor_copy_from_user(staging, user_, bytes_, kStagingBytes);
  }

  // Both sides must do the whole work before their times mean anything. Untimed.
  void Verify() {
    const Pattern pattern(1);
    const Pattern other(2);
    for (const bool floor : {false, true}) {
      if (Status s = backend_->LoadDevice(pattern, bytes_); !s.ok()) Fail("LoadDevice", s);
      other.Fill(user_, bytes_);
      floor ? Floor(true) : Backend(true);
      if (pattern.FirstMismatch(user_, bytes_) >= 0) Fail("DtoH", kWrong);
      other.Fill(user_, bytes_);
      floor ? Floor(false) : Backend(false);
      if (other.FirstMismatch(backend_->staging(), kStagingBytes) >= 0) Fail("HtoD", kWrong);
    }
  }

 private:
  inline static const Status& kWrong =
      *new Status("ERR_DATA_MISMATCH", "the copy left other bytes than it was given");

  HostBackend* backend_;
  uint8_t* user_;
  size_t bytes_;
};

int Main(int argc, char** argv) {
  const char* pages = Argument(argc, argv, "--pages", "4k");
  const size_t bytes = NumberArgument(argc, argv, "--bytes", 0);
  const size_t rounds = NumberArgument(argc, argv, "--rounds", 1);
  const size_t warm_up = NumberArgument(argc, argv, "--warm-up", 2);
  RegionOptions options;
  options.bytes = bytes;
  if (!ParsePageKind(pages, &options.kind) || bytes < kStagingBytes) {
    std::fprintf(stderr, "Expected --pages 4k|thp|2m|1g and --bytes (1 MiB up)\n");
    return 2;
  }

  // As the copying child does: another CPU has other caches.
  cpu_set_t here;
  CPU_ZERO(&here);
  CPU_SET(sched_getcpu(), &here);
  sched_setaffinity(0, sizeof(here), &here);

  Result<std::unique_ptr<CopyBackend>> opened = HostBackend::Open();
  if (!opened.ok()) Unavailable("HostBackend::Open", opened.status);
  Result<Region> region = Region::Map(options);
  if (!region.ok()) Unavailable("Region::Map", region.status);
  if (Status s = region.value.Populate(1); !s.ok()) Unavailable("Region::Populate", s);

  CopyBench bench(static_cast<HostBackend*>(opened.value.get()), region.value.data(), bytes);
  bench.Verify();
  // For the test that this benchmark notices a slower backend.
  opened.value->set_fault({.stretch = std::atof(Argument(argc, argv, "--stretch", "0"))});
  for (size_t round = 0; round < warm_up + rounds; ++round) {
    for (const bool to_user : {false, true}) {
      const bool floor_first = round % 2 == 1;
      int64_t floor_ns = floor_first ? bench.Floor(to_user) : 0;
      const int64_t backend_ns = bench.Backend(to_user);
      if (!floor_first) floor_ns = bench.Floor(to_user);
      if (round < warm_up) continue;
      std::printf("{\"direction\":\"%s\",\"round\":%zu,\"backend_ns\":%lld,\"floor_ns\":%lld}\n",
                  to_user ? "DtoH" : "HtoD",
                  round - warm_up,
                  static_cast<long long>(backend_ns),  // NOLINT(google-runtime-int): for printf
                  static_cast<long long>(floor_ns));   // NOLINT(google-runtime-int)
    }
  }
  return 0;
}

}  // namespace
}  // namespace warpgauge

int main(int argc, char** argv) { return warpgauge::Main(argc, argv); }
