#include "copy/host_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/clock.h"

namespace warpgauge {
namespace {

constexpr uint8_t kPoison = 0xA5;

// The test hook "+10 %": stays inside the timed region until `share` of the copy's own
// time has passed again.
void Stretch(int64_t start, double share) {
  if (share <= 0) return;
  const int64_t now = MonotonicRawNs();
  const int64_t until = now + static_cast<int64_t>(static_cast<double>(now - start) * share);
  while (MonotonicRawNs() < until) {
  }
}

// memcpy of a chunk that leaves out one 4 KB page of the host buffer: the fault every
// verification must name.
void CopyWithout(
    uint8_t* dst, const uint8_t* src, size_t offset, size_t length, int64_t drop_page) {
  const size_t from = static_cast<size_t>(drop_page) * k4KiB;
  for (size_t i = 0; i < length; i += k4KiB) {
    const size_t n = std::min(k4KiB, length - i);
    if (offset + i == from) continue;
    std::memcpy(dst + i, src + i, n);
  }
}

Status NotOnHost(const char* what) {
  return Status("ERR_ILLEGAL_CELL",
                std::string(what) + " needs a CUDA device; the host proxy has none")
      .WithFix("run on a machine with an NVIDIA GPU and --backend cuda");
}

}  // namespace

void StageFromUser(uint8_t* staging, const uint8_t* host, size_t bytes) {
  for (size_t done = 0; done < bytes; done += kStagingBytes) {
    std::memcpy(staging, host + done, std::min(kStagingBytes, bytes - done));
  }
}

void StageToUser(uint8_t* host, const uint8_t* staging, size_t bytes) {
  for (size_t done = 0; done < bytes; done += kStagingBytes) {
    std::memcpy(host + done, staging, std::min(kStagingBytes, bytes - done));
  }
}

Result<std::unique_ptr<CopyBackend>> HostBackend::Open() {
  std::unique_ptr<HostBackend> backend(new HostBackend);
  // On a transparent huge page where there is one, so that staging costs one TLB entry; where THP
  // is off the staging buffer is on 4 KB pages for every cell alike.
  RegionOptions options{.bytes = k2MiB, .kind = PageKind::kThp};
  auto region = Region::Map(options);
  if (!region.ok()) {
    options.kind = PageKind::k4K;
    region = Region::Map(options);
  }
  if (!region.ok()) return region.status;
  backend->staging_memory_ = std::move(region.value);
  if (Status s = backend->staging_memory_.Populate(1); !s.ok()) return s;
  backend->staging_ = backend->staging_memory_.data();
  return std::unique_ptr<CopyBackend>(std::move(backend));
}

Status HostBackend::Reserve(size_t /*bytes*/, bool vector_add) {
  return vector_add ? NotOnHost("vectorAdd") : Status::Ok();
}

Status HostBackend::LoadDevice(const Pattern& pattern, size_t /*bytes*/) {
  pattern.Fill(staging_, kStagingBytes);
  return Status::Ok();
}

Status HostBackend::PoisonDevice(size_t /*bytes*/) {
  std::memset(staging_, kPoison, kStagingBytes);
  return Status::Ok();
}

void HostBackend::RewarmStaging(size_t bytes) {
  const size_t length = std::min(bytes, kStagingBytes);
  const volatile uint8_t* p = staging_;
  for (size_t i = 0; i < length; i += 64) (void)p[i];
}

Result<CopyTiming> HostBackend::CopyHtoD(const uint8_t* host, size_t bytes, PinMode /*pin*/) {
  const int64_t start = MonotonicRawNs();
  if (fault_.drop_page < 0) {
    StageFromUser(staging_, host, bytes);
  } else {
    for (size_t done = 0; done < bytes; done += kStagingBytes) {
      CopyWithout(
          staging_, host + done, done, std::min(kStagingBytes, bytes - done), fault_.drop_page);
    }
  }
  Stretch(start, fault_.stretch);
  return CopyTiming{.host_ns = MonotonicRawNs() - start};
}

Result<CopyTiming> HostBackend::CopyDtoH(uint8_t* host, size_t bytes, PinMode /*pin*/) {
  const int64_t start = MonotonicRawNs();
  if (fault_.drop_page < 0) {
    StageToUser(host, staging_, bytes);
  } else {
    for (size_t done = 0; done < bytes; done += kStagingBytes) {
      CopyWithout(
          host + done, staging_, done, std::min(kStagingBytes, bytes - done), fault_.drop_page);
    }
  }
  Stretch(start, fault_.stretch);
  return CopyTiming{.host_ns = MonotonicRawNs() - start};
}

Result<int64_t> HostBackend::VerifyHtoD(const uint8_t* host, size_t bytes, const Pattern& pattern) {
  // What the timed copy itself left: it started on poison, and every chunk has the same content, so
  // a copy that moved less than a period shows here.
  const int64_t left = pattern.FirstMismatch(staging_, std::min(bytes, kStagingBytes));
  if (left >= 0) return left;
  for (size_t done = 0; done < bytes; done += kStagingBytes) {
    const size_t length = std::min(kStagingBytes, bytes - done);
    // Every chunk has the same content at the same staging offset: without the poison a page that
    // was left out would show the previous chunk's bytes and pass.
    std::memset(staging_, kPoison, length);
    if (fault_.drop_page < 0) {
      std::memcpy(staging_, host + done, length);
    } else {
      CopyWithout(staging_, host + done, done, length, fault_.drop_page);
    }
    const int64_t bad = pattern.FirstMismatch(staging_, length);
    if (bad >= 0) return static_cast<int64_t>(done) + bad;
  }
  return int64_t{-1};
}

Status HostBackend::Register(uint8_t* host, size_t bytes, int64_t* register_ns) {
  return pin_.Pin(host, bytes, register_ns);
}

Status HostBackend::Unregister(uint8_t* /*host*/, int64_t* unregister_ns) {
  return pin_.Unpin(unregister_ns);
}

Result<uint8_t*> HostBackend::HostAlloc(size_t /*bytes*/) { return NotOnHost("pin=hostalloc"); }

Status HostBackend::HostFree(uint8_t* /*host*/) { return NotOnHost("pin=hostalloc"); }

Result<VectorAddTiming> HostBackend::VectorAdd(
    const double* /*a*/, const double* /*b*/, double* /*c*/, size_t /*count*/, PinMode /*pin*/) {
  return NotOnHost("vectorAdd");
}

}  // namespace warpgauge
