#include "addon/region_addon.h"

#include <sched.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "addon/errors.h"
#include "addon/options_reader.h"
#include "addon/page_proof_object.h"
#include "memory/region.h"

namespace warpgauge {
namespace {

constexpr napi_type_tag kRegionTag = {0x5b0e6f1d7c2a4e93ULL, 0x9d41c8a2f3b7e065ULL};
constexpr size_t kNodeSamples = 4096;
constexpr int64_t kMaxThreads = 1024;

// Node before 22 makes no buffer above 4 GiB (ERR_BUFFER_TOO_LARGE), so a larger region is handed
// out as windows of 4 GiB that start every 2 GiB: any view of up to 2 GiB lies in one of them.
constexpr size_t kMaxWindow = 4ULL << 30;
constexpr size_t kWindowStride = 2ULL << 30;

struct LiveRegion;

// One ArrayBuffer over a region, or over a part of it.
struct Window {
  LiveRegion* live;
  napi_ref buffer;  // weak
};

// A region that JavaScript holds. Each window owns it twice and lets go in any order: by V8's
// backing store (the memory) and by the ArrayBuffer object (the way from the object to here);
// transfer() parts the two. JS thread of its environment only, which is also where finalizers run.
struct LiveRegion {
  Region region;
  std::vector<Window*> windows;
  size_t stores = 0;  // backing stores that can still reach the memory
  size_t owners = 0;

  void Drop() {
    if (--owners == 0) delete this;
  }
};

void OnStoreFree(napi_env /*env*/, void* /*data*/, void* hint) {
  auto* live = static_cast<LiveRegion*>(hint);
  if (--live->stores == 0) live->region.Unmap();
  live->Drop();
}

void OnObjectFree(napi_env env, void* data, void* /*hint*/) {
  auto* window = static_cast<Window*>(data);
  LiveRegion* live = window->live;
  std::erase(live->windows, window);
  napi_delete_reference(env, window->buffer);
  delete window;
  live->Drop();
}

// nullptr unless `value` is an ArrayBuffer that allocateRegion made.
LiveRegion* FindRegion(napi_env env, napi_value value) {
  bool is_region = false;
  if (napi_check_object_type_tag(env, value, &kRegionTag, &is_region) != napi_ok || !is_region) {
    return nullptr;
  }
  void* window = nullptr;
  if (napi_unwrap(env, value, &window) != napi_ok) return nullptr;
  return static_cast<Window*>(window)->live;
}

bool IsDetached(napi_env env, napi_value buffer) {
  bool detached = true;
  return napi_is_detached_arraybuffer(env, buffer, &detached) != napi_ok || detached;
}

// Zeroing is bound by memory bandwidth: a second core nearly doubles it, beyond four it gains
// little and takes the cores of others. Below 64 MiB starting threads costs more than it saves.
unsigned DefaultThreads(size_t bytes) {
  constexpr size_t kLarge = 64ULL << 20;
  if (bytes < kLarge) return 1;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  // Fails where the machine has more CPUs than the set holds: enough for the limit below.
  const int count = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 4;
  return static_cast<unsigned>(std::clamp(count, 1, 4));
}

Status CheckNodes(uint64_t nodes, int wanted) {
  if (wanted < 0 || wanted > 63 || nodes == 0 || nodes == 1ULL << static_cast<unsigned>(wanted)) {
    return Status::Ok();
  }
  return {"ERR_NUMA_NODE", "pages bound to node " + std::to_string(wanted) + " lie on other nodes"};
}

constexpr uint64_t kNotCounted = UINT64_MAX;

// The fault count is the witness that does not come from the page tables. More faults than pages
// mean nothing (starting a thread takes some), fewer mean larger pages than asked for. Of hugetlb
// pages, which cannot be larger, they mean that the kernel does not count them while it populates
// (6.1 does not, 6.18 does): then `faults` becomes kNotCounted.
Status CheckFaults(const Region& region, uint64_t* faults_taken) {
  const RegionOptions& options = region.options();
  const bool collapsed = options.shared && options.kind == PageKind::kThp;
  const uint64_t faults = *faults_taken;
  const uint64_t pages = region.mapped_bytes() / PageBytes(options.kind);
  if (collapsed || faults >= pages) return Status::Ok();
  if (options.kind == PageKind::k2M || options.kind == PageKind::k1G) {
    *faults_taken = kNotCounted;
    return Status::Ok();
  }
  return {"ERR_PAGES_NOT_GRANTED",
          std::to_string(pages) + " pages of " + PageKindName(options.kind) + " took only " +
              std::to_string(faults) + " page faults: the kernel used larger ones"};
}

// One call of allocateRegion. Made and ended on the JS thread; Work runs on a
// thread of libuv's pool.
struct Allocation {
  RegionOptions options;
  bool populate = true;
  unsigned threads = 1;
  napi_deferred deferred = nullptr;
  napi_async_work work = nullptr;

