#include "memory/region.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>
#include <vector>

#include "core/region_registry.h"
#include "memory/failure.h"
#include "memory/hugetlb_cgroup.h"
#include "os/kernel_abi.h"

namespace warpgauge {
namespace {

constexpr int kHugeShift = 26;  // MAP_HUGE_SHIFT, MFD_HUGE_SHIFT: log2 of the size stands above
constexpr int kMpolBind = 2;

constexpr size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

bool IsHugetlb(PageKind kind) { return kind == PageKind::k2M || kind == PageKind::k1G; }

// What a split region is made of until it is split.
bool IsTransparent(PageKind kind) { return kind == PageKind::kThp || kind == PageKind::k4KSplit; }

// Bytes of whole pages; 2 MB for both transparent kinds, since only whole huge pages can be proven.
size_t MappedBytes(const RegionOptions& options) {
  const size_t unit = IsTransparent(options.kind) ? k2MiB : PageBytes(options.kind);
  return RoundUp(options.bytes, unit);
}

FailedRequest RequestOf(const RegionOptions& options, size_t mapped_bytes) {
  return {options.kind, mapped_bytes, options.numa_node};
}

// The first bytes of a file of sysfs, read without opening it again: ThpPolicy runs in Map,
// which the benchmark times (open, read and close cost 6.5 us here, as much as the mapping
// itself; pread 0.8 us).
class KeptFile {
 public:
  explicit KeptFile(const char* path) : fd_(open(path, O_RDONLY | O_CLOEXEC)) {}

  [[nodiscard]] std::string Read() const {
    char text[128];
    const ssize_t n = fd_ < 0 ? -1 : pread(fd_, text, sizeof(text), 0);
    return n > 0 ? std::string(text, static_cast<size_t>(n)) : std::string();
  }

