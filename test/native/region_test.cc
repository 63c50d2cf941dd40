#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "memory/region.h"
#include "memory_support.h"
#include "sanitized.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here
using namespace warpgauge_test;  // NOLINT(google-build-using-namespace)

RegionOptions Options(PageKind kind, size_t bytes, bool shared = false) {
  RegionOptions options;
  options.kind = kind;
  options.bytes = bytes;
  options.shared = shared;
  return options;
}

// Small pages never fail for want of a pool; transparent ones may be switched off here.
bool ThpAvailable() { return Region::Map(Options(PageKind::kThp, k2MiB)).ok(); }

std::string ProofCode(const Region& region, PageKind kind) {
  const Result<PageProof> proof = region.Prove();
  if (!proof.ok()) return proof.status.code();
  return CheckProof(proof.value, kind, region.mapped_bytes(), false).code();
}

// Whether any mapping of this process covers the address.
bool IsMapped(const void* address) {
  unsigned char resident = 0;
  const auto page = reinterpret_cast<uintptr_t>(address) / k4KiB * k4KiB;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address is what the test is about
  return mincore(reinterpret_cast<void*>(page), 1, &resident) == 0;
}

size_t CountDescriptors() {
  size_t count = 0;
  for (int fd = 0; fd < 256; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

// The life of one region of one kind, by several threads.
void CheckLife(PageKind kind, size_t bytes, bool shared) {
  CAPTURE(PageKindName(kind));
  CAPTURE(shared);
  Result<Region> mapped = Region::Map(Options(kind, bytes, shared));
  REQUIRE(mapped.ok());
  Region& region = mapped.value;
  const size_t unit = kind == PageKind::k4KSplit ? k2MiB : PageBytes(kind);
  CHECK(region.bytes() == bytes);
  CHECK(region.mapped_bytes() == (bytes + unit - 1) / unit * unit);
  CHECK(reinterpret_cast<uintptr_t>(region.data()) % (kind == PageKind::k1G ? k1GiB : k2MiB) == 0);
  CHECK((region.fd() >= 0) == shared);

  // Mapping touches nothing.
  const Result<PageProof> before = region.Prove();
  REQUIRE(before.ok());
  CHECK(before.value.bytes_absent == region.mapped_bytes());

  uint64_t faults = 0;
  const Status status = region.Populate(3, &faults);
  REQUIRE_MESSAGE(status.ok(), status.message());
  // The fault count is the independent witness; collapsing changes pages after their faults.
  if (!shared || kind != PageKind::kThp) {
    const uint64_t pages = region.mapped_bytes() / unit;
    CHECK(faults >= pages);
    CHECK(faults <= pages + 30);  // a new thread takes a few of its own
  }
  if (kind == PageKind::k4KSplit) {
    CHECK(ProofCode(region, PageKind::kThp).empty());
    REQUIRE(region.SplitTo4K().ok());
  }
  CHECK(ProofCode(region, kind).empty());
  for (const PageKind other : {PageKind::kThp, PageKind::k2M, PageKind::k1G}) {
    if (other != kind) CHECK(ProofCode(region, other) == "ERR_PAGES_NOT_GRANTED");
  }

  // First and last byte are ours, and populating again changes neither.
  region.data()[0] = 7;
  region.data()[region.mapped_bytes() - 1] = 9;
  REQUIRE(region.Populate(2).ok());
  CHECK(region.data()[0] == 7);
  CHECK(region.data()[region.mapped_bytes() - 1] == 9);

  const uint8_t* data = region.data();
  const size_t mapped_bytes = region.mapped_bytes();
  region.Unmap();
  region.Unmap();
  CHECK(region.data() == nullptr);
  CHECK_FALSE(IsMapped(data));
  CHECK_FALSE(IsMapped(data + mapped_bytes - 1));
}

}  // namespace

TEST_CASE("4k regions: rounding, alignment, faults, proof, end") {
  for (const size_t bytes : {size_t{1}, k4KiB, k4KiB + 1, size_t{1'000'000}, 3 * k2MiB}) {
    for (const bool shared : {false, true}) CheckLife(PageKind::k4K, bytes, shared);
  }
}

TEST_CASE("thp and 4k-split regions: whole 2 MB pages only") {
  if (!ThpAvailable()) {
    MESSAGE("not run: transparent huge pages are switched off here");
    return;
  }
  for (const size_t bytes : {size_t{1}, k2MiB, k2MiB + 1, 5 * k2MiB}) {
    CheckLife(PageKind::kThp, bytes, false);
    CheckLife(PageKind::kThp, bytes, true);
    CheckLife(PageKind::k4KSplit, bytes, false);
  }
}

TEST_CASE("2m regions") {
  const PoolPages pages(2048, 4);
  if (!pages.granted()) {
    MESSAGE("not run: " << pages.why());
    return;
  }
  for (const size_t bytes : {size_t{1}, k2MiB, k2MiB + 1, 4 * k2MiB}) {
    for (const bool shared : {false, true}) CheckLife(PageKind::k2M, bytes, shared);
  }
}

TEST_CASE("1g regions") {
  const PoolPages pages(1048576, 1);
  if (!pages.granted()) {
    MESSAGE("not run: " << pages.why());
    return;
  }
  for (const bool shared : {false, true}) CheckLife(PageKind::k1G, 3 * k2MiB, shared);
}

TEST_CASE("an empty pool is an error before any use, and the numbers are in it") {
  // More than any machine of a test has reserved.
  for (const bool shared : {false, true}) {
    const Result<Region> region = Region::Map(Options(PageKind::k2M, 1ULL << 42, shared));
    REQUIRE_FALSE(region.ok());
    const std::string code = region.status.code();
    // Unsupported where the CPU or the kernel has no hugetlb at all.
    CHECK((code == "ERR_POOL_EMPTY" || code == "ERR_POOL_SHORT" ||
           code == "ERR_PAGE_KIND_UNSUPPORTED"));
    CHECK_FALSE(region.status.fix().empty());
    if (code != "ERR_PAGE_KIND_UNSUPPORTED") {
      CHECK(region.status.fix().find("nr_hugepages") != std::string::npos);
      CHECK(region.status.number() == ENOMEM);
    }
  }
}

TEST_CASE("sizes that cannot be: nothing, and more than any address space") {
  CHECK(std::string(Region::Map(Options(PageKind::k4K, 0)).status.code()) ==
        "ERR_INVALID_ARGUMENT");
  for (const size_t bytes : {size_t{1} << 47, SIZE_MAX, SIZE_MAX - k4KiB}) {
    for (const PageKind kind : {PageKind::k4K, PageKind::kThp}) {
      const std::string code = Region::Map(Options(kind, bytes)).status.code();
      CHECK((code == "ERR_NO_MEMORY" || code == "ERR_THP_DISABLED"));
    }
  }
}

TEST_CASE("a failed region leaves neither descriptor nor mapping") {
  const size_t before = CountDescriptors();
  for (int i = 0; i < 50; ++i) {
    CHECK_FALSE(Region::Map(Options(PageKind::k2M, 1ULL << 42, true)).ok());
    RegionOptions absent = Options(PageKind::k4K, k4KiB, true);
    absent.numa_node = 1000;
    CHECK_FALSE(Region::Map(absent).ok());
  }
  CHECK(CountDescriptors() == before);
}

TEST_CASE("an absent node is refused before the first touch, a present one is kept") {
  for (const int node : {1000, 5000}) {
    RegionOptions options = Options(PageKind::k4K, k4KiB);
    options.numa_node = node;
    const Result<Region> region = Region::Map(options);
    CHECK(std::string(region.status.code()) == "ERR_NUMA_NODE");
    CHECK(region.status.number() == EINVAL);
  }
  RegionOptions options = Options(PageKind::k4K, 64 * k4KiB);
  options.numa_node = 0;
  Result<Region> region = Region::Map(options);
  if (!region.ok()) {
    MESSAGE("not run: " << region.status.message());
    return;
  }
  CHECK(NodesOf(region.value.data(), region.value.bytes(), 64) == 0);  // nothing is there yet
  REQUIRE(region.value.Populate(1).ok());
  CHECK(NodesOf(region.value.data(), region.value.bytes(), 64) == 1);
  CHECK(NodesOf(region.value.data(), 0, 64) == 0);
}

TEST_CASE("moving hands over, and the moved-from region is empty") {
  Result<Region> first = Region::Map(Options(PageKind::k4K, k4KiB, true));
  REQUIRE(first.ok());
  const uint8_t* data = first.value.data();
  Region second(std::move(first.value));
  CHECK(first.value.data() == nullptr);  // NOLINT(bugprone-use-after-move): the point
  CHECK(first.value.fd() == -1);
  CHECK(second.data() == data);
  Result<Region> third = Region::Map(Options(PageKind::k4K, k4KiB));
  REQUIRE(third.ok());
  const uint8_t* replaced = third.value.data();
  third.value = std::move(second);
  CHECK(third.value.data() == data);
  CHECK_FALSE(IsMapped(replaced));
  Region& self = third.value;
  third.value = std::move(self);
  CHECK(third.value.data() == data);
}

TEST_CASE("a page before and a page after the region cannot be touched") {
  Result<Region> region = Region::Map(Options(PageKind::k4K, k4KiB));
  REQUIRE(region.ok());
  uint8_t* data = region.value.data();
  for (const int64_t offset : {int64_t{-1}, static_cast<int64_t>(k4KiB)}) {
    const int end = RunChild([data, offset] {
      signal(SIGSEGV, SIG_DFL);
      // From a child of fork the whole region is absent (MADV_DONTFORK); the guards must be too.
      *const_cast<volatile uint8_t*>(data + offset) = 1;
      return 0;
    });
    CHECK(end == -SIGSEGV);
  }
}

TEST_CASE("a child of fork has no copy of the region") {
  for (const bool shared : {false, true}) {
    Result<Region> region = Region::Map(Options(PageKind::k4K, k4KiB, shared));
    REQUIRE(region.ok());
    REQUIRE(region.value.Populate(1).ok());
    const uint8_t* data = region.value.data();
    CHECK(RunChild([data] { return IsMapped(data) ? 1 : 0; }) == 0);
    CHECK(IsMapped(data));
  }
}

TEST_CASE("a shared region's file can neither shrink nor grow") {
  Result<Region> region = Region::Map(Options(PageKind::k4K, 2 * k4KiB, true));
  REQUIRE(region.ok());
  CHECK(ftruncate(region.value.fd(), k4KiB) == -1);
  CHECK(errno == EPERM);
  CHECK(ftruncate(region.value.fd(), 3 * k4KiB) == -1);
  CHECK(errno == EPERM);
}

TEST_CASE("without MADV_POPULATE_WRITE small pages are touched and hugetlb says why not") {
  const PoolPages pages(2048, 1);
  const int code = RunChild([&pages] {
    if (!RefuseCall(SYS_madvise, 2, 23, EINVAL)) return 10;
    Result<Region> small = Region::Map(Options(PageKind::k4K, k2MiB));
    if (!small.ok()) return 11;
    small.value.data()[5] = 42;
    uint64_t faults = 0;
    if (!small.value.Populate(2, &faults).ok()) return 12;
    if (small.value.data()[5] != 42) return 13;  // touching must not lose what is there
    if (!ProofCode(small.value, PageKind::k4K).empty()) return 14;
    if (faults < 511) return 15;
    if (!pages.granted()) return 0;
    Result<Region> huge = Region::Map(Options(PageKind::k2M, k2MiB));
    if (!huge.ok()) return 16;
    const Status status = huge.value.Populate(1);
    if (std::string(status.code()) != "ERR_POPULATE_UNSUPPORTED") return 17;
    return status.fix().empty() ? 18 : 0;
  });
  CHECK(code == 0);
  if (!pages.granted()) MESSAGE("hugetlb half not run: " << pages.why());
}

TEST_CASE("a container's filter on mbind is named") {
  const int code = RunChild([] {
    if (!RefuseCall(SYS_mbind, 2, 2, EPERM)) return 10;
    RegionOptions options = Options(PageKind::k4K, k4KiB);
    options.numa_node = 0;
    return std::string(Region::Map(options).status.code()) == "ERR_PERMISSION" ? 0 : 11;
  });
  CHECK(code == 0);
}

TEST_CASE("PR_SET_THP_DISABLE: thp is refused, private and shared, and 4k is not") {
  const int code = RunChild([] {
    if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0) return 10;
    for (const bool shared : {false, true}) {
      for (const PageKind kind : {PageKind::kThp, PageKind::k4KSplit}) {
        if (std::string(Region::Map(Options(kind, k2MiB, shared)).status.code()) !=
            "ERR_THP_DISABLED") {
          return 11;
        }
      }
    }
    return Region::Map(Options(PageKind::k4K, k2MiB)).ok() ? 0 : 12;
  });
  CHECK(code == 0);
}

