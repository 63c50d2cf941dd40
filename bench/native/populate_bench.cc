// Times Region::Populate against the same work in bare C, both in this process, on the same pages:
// what one of them frees the other takes. One JSON line per measurement, read by
// bench/cases/populate.ts:
//   {"subject":"region","threads":1,"round":0,"map_ns":...,"populate_ns":...}
// Only populate_ns is compared, except for MAP_POPULATE, which cannot be timed apart from its mmap.
#include <cstdio>
#include <cstring>
#include <vector>

#include "arguments.h"
#include "core/clock.h"
#include "floor.h"
#include "memory/region.h"

namespace warpgauge {
namespace {

struct Setting {
  PageKind kind = PageKind::k2M;
  size_t bytes = 0;
};

struct Timing {
  int64_t map_ns = 0;
  int64_t populate_ns = 0;
};

enum class What : uint8_t { kRegion, kFloor, kTouch, kMapPopulate };

struct Subject {
  What what;
  const char* name;
  unsigned threads;
};

// A populate that did nothing would be the fastest: every measurement proves its pages, untimed.
void Check(const char* what, const uint8_t* data, const Setting& setting) {
  const Result<PageProof> proof = ProvePages(data, setting.bytes);
  if (!proof.ok()) Fail(what, proof.status);
  const Status status = CheckProof(proof.value, setting.kind, setting.bytes, false);
  if (!status.ok()) Fail(what, status);
}

void CheckErrno(const char* what, int error) {
  if (error != 0) Unavailable(what, Status("ERR_SYSCALL", std::strerror(error)));
}

Timing RunRegion(const Setting& setting, unsigned threads) {
  RegionOptions options;
  options.bytes = setting.bytes;
  options.kind = setting.kind;
  const int64_t start = MonotonicRawNs();
  Result<Region> region = Region::Map(options);
  const int64_t mapped = MonotonicRawNs();
  if (!region.ok()) Unavailable("Region::Map", region.status);
  const Status status = region.value.Populate(threads);
  const int64_t populated = MonotonicRawNs();
  if (!status.ok()) Unavailable("Region::Populate", status);
  Check("Region::Populate", region.value.data(), setting);
  return {mapped - start, populated - mapped};
}

Timing RunFloor(const Setting& setting, What what, unsigned threads) {
  uint8_t* data = nullptr;
  const int64_t start = MonotonicRawNs();
  if (what == What::kMapPopulate) {
    CheckErrno("MAP_POPULATE", floor_map_populated(&data, setting.bytes));
  } else {
    const floor_pages pages = setting.kind == PageKind::k2M ? FLOOR_2M : FLOOR_4K;
    CheckErrno("mmap", floor_map(&data, setting.bytes, pages));
  }
  const int64_t mapped = MonotonicRawNs();
  if (what == What::kFloor) {
    CheckErrno("MADV_POPULATE_WRITE", floor_populate(data, setting.bytes, threads));
  } else if (what == What::kTouch) {
    floor_touch(data, setting.bytes, PageBytes(setting.kind));
  }
  const int64_t populated = MonotonicRawNs();
  Check("the bare C loop", data, setting);
  floor_unmap(data, setting.bytes);
  return {mapped - start, what == What::kMapPopulate ? 0 : populated - mapped};
}

int Main(int argc, char** argv) {
  Setting setting;
  const char* pages = Argument(argc, argv, "--pages", "2m");
  setting.bytes = NumberArgument(argc, argv, "--bytes", 0);
  const auto threads = static_cast<unsigned>(NumberArgument(argc, argv, "--threads", 2));
  const size_t rounds = NumberArgument(argc, argv, "--rounds", 1);
  const size_t warm_up = NumberArgument(argc, argv, "--warm-up", 1);
  if (!ParsePageKind(pages, &setting.kind) || setting.bytes == 0 ||
      (setting.kind != PageKind::k4K && setting.kind != PageKind::k2M) ||
      setting.bytes % k2MiB != 0 || threads < 2) {
    std::fprintf(stderr, "Expected --pages 4k|2m --bytes (whole 2 MiB) --threads (2 or more)\n");
    return 2;
  }

  // Neighbours are compared with each other, so that they are near in time too.
  std::vector<Subject> subjects = {
      {What::kTouch, "touch", 1},
      {What::kRegion, "region", 1},
      {What::kFloor, "floor", 1},
      {What::kRegion, "region", threads},
      {What::kFloor, "floor", threads},
  };
  if (setting.kind == PageKind::k2M)
    subjects.insert(subjects.begin(), {What::kMapPopulate, "map-populate", 1});

  // One side alone, for a caller that times the other side itself.
  if (const char* only = Argument(argc, argv, "--only", nullptr); only != nullptr) {
    std::erase_if(subjects, [&](const Subject& subject) {
      return std::strcmp(subject.name, only) != 0 || subject.threads != threads;
    });
  }

  for (size_t round = 0; round < warm_up + rounds; ++round) {
    for (size_t i = 0; i < subjects.size(); ++i) {
      // Forwards and backwards in turn: what drifts with time favours neither of two neighbours.
      const Subject& subject = subjects[round % 2 == 0 ? i : subjects.size() - 1 - i];
      const Timing timing = subject.what == What::kRegion
                                ? RunRegion(setting, subject.threads)
                                : RunFloor(setting, subject.what, subject.threads);
      if (round < warm_up) continue;
      std::printf(
          "{\"subject\":\"%s\",\"threads\":%u,\"round\":%zu,\"map_ns\":%lld,"
          "\"populate_ns\":%lld}\n",
          subject.name,
          subject.threads,
          round - warm_up,
          static_cast<long long>(timing.map_ns),        // NOLINT(google-runtime-int): for printf
          static_cast<long long>(timing.populate_ns));  // NOLINT(google-runtime-int)
    }
  }
  return 0;
}

}  // namespace
}  // namespace warpgauge

int main(int argc, char** argv) { return warpgauge::Main(argc, argv); }