 private:
  int fd_;
};

Status CheckThpPolicy(bool shared) {
  const int disabled = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
  // MADV_COLLAPSE, which makes shared memory huge, obeys the process switch but not sysfs.
  if (shared) return ThpPolicy(disabled, "", "");
  static const auto& enabled = *new KeptFile("/sys/kernel/mm/transparent_hugepage/enabled");
  static const auto& enabled_2m =
      *new KeptFile("/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled");
  return ThpPolicy(disabled, enabled.Read(), enabled_2m.Read());
}

unsigned HugeFlags(PageKind kind) {
  return kind == PageKind::k1G ? 30U << kHugeShift : 21U << kHugeShift;
}

// A sealed memory file: nobody it is handed to can cut off pages that are mapped here (SIGBUS).
Result<int> MakeMemoryFile(const RegionOptions& options, size_t mapped_bytes) {
  FailedRequest request = RequestOf(options, mapped_bytes);
  request.call = "memfd_create";
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (IsHugetlb(options.kind)) flags |= MFD_HUGETLB | HugeFlags(options.kind);
  const int fd = memfd_create("warpgauge", flags);
  if (fd < 0) return MapFailure(request, errno, false);
  request.call = "ftruncate of a memfd";
  if (ftruncate(fd, static_cast<off_t>(mapped_bytes)) != 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    const int error = errno;
    close(fd);
    return MapFailure(request, error, false);
  }
  struct statfs file_system {};
  if (IsHugetlb(options.kind) &&
      (fstatfs(fd, &file_system) != 0 ||
       static_cast<size_t>(file_system.f_bsize) != PageBytes(options.kind))) {
    close(fd);
    return Status("ERR_PAGES_NOT_GRANTED",
                  "the memory file has pages of " + std::to_string(file_system.f_bsize) +
                      " bytes, not of " + std::to_string(PageBytes(options.kind)))
        .WithSource("fstatfs", 0);
  }
  return fd;
}

// MPOL_BIND of the whole range; no libnuma, because it is one system call.
int BindToNode(void* address, size_t bytes, int node) {
  constexpr size_t kBits =
      sizeof(unsigned long) * CHAR_BIT;  // NOLINT(google-runtime-int): kernel ABI
  unsigned long mask[16] = {};           // NOLINT(google-runtime-int)
  const auto bit = static_cast<size_t>(node);
  if (bit >= sizeof(mask) * CHAR_BIT) return EINVAL;
  mask[bit / kBits] = 1UL << (bit % kBits);
  // The kernel takes the number of bits plus one.
  return syscall(SYS_mbind, address, bytes, kMpolBind, mask, sizeof(mask) * CHAR_BIT + 1, 0) == 0
             ? 0
             : errno;
}

// MADV_POPULATE_WRITE until it is through: a signal ends it early, and what it did
// stays done. 0 or errno.
int PopulatePiece(uint8_t* start, size_t bytes) {
  constexpr int kMaxTemporary = 1000;
  int temporary = 0;
  while (madvise(start, bytes, kMadvPopulateWrite) != 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN || ++temporary > kMaxTemporary) return errno;
    sched_yield();
  }
  return 0;
}

// In pieces: one call holds the lock of all mappings of the process, and whoever maps anything,
// such as V8 on the JavaScript thread, would wait for the whole of it. Pages of 1 GB are pieces
// already.
int PopulateRange(uint8_t* start, size_t bytes, bool hugetlb) {
  const size_t piece = hugetlb ? k1GiB : size_t{16} << 20;
  for (size_t done = 0; done < bytes; done += piece) {
    const int error = PopulatePiece(start + done, std::min(piece, bytes - done));
    if (error != 0) return error;
  }
  return 0;
}

// Before Linux 5.14. Only for memory that cannot raise SIGBUS; adding 0 keeps
// what is already there.
void TouchRange(uint8_t* start, size_t bytes) {
  for (size_t offset = 0; offset < bytes; offset += k4KiB) {
    std::atomic_ref<uint8_t>(start[offset]).fetch_add(0, std::memory_order_relaxed);
  }
}

int64_t ThreadMinorFaults() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

// One thread's part of the work; written by that thread only, read after the join.
struct Slice {
  uint8_t* start = nullptr;
  size_t bytes = 0;
  bool hugetlb = false;
  int error = 0;
  int64_t faults = 0;
  pthread_t thread{};
  bool has_thread = false;

  void Populate() {
    const int64_t before = ThreadMinorFaults();
    error = PopulateRange(start, bytes, hugetlb);
    if (error == EINVAL && !hugetlb) {
      TouchRange(start, bytes);
      error = 0;
    }
    faults = ThreadMinorFaults() - before;
  }

  static void* Run(void* slice) {
    static_cast<Slice*>(slice)->Populate();
    return nullptr;
  }
};

std::vector<Slice> MakeSlices(
    uint8_t* start, size_t bytes, size_t unit, bool hugetlb, unsigned count) {
  const size_t pages = bytes / unit;
  const size_t wanted = std::max<size_t>(1, std::min<size_t>(count, pages));
  std::vector<Slice> slices(wanted);
  size_t first = 0;
  for (size_t i = 0; i < wanted; ++i) {
    const size_t next = pages * (i + 1) / wanted;
    slices[i].start = start + first * unit;
    slices[i].bytes = (next - first) * unit;
    slices[i].hugetlb = hugetlb;
    first = next;
  }
  return slices;
}

}  // namespace

Region::Region(Region&& other) noexcept { *this = std::move(other); }

Region& Region::operator=(Region&& other) noexcept {
  if (this == &other) return *this;
  Unmap();
  options_ = other.options_;
  data_ = std::exchange(other.data_, nullptr);
  mapped_bytes_ = std::exchange(other.mapped_bytes_, 0);
  reservation_ = std::exchange(other.reservation_, nullptr);
  reservation_bytes_ = std::exchange(other.reservation_bytes_, 0);
  fd_ = std::exchange(other.fd_, -1);
  id_ = std::exchange(other.id_, 0);
  return *this;
}