TEST_CASE("threads that cannot be made are done without") {
  if (geteuid() != 0) {
    MESSAGE("not run: changing to another user needs root");
    return;
  }
  // As a user of its own, so that RLIMIT_NPROC counts this process alone.
  const int code = RunChild([] {
    const rlimit one{1, 1};
    if (setrlimit(RLIMIT_NPROC, &one) != 0 || setresuid(65533, 65533, 65533) != 0) return 10;
    Result<Region> region = Region::Map(Options(PageKind::k4K, 4 * k2MiB));
    if (!region.ok()) return 11;
    uint64_t faults = 0;
    if (!region.value.Populate(4, &faults).ok()) return 12;
    return IsFaultCount(static_cast<int64_t>(faults), 4 * k2MiB / k4KiB) ? 0 : 13;
  });
  CHECK(code == 0);
}

TEST_CASE("RLIMIT_MEMLOCK is named, with the command") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  MESSAGE("not run: sanitizers replace mlock by a call that does nothing");
  return;
#endif
  if (geteuid() != 0) {
    MESSAGE("not run: changing to another user needs root");
    return;
  }
  const int code = RunChild([] {
    const rlimit small{65536, 65536};
    if (setrlimit(RLIMIT_MEMLOCK, &small) != 0 || setresuid(65533, 65533, 65533) != 0) return 10;
    Result<Region> region = Region::Map(Options(PageKind::k4K, k2MiB));
    if (!region.ok() || !region.value.Populate(1).ok()) return 11;
    const Status status = region.value.Lock();
    if (std::string(status.code()) != "ERR_MEMLOCK") return 12;
    return status.fix() == "ulimit -l 2048" ? 0 : 13;
  });
  CHECK(code == 0);
}

