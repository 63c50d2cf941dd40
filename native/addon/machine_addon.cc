#include "addon/machine_addon.h"

#include <sys/file.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "addon/errors.h"
#include "addon/region_addon.h"
#include "memory/placement.h"

namespace warpgauge {
namespace {

std::vector<int> ReadNumbers(const Napi::Value& value) {
  const auto list = value.As<Napi::Array>();
  std::vector<int> numbers;
  numbers.reserve(list.Length());
  for (uint32_t i = 0; i < list.Length(); i++) {
    numbers.push_back(list.Get(i).As<Napi::Number>().Int32Value());
  }
  return numbers;
}

Napi::Array NumberList(Napi::Env env, const std::vector<int>& numbers) {
  Napi::Array list = Napi::Array::New(env, numbers.size());
  for (uint32_t i = 0; i < numbers.size(); i++) list.Set(i, Napi::Number::New(env, numbers[i]));
  return list;
}

Napi::Value ThrowOrUndefined(Napi::Env env, const Status& status) {
  return status.ok() ? env.Undefined() : Throw(env, status);
}

// int flock(int fd, LOCK_EX | LOCK_NB)
// TypeScript: lockFile(fd: number): number | null
Napi::Value LockFileJs(const Napi::CallbackInfo& info) {
  const int fd = info[0].As<Napi::Number>().Int32Value();
  int error = 0;
  do {
    error = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  } while (error == EINTR);
  return error == 0 ? info.Env().Null() : Napi::Number::New(info.Env(), error);
}

// int sched_getaffinity(pid_t tid, size_t bytes, unsigned long *mask)
// TypeScript: threadAffinity(tid: number): number[]
Napi::Value ThreadAffinityJs(const Napi::CallbackInfo& info) {
  const Result<std::vector<int>> cpus = ThreadAffinity(info[0].As<Napi::Number>().Int32Value());
  if (!cpus.ok()) return Throw(info.Env(), cpus.status);
  return NumberList(info.Env(), cpus.value);
}

// int sched_setaffinity(pid_t tid, size_t bytes, const unsigned long *mask)
// TypeScript: setThreadAffinity(tid: number, cpus: readonly number[]): void
Napi::Value SetThreadAffinityJs(const Napi::CallbackInfo& info) {
  return ThrowOrUndefined(
      info.Env(), SetThreadAffinity(info[0].As<Napi::Number>().Int32Value(), ReadNumbers(info[1])));
}

// long get_mempolicy(int *mode, unsigned long *nodes, unsigned long max_node, void *addr, 0)
// TypeScript: memoryPolicy(): { readonly mode: number; readonly nodes: readonly number[] }
Napi::Value MemoryPolicyJs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Result<MemoryPolicy> policy = ThreadMemoryPolicy();
  if (!policy.ok()) return Throw(env, policy.status);
  Napi::Object result = Napi::Object::New(env);
  result.Set("mode", Napi::Number::New(env, policy.value.mode));
  result.Set("nodes", NumberList(env, policy.value.nodes));
  return result;
}

// long set_mempolicy(int mode, const unsigned long *nodes, unsigned long max_node)
// TypeScript: setMemoryPolicy(mode: number, nodes: readonly number[]): void
Napi::Value SetMemoryPolicyJs(const Napi::CallbackInfo& info) {
  return ThrowOrUndefined(
      info.Env(),
      SetThreadMemoryPolicy({info[0].As<Napi::Number>().Int32Value(), ReadNumbers(info[1])}));
}

// int prctl(PR_SET_THP_DISABLE, disabled, 0, 0, 0)
// TypeScript: setThpDisabled(disabled: boolean): void
Napi::Value SetThpDisabledJs(const Napi::CallbackInfo& info) {
  return ThrowOrUndefined(info.Env(), SetThpDisabled(info[0].As<Napi::Boolean>().Value()));
}

// long mbind(void *addr, unsigned long len, MPOL_BIND, const unsigned long *nodes, max_node,
// MPOL_MF_MOVE)
// TypeScript: moveRegion(buffer: ArrayBuffer, node: number): void
Napi::Value MoveRegionJs(const Napi::CallbackInfo& info) {
  const RegionBytes region = BytesOfRegion(info.Env(), info[0]);
  if (!region.status.ok()) return Throw(info.Env(), region.status);
  return ThrowOrUndefined(
      info.Env(), MovePages(region.address, region.bytes, info[1].As<Napi::Number>().Int32Value()));
}

// long move_pages(0, count, void **pages, NULL, int *status, 0)
// TypeScript: regionNodes(buffer: ArrayBuffer, most: number): readonly (readonly [node: number, pages: number])[]
Napi::Value RegionNodesJs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const RegionBytes region = BytesOfRegion(env, info[0]);
  if (!region.status.ok()) return Throw(env, region.status);
  const auto counts =
      PagesByNode(region.address, region.bytes, info[1].As<Napi::Number>().Uint32Value());
  if (!counts.ok()) return Throw(env, counts.status);
  Napi::Array list = Napi::Array::New(env);
  for (const auto& [node, pages] : counts.value) {
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0U, Napi::Number::New(env, node));
    pair.Set(1U, Napi::Number::New(env, static_cast<double>(pages)));
    list.Set(list.Length(), pair);
  }
  return list;
}

// int madvise(void *addr, size_t length, int advice)
// TypeScript: adviseRegion(buffer: ArrayBuffer, advice: number): void
Napi::Value AdviseRegionJs(const Napi::CallbackInfo& info) {
  const RegionBytes region = BytesOfRegion(info.Env(), info[0]);
  if (!region.status.ok()) return Throw(info.Env(), region.status);
  return ThrowOrUndefined(
      info.Env(),
      AdvisePages(region.address, region.bytes, info[1].As<Napi::Number>().Int32Value()));
}

}  // namespace

void InitMachine(Napi::Env env, Napi::Object exports) {
  exports.Set("lockFile", Napi::Function::New(env, LockFileJs, "lockFile"));
  exports.Set("threadAffinity", Napi::Function::New(env, ThreadAffinityJs, "threadAffinity"));
  exports.Set("setThreadAffinity",
              Napi::Function::New(env, SetThreadAffinityJs, "setThreadAffinity"));
  exports.Set("memoryPolicy", Napi::Function::New(env, MemoryPolicyJs, "memoryPolicy"));
  exports.Set("setMemoryPolicy", Napi::Function::New(env, SetMemoryPolicyJs, "setMemoryPolicy"));
  exports.Set("setThpDisabled", Napi::Function::New(env, SetThpDisabledJs, "setThpDisabled"));
  exports.Set("moveRegion", Napi::Function::New(env, MoveRegionJs, "moveRegion"));
  exports.Set("regionNodes", Napi::Function::New(env, RegionNodesJs, "regionNodes"));
  exports.Set("adviseRegion", Napi::Function::New(env, AdviseRegionJs, "adviseRegion"));
}

}  // namespace warpgauge
