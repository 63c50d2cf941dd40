#include "addon/probe_addon.h"

#include <cstdint>  // defines __GLIBC__ where it is glibc
#include <string>
#include <vector>

#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

#include "core/dynamic_library.h"
#include "os/kernel_probe.h"
#include "os/perf_event.h"

namespace warpgauge {
namespace {

Napi::Value NullOrErrno(Napi::Env env, int error) {
  return error == 0 ? env.Null() : Napi::Number::New(env, error);
}

// TypeScript: probeLibrary(names: readonly string[]): { readonly path: string } | { readonly
// reason: string }
//
// Loading runs the constructors of the library and nothing else; it stays loaded, because unloading
// a driver library under its own threads crashes the process.
Napi::Value ProbeLibrary(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto list = info[0].As<Napi::Array>();
  std::vector<std::string> names;
  names.reserve(list.Length());
  for (uint32_t i = 0; i < list.Length(); i++) {
    names.push_back(list.Get(i).As<Napi::String>().Utf8Value());
  }
  const Result<DynamicLibrary> library = DynamicLibrary::Open(names);
  Napi::Object result = Napi::Object::New(env);
  if (library.ok()) {
    result.Set("path", library.value.path());
  } else {
    result.Set("reason", library.status.message());
  }
  return result;
}

// int perf_event_open(struct perf_event_attr *, pid_t, int cpu, int group_fd, unsigned long flags)
// TypeScript: probePerfEvent(type: number, config: number, excludeKernel: boolean): number | null
Napi::Value ProbePerfEvent(const Napi::CallbackInfo& info) {
  const Result<PerfCounter> counter =
      PerfCounter::OpenForThread(info[0].As<Napi::Number>().Uint32Value(),
                                 static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value()),
                                 info[2].As<Napi::Boolean>().Value());
  return NullOrErrno(info.Env(), counter.ok() ? 0 : counter.status.number());
}

// int io_uring_setup(u32 entries, struct io_uring_params *p)
// TypeScript: probeIoUring(): number | null
Napi::Value ProbeIoUringJs(const Napi::CallbackInfo& info) {
  return NullOrErrno(info.Env(), ProbeIoUring());
}

// int ioctl(int pagemap_fd, PAGEMAP_SCAN, struct pm_scan_arg *arg)
// TypeScript: probePagemapScan(): number | null
Napi::Value ProbePagemapScanJs(const Napi::CallbackInfo& info) {
  return NullOrErrno(info.Env(), ProbePagemapScan());
}

// int madvise(void *addr, size_t length, MADV_POPULATE_WRITE)
// TypeScript: probePopulateWrite(): number | null
Napi::Value ProbePopulateWriteJs(const Napi::CallbackInfo& info) {
  return NullOrErrno(info.Env(), ProbePopulateWrite());
}

// int prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0)
// TypeScript: thpDisabled(): number
Napi::Value ThpDisabledJs(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), ThpDisabled());
}

// const char *gnu_get_libc_version(void)
// TypeScript: libcVersion(): string | null
Napi::Value LibcVersionJs(const Napi::CallbackInfo& info) {
#if defined(__GLIBC__)
  return Napi::String::New(info.Env(), gnu_get_libc_version());
#else
  return info.Env().Null();
#endif
}

}  // namespace

void InitProbes(Napi::Env env, Napi::Object exports) {
  exports.Set("probeLibrary", Napi::Function::New(env, ProbeLibrary, "probeLibrary"));
  exports.Set("probePerfEvent", Napi::Function::New(env, ProbePerfEvent, "probePerfEvent"));
  exports.Set("probeIoUring", Napi::Function::New(env, ProbeIoUringJs, "probeIoUring"));
  exports.Set("probePagemapScan", Napi::Function::New(env, ProbePagemapScanJs, "probePagemapScan"));
  exports.Set("probePopulateWrite",
              Napi::Function::New(env, ProbePopulateWriteJs, "probePopulateWrite"));
  exports.Set("thpDisabled", Napi::Function::New(env, ThpDisabledJs, "thpDisabled"));
  exports.Set("libcVersion", Napi::Function::New(env, LibcVersionJs, "libcVersion"));
}

}  // namespace warpgauge