Region::~Region() { Unmap(); }

Result<Region> Region::Map(const RegionOptions& options) {
  constexpr size_t kMaxBytes = 1ULL
                               << 47;  // beyond any address space, and rounding up cannot overflow
  const FailedRequest request =
      RequestOf(options, options.bytes < kMaxBytes ? MappedBytes(options) : options.bytes);
  if (options.bytes == 0)
    return Status("ERR_INVALID_ARGUMENT", "a region of 0 bytes was asked for");
  if (options.bytes >= kMaxBytes) return MapFailure(request, ENOMEM, false);
  Status status = BasePagePolicy(options.kind, static_cast<size_t>(sysconf(_SC_PAGESIZE)));
  if (!status.ok()) return status;
  const bool transparent = IsTransparent(options.kind);
  if (transparent) {
    status = CheckThpPolicy(options.shared);
    if (!status.ok()) return status;
  }

  Region region;
  region.options_ = options;
  region.mapped_bytes_ = request.bytes;
  if (options.shared) {
    const Result<int> file = MakeMemoryFile(options, request.bytes);
    if (!file.ok()) return file.status;
    region.fd_ = file.value;
  }
  status = IsHugetlb(options.kind) ? region.MapHugetlb() : region.MapAligned();
  if (!status.ok()) return status;

  // Before the first touch: a policy set later does not move pages.
  if (options.numa_node >= 0) {
    const int error = BindToNode(region.data_, region.mapped_bytes_, options.numa_node);
    if (error != 0) return BindFailure(request, error);
  }
  // EINVAL from MADV_NOHUGEPAGE: a kernel without transparent huge pages has nothing to refuse.
  if (options.kind == PageKind::k4K) madvise(region.data_, region.mapped_bytes_, MADV_NOHUGEPAGE);
  if (transparent && madvise(region.data_, region.mapped_bytes_, MADV_HUGEPAGE) != 0) {
    return Status("ERR_PAGE_KIND_UNSUPPORTED",
                  "this kernel is built without transparent huge pages")
        .WithFix("use pages 4k, or 2m from a hugetlb pool")
        .WithSource("madvise(MADV_HUGEPAGE)", errno);
  }
  // A child's write to a private hugetlb page with an empty pool would end the child by SIGBUS, and
  // copy-on-write after a fork would change what was proven.
  madvise(region.data_, region.mapped_bytes_, MADV_DONTFORK);
  region.id_ = RegionRegistry::OfThisProcess().Add(
      reinterpret_cast<uintptr_t>(region.data_), region.mapped_bytes_, PageKindName(options.kind));
  return region;
}

// The kernel aligns a hugetlb mapping to its pages by itself, and reserves all of them at once.
Status Region::MapHugetlb() {
  const int flags =
      options_.shared
          ? MAP_SHARED
          : static_cast<int>(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HugeFlags(options_.kind));
  const auto map = [&] {
    return mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, flags, fd_, 0);
  };
  void* address = map();
  if (address == MAP_FAILED && errno == ENOMEM) {
    // An empty pool and a cgroup limit give the same errno. Once more, between two readings of the
    // cgroup's refusals, tells which.
    const HugetlbCgroup cgroup = HugetlbCgroup::OfThisProcess(PageBytes(options_.kind));
    const uint64_t before = cgroup.Refusals();
    address = map();
    if (address == MAP_FAILED) {
      const int error = errno;
      return MapFailure(RequestOf(options_, mapped_bytes_), error, cgroup.Refusals() > before);
    }
  }
  if (address == MAP_FAILED) return MapFailure(RequestOf(options_, mapped_bytes_), errno, false);
  reservation_ = address;
  reservation_bytes_ = mapped_bytes_;
  data_ = static_cast<uint8_t*>(address);
  return Status::Ok();
}