TEST_CASE("a memory file that cannot be made is not called a failed mmap") {
  const int code = RunChild([] {
    // As with no descriptor left. Argument 1: MFD_CLOEXEC | MFD_ALLOW_SEALING.
    if (!RefuseCall(SYS_memfd_create, 1, 3, EMFILE)) return 10;
    const Status status = Region::Map(Options(PageKind::k4K, k4KiB, true)).status;
    if (status.source() != "memfd_create" || status.number() != EMFILE) return 11;
    return status.message().find("mmap") == std::string::npos ? 0 : 12;
  });
  CHECK(code == 0);
}

TEST_CASE("locking works where it is allowed") {
  Result<Region> region = Region::Map(Options(PageKind::k4K, 4 * k4KiB));
  REQUIRE(region.ok());
  REQUIRE(region.value.Populate(1).ok());
  const Status status = region.value.Lock();
  CHECK_MESSAGE(status.ok(), status.message());
  // Locked memory is a mapping of its own with other flags: the proof must still hold.
  CHECK(ProofCode(region.value, PageKind::k4K).empty());
}

TEST_CASE("a thousand regions come and go without a trace") {
  const size_t before = CountDescriptors();
  std::vector<Region> live(16);
  for (int i = 0; i < 1000; ++i) {
    const PageKind kind = i % 3 == 0 && ThpAvailable() ? PageKind::kThp : PageKind::k4K;
    Result<Region> region = Region::Map(Options(kind, static_cast<size_t>(i) * 37 + 1, i % 2 == 0));
    REQUIRE(region.ok());
    if (i % 5 == 0) REQUIRE(region.value.Populate(1 + i % 3).ok());
    live[static_cast<size_t>(i) % live.size()] = std::move(region.value);
  }
  live.clear();
  CHECK(CountDescriptors() == before);
}
