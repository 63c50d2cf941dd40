#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include "memory/page_kind.h"
#include "memory/page_proof.h"
#include "memory/smaps.h"
#include "memory_support.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here
using namespace warpgauge_test;  // NOLINT(google-build-using-namespace)

constexpr char kRecorded[] = "test/fixtures/proc/smaps-regions.txt";
constexpr size_t kMiB = 1 << 20;

Result<PageProof> ProveRecorded(uint64_t address, size_t bytes) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the recorded machine
  return ProvePages(reinterpret_cast<const void*>(address), bytes, true, kRecorded);
}

std::string Check(const PageProof& proof, PageKind kind, size_t bytes, bool allow_absent = false) {
  return CheckProof(proof, kind, bytes, allow_absent).code();
}

// 2 MB-aligned private memory of this test alone, with nothing mapped beside it.
class Memory {
 public:
  explicit Memory(size_t bytes) : span_(bytes + 2 * k2MiB) {
    base_ = mmap(nullptr, span_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(base_ != MAP_FAILED);
    const auto address = reinterpret_cast<uintptr_t>(base_);
    data_ = static_cast<uint8_t*>(base_) + (k2MiB - address % k2MiB);
    REQUIRE(mprotect(data_, bytes, PROT_READ | PROT_WRITE) == 0);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { munmap(base_, span_); }
  [[nodiscard]] uint8_t* data() const { return data_; }

 private:
  void* base_;
  size_t span_;
  uint8_t* data_;
};

unsigned ReadEveryPage(const uint8_t* data, size_t bytes) {
  unsigned sum = 0;
  for (size_t i = 0; i < bytes; i += k4KiB) sum += *const_cast<const volatile uint8_t*>(data + i);
  return sum;
}

}  // namespace

TEST_CASE("page kinds have the names users type") {
  for (const char* name : {"4k", "thp", "2m", "1g", "4k-split"}) {
    PageKind kind{};
    REQUIRE(ParsePageKind(name, &kind));
    CHECK(std::string(PageKindName(kind)) == name);
  }
  PageKind kind{};
  CHECK_FALSE(ParsePageKind("2M", &kind));
  CHECK_FALSE(ParsePageKind("", &kind));
}

TEST_CASE("recorded smaps: every kind is told from every other") {
  struct Case {
    const char* what;
    uint64_t address;
    size_t bytes;
    PageKind kind;
  };
  const Case cases[] = {
      {"4k", 0x7ffff7400000, 4 * kMiB, PageKind::k4K},
      {"thp", 0x7ffff6800000, 8 * kMiB, PageKind::kThp},
      {"4k-split", 0x7ffff6000000, 4 * kMiB, PageKind::k4KSplit},
      {"2m", 0x7ffff5a00000, 4 * kMiB, PageKind::k2M},
      {"1g", 0x7fff80000000, k1GiB, PageKind::k1G},
      {"shared thp", 0x7ffff5400000, 4 * kMiB, PageKind::kThp},
      {"shared 2m", 0x7ffff5000000, 2 * kMiB, PageKind::k2M},
  };
  for (const Case& one : cases) {
    CAPTURE(one.what);
    const Result<PageProof> proof = ProveRecorded(one.address, one.bytes);
    REQUIRE(proof.ok());
    CHECK(std::string(proof.value.method) == "smaps");
    for (const PageKind kind : {PageKind::k4K, PageKind::kThp, PageKind::k2M, PageKind::k1G}) {
      const bool same =
          kind == one.kind || (kind == PageKind::k4K && one.kind == PageKind::k4KSplit);
      CHECK(Check(proof.value, kind, one.bytes) == (same ? "" : "ERR_PAGES_NOT_GRANTED"));
    }
    // A proof of fewer bytes than were asked for is no proof.
    CHECK(Check(proof.value, one.kind, one.bytes + k4KiB) == "ERR_PAGES_NOT_GRANTED");
  }
}

TEST_CASE("recorded smaps: the zero page counts as untouched, and a half-written region as half") {
  const Result<PageProof> zero = ProveRecorded(0x7ffff4c00000, kMiB);
  REQUIRE(zero.ok());
  CHECK(zero.value.bytes_absent == kMiB);
  CHECK(zero.value.bytes_4k == 0);
  CHECK(Check(zero.value, PageKind::k4K, kMiB) == "ERR_PAGES_NOT_GRANTED");

  const Result<PageProof> half = ProveRecorded(0x7ffff4800000, kMiB);
  REQUIRE(half.ok());
  CHECK(half.value.bytes_4k == kMiB / 2);
  CHECK(half.value.bytes_absent == kMiB / 2);
  CHECK(Check(half.value, PageKind::k4K, kMiB) == "ERR_PAGES_NOT_GRANTED");
  CHECK(Check(half.value, PageKind::k4K, kMiB, true).empty());
  CHECK(Check(half.value, PageKind::kThp, kMiB, true) == "ERR_PAGES_NOT_GRANTED");
}

TEST_CASE("smaps cannot vouch for a part of a mapping") {
  const Result<PageProof> part = ProveRecorded(0x7ffff7400000 + k4KiB, kMiB);
  CHECK(std::string(part.status.code()) == "ERR_SYSCALL");
  const Result<PageProof> missing =
      ProvePages(reinterpret_cast<const void*>(0x7ffff7400000), kMiB, true, "/nonexistent/smaps");
  CHECK(std::string(missing.status.code()) == "ERR_SYSCALL");
  CHECK(missing.status.number() == ENOENT);
}

TEST_CASE("the smaps parser survives text that is cut off or strange") {
  std::ifstream file(kRecorded);
  std::stringstream text;
  text << file.rdbuf();
  const std::string whole = text.str();
  REQUIRE(whole.size() > 10000);
  // Sizes of exactly one allocation, so that a sanitizer sees a read past the end.
  for (size_t cut = 0; cut <= whole.size(); cut += 37) {
    const std::string part(whole, 0, cut);
    CHECK(ParseSmaps(part, 0, UINT64_MAX).size() <= 30);
  }
  CHECK(ParseSmaps("7f00-\nRss:\nKernelPageSize: kB\nVmFlags:", 0, UINT64_MAX).empty());
  CHECK(ParseSmaps("Rss: 4 kB\n", 0, UINT64_MAX).empty());
  const auto odd = ParseSmaps("1000-2000 rw-p\nRss:\nVmFlags:\nKernelPageSize:  \n", 0, UINT64_MAX);
  REQUIRE(odd.size() == 1);
  CHECK(odd[0].rss == 0);
  CHECK(ParseSmaps("1000-2000 rw-p\n", 0x2000, 0x3000).empty());
}

TEST_CASE("the proof of a live mapping is the same by PAGEMAP_SCAN and by smaps") {
  constexpr size_t kBytes = 4 * kMiB;
  const Memory memory(kBytes);
  REQUIRE(madvise(memory.data(), kBytes, MADV_NOHUGEPAGE) == 0);

  SUBCASE("untouched") {
    for (const bool smaps : {false, true}) {
      const auto proof = ProvePages(memory.data(), kBytes, smaps);
      REQUIRE(proof.ok());
      CHECK(proof.value.bytes_absent == kBytes);
      CHECK(Check(proof.value, PageKind::k4K, kBytes, true).empty());
    }
  }
  SUBCASE("written") {
    std::memset(memory.data(), 1, kBytes);
    for (const bool smaps : {false, true}) {
      const auto proof = ProvePages(memory.data(), kBytes, smaps);
      REQUIRE(proof.ok());
      CHECK(proof.value.bytes_4k == kBytes);
      CHECK(proof.value.bytes_zero == 0);
      CHECK(Check(proof.value, PageKind::k4K, kBytes).empty());
    }
  }
  SUBCASE("only read: PAGEMAP_SCAN names the zero page, smaps calls it untouched") {
    CHECK(ReadEveryPage(memory.data(), kBytes) == 0);
    const auto scanned = ProvePages(memory.data(), kBytes);
    REQUIRE(scanned.ok());
    if (std::string(scanned.value.method) == "smaps") return;  // Linux < 6.7
    const auto witness = ProvePages(memory.data(), kBytes, true);
    // Both witnesses: under some hypervisors a page that is read is a page of its own.
    if (scanned.value.bytes_zero == 0 && witness.ok() && witness.value.bytes_4k == kBytes) {
      MESSAGE("skipped: reading gives no zero page on this machine");
      return;
    }
    CHECK(scanned.value.bytes_4k == kBytes);
    CHECK(scanned.value.bytes_zero == kBytes);
    CHECK(Check(scanned.value, PageKind::k4K, kBytes) == "ERR_ZERO_PAGES");
    const auto smaps = ProvePages(memory.data(), kBytes, true);
    REQUIRE(smaps.ok());
    CHECK(smaps.value.bytes_absent == kBytes);
  }
  SUBCASE("every second page written: more ranges than one answer of the kernel holds") {
    for (size_t i = 0; i < kBytes; i += 2 * k4KiB) memory.data()[i] = 1;
    const auto proof = ProvePages(memory.data(), kBytes);
    REQUIRE(proof.ok());
    CHECK(proof.value.bytes_4k == kBytes / 2);
    CHECK(proof.value.bytes_absent == kBytes / 2);
  }
}

TEST_CASE("a kernel without PAGEMAP_SCAN is proven by smaps") {
  constexpr size_t kBytes = kMiB;
  const Memory memory(kBytes);
  REQUIRE(madvise(memory.data(), kBytes, MADV_NOHUGEPAGE) == 0);
  std::memset(memory.data(), 1, kBytes);
  const int code = RunChild([&memory] {
    if (!RefuseCall(SYS_ioctl, 1, 0xC0606610U, ENOTTY)) return 10;  // PAGEMAP_SCAN
    const auto proof = ProvePages(memory.data(), kBytes);
    if (!proof.ok()) return 11;
    if (std::strcmp(proof.value.method, "smaps") != 0) return 12;
    return proof.value.bytes_4k == kBytes ? 0 : 13;
  });
  CHECK(code == 0);
}

TEST_CASE("2 MB hugetlb pages swapped behind a 1 GB region are refused") {
  const PoolPages pages(2048, 1);
  if (!pages.granted()) {
    MESSAGE("not run: " << pages.why());
    return;
  }
  const Memory memory(k2MiB);
  // What the prover of a 1g region would look at, had someone mapped the wrong size there.
  void* swapped = mmap(memory.data(),
                       k2MiB,
                       PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | (21U << 26),
                       -1,
                       0);
  REQUIRE(swapped == memory.data());
  std::memset(swapped, 1, k2MiB);
  for (const bool smaps : {false, true}) {
    const auto proof = ProvePages(swapped, k2MiB, smaps);
    REQUIRE(proof.ok());
    CHECK(proof.value.bytes_2m == k2MiB);
    CHECK(Check(proof.value, PageKind::k1G, k2MiB) == "ERR_PAGES_NOT_GRANTED");
    CHECK(Check(proof.value, PageKind::kThp, k2MiB) == "ERR_PAGES_NOT_GRANTED");
    CHECK(Check(proof.value, PageKind::k2M, k2MiB).empty());
  }
}