// Address space for the mapping and its alignment first, then the memory into the middle of
// it. What is left over at both ends stays without access rights: it keeps the kernel from
// merging the mapping with a neighbour (smaps counts whole mappings), and an overrun ends
// there instead of in other memory.
Status Region::MapAligned() {
  const FailedRequest request = RequestOf(options_, mapped_bytes_);
  const size_t span = mapped_bytes_ + 2 * k2MiB;
  void* reservation = mmap(nullptr, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reservation == MAP_FAILED) return MapFailure(request, errno, false);
  reservation_ = reservation;
  reservation_bytes_ = span;
  // At least one 4 KB page stays in front.
  const auto base = reinterpret_cast<uintptr_t>(reservation);
  auto* aligned = static_cast<uint8_t*>(reservation) + (RoundUp(base + 1, k2MiB) - base);
  const int flags = (options_.shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS) | MAP_FIXED;
  if (mmap(aligned, mapped_bytes_, PROT_READ | PROT_WRITE, flags, fd_, 0) == MAP_FAILED) {
    return MapFailure(request, errno, false);
  }
  data_ = aligned;
  return Status::Ok();
}

Status Region::Populate(unsigned threads, uint64_t* faults) {
  const bool hugetlb = IsHugetlb(options_.kind);
  const size_t unit = IsTransparent(options_.kind) ? k2MiB : PageBytes(options_.kind);
  std::vector<Slice> slices = MakeSlices(data_, mapped_bytes_, unit, hugetlb, threads);
  for (size_t i = 1; i < slices.size(); ++i) {
    slices[i].has_thread = pthread_create(&slices[i].thread, nullptr, Slice::Run, &slices[i]) == 0;
  }
  // A thread that could not be made (pids limit) is no reason to fail: this one does its part too.
  for (Slice& slice : slices) {
    if (!slice.has_thread) slice.Populate();
  }
  int64_t total = 0;
  for (Slice& slice : slices) {
    if (slice.has_thread) pthread_join(slice.thread, nullptr);
    total += slice.faults;
  }
  const int64_t before = ThreadMinorFaults();
  for (const Slice& slice : slices) {
    if (slice.error == 0) continue;
    Status status = ExplainPopulate(slice.start, slice.bytes, slice.error);
    if (!status.ok()) return status;
  }
  // What only a second attempt faulted in counts as well: fewer faults than pages would look like
  // larger pages than asked for.
  if (faults != nullptr) *faults = static_cast<uint64_t>(total + ThreadMinorFaults() - before);
  return IsTransparent(options_.kind) && options_.shared ? CollapseShared() : Status::Ok();
}

// A refused fault looks the same for a cgroup limit and an empty node: repeating it between two
// readings of the cgroup's refusals tells which. Ok when the second attempt goes through.
Status Region::ExplainPopulate(uint8_t* start, size_t bytes, int error) const {
  const FailedRequest request = RequestOf(options_, mapped_bytes_);
  if (!IsHugetlb(options_.kind) || error != EFAULT) {
    return PopulateFailure(request, error, false, bytes);
  }
  const HugetlbCgroup cgroup = HugetlbCgroup::OfThisProcess(PageBytes(options_.kind));
  const uint64_t before = cgroup.Refusals();
  error = PopulateRange(start, bytes, true);
  if (error == 0) return Status::Ok();
  const bool refused = cgroup.Refusals() > before;
  const Result<PageProof> proof = Prove();
  const size_t left = proof.ok() ? proof.value.bytes_absent : bytes;
  return PopulateFailure(request, error, refused, left);
}