  // Written by Work, read by Finish after it.
  Region region;
  Status status;
  PageProof proof;
  uint64_t faults = 0;
  uint64_t nodes = 0;

  // Of the region, taken before JavaScript becomes its owner.
  uint64_t address = 0;
  size_t mapped_bytes = 0;
  int fd = -1;
  uint64_t id = 0;

  void Work() {
    status = Fill();
    if (!status.ok()) region.Unmap();  // here, because giving back gigabytes takes a while
  }

  Status Fill() {
    Result<Region> mapped = Region::Map(options);
    if (!mapped.ok()) return mapped.status;
    region = std::move(mapped.value);
    if (!populate) return Status::Ok();
    Status done = region.Populate(threads, &faults);
    if (!done.ok()) return done;
    if (options.lock) {
      done = region.Lock();
      if (!done.ok()) return done;
    }
    const Result<PageProof> proven = region.Prove();
    if (!proven.ok()) return proven.status;
    proof = proven.value;
    done = CheckProof(proof, options.kind, region.mapped_bytes(), false);
    if (!done.ok()) return done;
    done = CheckFaults(region, &faults);
    if (!done.ok()) return done;
    nodes = NodesOf(region.data(), region.mapped_bytes(), kNodeSamples);
    return CheckNodes(nodes, options.numa_node);
  }
};

Status BufferFailure(napi_env env, napi_status status) {
  napi_value exception = nullptr;
  napi_get_and_clear_last_exception(env, &exception);
  if (status == napi_no_external_buffers_allowed) {
    return Status("ERR_PAGE_KIND_UNSUPPORTED",
                  "this runtime forbids memory from outside its own heap (Electron does), so a "
                  "page-backed "
                  "buffer cannot be handed to JavaScript")
        .WithFix("allocate in a child process of plain Node")
        .WithSource("napi_create_external_arraybuffer", status);
  }
  return Status("ERR_NO_MEMORY", "the runtime refused an ArrayBuffer over the region")
      .WithSource("napi_create_external_arraybuffer", status);
}

// An ArrayBuffer over [offset, offset + bytes) of the region.
Result<napi_value> MakeWindow(napi_env env, LiveRegion* live, size_t offset, size_t bytes) {
  napi_value buffer = nullptr;
  ++live->stores;
  ++live->owners;
  // A call that fails may or may not run the finalizer: then the struct is left over
  // rather than freed twice.
  const napi_status created = napi_create_external_arraybuffer(
      env, live->region.data() + offset, bytes, OnStoreFree, live, &buffer);
  if (created != napi_ok) return BufferFailure(env, created);
  auto* window = new Window{live, nullptr};
  if (napi_create_reference(env, buffer, 0, &window->buffer) != napi_ok ||
      napi_type_tag_object(env, buffer, &kRegionTag) != napi_ok ||
      napi_wrap(env, buffer, window, OnObjectFree, nullptr, nullptr) != napi_ok) {
    if (window->buffer != nullptr) napi_delete_reference(env, window->buffer);
    delete window;
    return Status("ERR_INTERRUPTED", "the environment is ending");
  }
  ++live->owners;
  live->windows.push_back(window);
  return buffer;
}

size_t MaxWindow(napi_env env) {
  const napi_node_version* version = nullptr;
  const bool unlimited = napi_get_node_version(env, &version) == napi_ok && version->major >= 22;
  return unlimited ? SIZE_MAX : kMaxWindow;
}

// All windows over the region, which they own from here on.
Result<Napi::Array> MakeWindows(Napi::Env env, Region* region) {
  auto* live = new LiveRegion;
  live->owners = 1;  // this function
  live->region = std::move(*region);
  const size_t bytes = live->region.bytes();
  const size_t max_window = MaxWindow(env);
  Napi::Array windows = Napi::Array::New(env);
  Status status;
  size_t offset = 0;
  do {
    const Result<napi_value> window =
        MakeWindow(env, live, offset, std::min(bytes - offset, max_window));
    status = window.status;
    if (!status.ok()) break;
    windows.Set(windows.Length(), Napi::Value(env, window.value));
    if (bytes - offset <= max_window) break;
    offset += kWindowStride;
  } while (true);
  if (!status.ok()) {
    for (const Window* window : live->windows) {
      napi_value buffer = nullptr;
      napi_get_reference_value(env, window->buffer, &buffer);
      if (buffer != nullptr) napi_detach_arraybuffer(env, buffer);
    }
    live->region.Unmap();
  }
  live->Drop();
  if (!status.ok()) return status;
  return windows;
}

Napi::Array NodeList(Napi::Env env, uint64_t nodes) {
  Napi::Array list = Napi::Array::New(env);
  uint32_t next = 0;
  for (unsigned node = 0; node < 64; ++node) {
    if ((nodes >> node & 1) != 0) list.Set(next++, Napi::Number::New(env, node));
  }
  return list;
}

Napi::Object MakeResult(Napi::Env env, const Allocation& allocation, const Napi::Array& windows) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("buffer", windows.Get(0U));
  result.Set("windows", windows);
  result.Set("windowStride", static_cast<double>(kWindowStride));
  result.Set("address", Napi::BigInt::New(env, allocation.address));
  result.Set("mappedBytes", static_cast<double>(allocation.mapped_bytes));
  const bool populated = allocation.populate;
  result.Set("proof", populated ? PageProofObject(env, allocation.proof) : env.Null());
  result.Set("populateFaults",
             populated && allocation.faults != kNotCounted
                 ? Napi::Number::New(env, static_cast<double>(allocation.faults))
                 : env.Null());
  result.Set("numaNodes", NodeList(env, allocation.nodes));
  result.Set("fd", allocation.fd);
  result.Set("id", static_cast<double>(allocation.id));
  return result;
}

void OnWork(napi_env /*env*/, void* data) { static_cast<Allocation*>(data)->Work(); }

// Also called while the environment ends: then every call into JavaScript fails, and what was
// mapped goes with `allocation`.
void OnWorkDone(napi_env raw, napi_status work_status, void* data) {
  auto* allocation = static_cast<Allocation*>(data);
  const Napi::Env env(raw);
  const Napi::HandleScope scope(env);
  if (work_status == napi_ok) {
    Result<Napi::Array> windows = allocation->status;
    if (windows.ok()) {
      allocation->address = reinterpret_cast<uint64_t>(allocation->region.data());
      allocation->mapped_bytes = allocation->region.mapped_bytes();
      allocation->fd = allocation->region.fd();
      allocation->id = allocation->region.id();
      windows = MakeWindows(env, &allocation->region);
    }
    if (windows.ok()) {
      const Napi::Object result = MakeResult(env, *allocation, windows.value);
      napi_resolve_deferred(env, allocation->deferred, result);
    } else {
      napi_reject_deferred(env, allocation->deferred, MakeError(env, windows.status));
    }
  }
  napi_delete_async_work(env, allocation->work);
  delete allocation;
}

// TypeScript: allocateRegion(options: NativeRegionOptions): Promise<NativeRegion>
//
// On a thread of libuv's pool, because zeroing takes 30 ms per GiB at best: the event loop goes on.
Napi::Value AllocateRegion(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto* allocation = new Allocation;
  RegionOptions& options = allocation->options;
  OptionsReader given(env, info[0], "allocateRegion");
  options.bytes = static_cast<size_t>(given.Integer("bytes", 0, kMaxInteger));
  if (!ParsePageKind(given.Text("pages").c_str(), &options.kind)) given.Refuse("pages");
  options.numa_node = static_cast<int>(given.Integer("numaNode", -1, INT32_MAX));
  options.lock = given.Flag("lock");
  options.shared = given.Flag("shared");
  allocation->populate = given.Flag("populate");
  allocation->threads = static_cast<unsigned>(given.Integer("threads", 0, kMaxThreads));
  if (allocation->threads == 0) allocation->threads = DefaultThreads(options.bytes);

  napi_value promise = nullptr;
  napi_value name = nullptr;
  Status status = given.status();
  if (!status.ok() ||
      napi_create_string_utf8(env, "warpgauge:allocate", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_promise(env, &allocation->deferred, &promise) != napi_ok ||
      napi_create_async_work(
          env, nullptr, name, OnWork, OnWorkDone, allocation, &allocation->work) != napi_ok ||
      napi_queue_async_work(env, allocation->work) != napi_ok) {
    if (allocation->work != nullptr) napi_delete_async_work(env, allocation->work);
    delete allocation;
    if (status.ok()) status = Status("ERR_INTERRUPTED", "the environment is ending");
    return Throw(env, status);
  }
  return {env, promise};
}

// TypeScript: releaseRegion(buffer: ArrayBuffer): void
//
// All windows are detached first: from then on no view can reach the memory that goes away.
Napi::Value ReleaseRegion(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  LiveRegion* live = FindRegion(env, info[0]);
  if (live == nullptr) {
    return Throw(env, Status("ERR_INVALID_ARGUMENT", "the buffer was not made by allocateRegion"));
  }
  ++live->owners;  // detaching may run finalizers at once
  const size_t stores = live->stores;
  size_t detached = 0;
  for (const Window* window : std::vector<Window*>(live->windows)) {
    napi_value buffer = nullptr;
    napi_get_reference_value(env, window->buffer, &buffer);
    if (buffer == nullptr || IsDetached(env, buffer)) continue;
    if (napi_detach_arraybuffer(env, buffer) == napi_ok) ++detached;
  }
  // A store without a window that could be detached was moved away by transfer(), or waits for its
  // finalizer: then the memory goes when the last store does.
  if (detached == stores) live->region.Unmap();
  live->Drop();
  return env.Undefined();
}

// TypeScript: proveRegion(buffer: ArrayBuffer): NativePageProof
Napi::Value ProveRegion(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const LiveRegion* live = FindRegion(env, info[0]);
  if (live == nullptr || IsDetached(env, info[0])) {
    return Throw(env, Status("ERR_CLOSED", "the region is closed"));
  }
  const Result<PageProof> proof = live->region.Prove();
  if (!proof.ok()) return Throw(env, proof.status);
  return PageProofObject(env, proof.value);
}

}  // namespace

RegionBytes BytesOfRegion(napi_env env, napi_value buffer) {
  LiveRegion* live = FindRegion(env, buffer);
  if (live == nullptr || IsDetached(env, buffer)) {
    return {Status("ERR_CLOSED", "the region is closed"), nullptr, 0};
  }
  return {Status::Ok(), live->region.data(), live->region.mapped_bytes()};
}

void InitRegions(Napi::Env env, Napi::Object exports) {
  exports.Set("allocateRegion", Napi::Function::New(env, AllocateRegion, "allocateRegion"));
  exports.Set("releaseRegion", Napi::Function::New(env, ReleaseRegion, "releaseRegion"));
  exports.Set("proveRegion", Napi::Function::New(env, ProveRegion, "proveRegion"));
}

}  // namespace warpgauge