// Faults give shared memory 4 KB pages unless shmem_enabled says otherwise;
// collapsing does not ask it.
Status Region::CollapseShared() {
  constexpr int kMaxTemporary = 100;
  int error = 0;
  for (size_t offset = 0; offset < mapped_bytes_ && error == 0; offset += k2MiB) {
    int temporary = 0;
    while (madvise(data_ + offset, k2MiB, kMadvCollapse) != 0) {
      if (errno == EINTR) continue;
      // EAGAIN: a page was busy; EBUSY too on some kernels.
      if ((errno != EAGAIN && errno != EBUSY) || ++temporary > kMaxTemporary) {
        error = errno;
        break;
      }
      sched_yield();
    }
  }
  if (error == 0) return Status::Ok();
  // On an older kernel with shmem_enabled=advise the pages came huge from the fault: proof decides.
  const Result<PageProof> proof = Prove();
  if (!proof.ok()) return proof.status;
  Status status = CheckProof(proof.value, PageKind::kThp, mapped_bytes_, false);
  if (status.ok()) return status;
  if (error == EINVAL) {
    return Status("ERR_PAGE_KIND_UNSUPPORTED",
                  "shared memory on transparent huge pages needs MADV_COLLAPSE (Linux 6.1); " +
                      status.message())
        .WithFix("echo advise | sudo tee /sys/kernel/mm/transparent_hugepage/shmem_enabled")
        .WithSource("madvise(MADV_COLLAPSE)", error);
  }
  return Status(status.code(),
                status.message() + "; madvise(MADV_COLLAPSE): " + std::strerror(error))
      .WithFix("echo 1 | sudo tee /proc/sys/vm/compact_memory")
      .WithSource("madvise(MADV_COLLAPSE)", error);
}

Status Region::SplitTo4K() {
  for (size_t offset = 0; offset < mapped_bytes_; offset += k2MiB) {
    // Changing the rights of one page splits the huge mapping, not the memory under it.
    if (mprotect(data_ + offset, k4KiB, PROT_READ) != 0 ||
        mprotect(data_ + offset, k4KiB, PROT_READ | PROT_WRITE) != 0) {
      return Status("ERR_SYSCALL", std::string("mprotect failed: ") + std::strerror(errno))
          .WithSource("mprotect", errno);
    }
  }
  // Or khugepaged heals it: 48 of 64 MiB were huge again after 25 s.
  if (madvise(data_, mapped_bytes_, MADV_NOHUGEPAGE) != 0) {
    return Status("ERR_SYSCALL", std::string("MADV_NOHUGEPAGE failed: ") + std::strerror(errno))
        .WithSource("madvise(MADV_NOHUGEPAGE)", errno);
  }
  options_.kind = PageKind::k4KSplit;
  RegionRegistry::OfThisProcess().SetPageKind(id_, PageKindName(options_.kind));
  return Status::Ok();
}

Status Region::Lock() {
  if (mlock(data_, mapped_bytes_) == 0) return Status::Ok();
  return LockFailure(RequestOf(options_, mapped_bytes_), errno);
}

Result<PageProof> Region::Prove() const { return ProvePages(data_, mapped_bytes_); }

void Region::Unmap() {
  if (id_ != 0) RegionRegistry::OfThisProcess().Remove(id_);
  id_ = 0;
  if (reservation_ != nullptr) munmap(reservation_, reservation_bytes_);
  if (fd_ >= 0) close(fd_);
  reservation_ = nullptr;
  reservation_bytes_ = 0;
  data_ = nullptr;
  mapped_bytes_ = 0;
  fd_ = -1;
}

uint64_t NodesOf(const void* address, size_t bytes, size_t max_samples) {
  const size_t pages = bytes / k4KiB;
  const size_t count = std::min(pages, max_samples);
  if (count == 0) return 0;
  std::vector<void*> sampled(count);
  std::vector<int> nodes(count, -1);
  auto* start = static_cast<uint8_t*>(const_cast<void*>(address));  // the call takes no const
  for (size_t i = 0; i < count; ++i) sampled[i] = start + pages * i / count * k4KiB;
  // Without a list of targets the call only asks. -1 below: not present, or not told.
  if (syscall(SYS_move_pages, 0, count, sampled.data(), nullptr, nodes.data(), 0) != 0) return 0;
  uint64_t mask = 0;
  for (const int node : nodes) {
    if (node >= 0 && node < 64) mask |= 1ULL << node;
  }
  return mask;
}

}  // namespace warpgauge
