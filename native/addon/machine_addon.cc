#include "addon/machine_addon.h"

#include <sys/file.h>

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "addon/errors.h"
#include "addon/region_addon.h"
#include "memory/placement.h"

namespace warpgauge {
namespace {

// A whole number from 0 on, or the pending error ERR_INVALID_ARGUMENT: nothing is done with another
// value.
bool ReadWhole(const Napi::Value& value, const char* name, int* number) {
  if (value.IsNumber()) {
    const double given = value.As<Napi::Number>().DoubleValue();
    if (given >= 0 && given <= INT32_MAX && given == std::floor(given)) {
      *number = static_cast<int>(given);
      return true;
    }
  }
  Throw(value.Env(),
        Status("ERR_INVALID_ARGUMENT", std::string("Expected a whole number for ") + name));
  return false;
}

bool ReadList(const Napi::Value& value, const char* name, std::vector<int>* numbers) {
  if (!value.IsArray()) {
    Throw(value.Env(), Status("ERR_INVALID_ARGUMENT", std::string("Expected a list for ") + name));
    return false;
  }
  const auto list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) {
    int number = 0;
    if (!ReadWhole(list.Get(i), name, &number)) return false;
    numbers->push_back(number);
  }
  return true;
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
  int fd = -1;
  if (!ReadWhole(info[0], "fd", &fd)) return info.Env().Undefined();
  int error = 0;
  do {
    error = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
  } while (error == EINTR);
  return error == 0 ? info.Env().Null() : Napi::Number::New(info.Env(), error);
}

// int sched_getaffinity(pid_t tid, size_t bytes, unsigned long *mask)
// TypeScript: threadAffinity(tid: number): number[]
Napi::Value ThreadAffinityJs(const Napi::CallbackInfo& info) {
  int tid = 0;
  if (!ReadWhole(info[0], "tid", &tid)) return info.Env().Undefined();
  const Result<std::vector<int>> cpus = ThreadAffinity(tid);
  if (!cpus.ok()) return Throw(info.Env(), cpus.status);
  return NumberList(info.Env(), cpus.value);
}

// int sched_setaffinity(pid_t tid, size_t bytes, const unsigned long *mask)
// TypeScript: setThreadAffinity(tid: number, cpus: readonly number[]): void
Napi::Value SetThreadAffinityJs(const Napi::CallbackInfo& info) {
  int tid = 0;
  std::vector<int> cpus;
  if (!ReadWhole(info[0], "tid", &tid) || !ReadList(info[1], "cpus", &cpus)) {
    return info.Env().Undefined();
  }
  return ThrowOrUndefined(info.Env(), SetThreadAffinity(tid, cpus));
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
  MemoryPolicy policy;
  if (!ReadWhole(info[0], "mode", &policy.mode) || !ReadList(info[1], "nodes", &policy.nodes)) {
    return info.Env().Undefined();
  }
  return ThrowOrUndefined(info.Env(), SetThreadMemoryPolicy(policy));
}

// int prctl(PR_SET_THP_DISABLE, disabled, 0, 0, 0)
// TypeScript: setThpDisabled(disabled: boolean): void
Napi::Value SetThpDisabledJs(const Napi::CallbackInfo& info) {
  if (!info[0].IsBoolean()) {
    return Throw(info.Env(), Status("ERR_INVALID_ARGUMENT", "Expected true or false for disabled"));
  }
  return ThrowOrUndefined(info.Env(), SetThpDisabled(info[0].As<Napi::Boolean>().Value()));
}

// long mbind(void *addr, unsigned long len, MPOL_BIND, const unsigned long *nodes, max_node,
// MPOL_MF_MOVE)
// TypeScript: moveRegion(buffer: ArrayBuffer, node: number): void
Napi::Value MoveRegionJs(const Napi::CallbackInfo& info) {
  const RegionBytes region = BytesOfRegion(info.Env(), info[0]);
  if (!region.status.ok()) return Throw(info.Env(), region.status);
  int node = 0;
  if (!ReadWhole(info[1], "node", &node)) return info.Env().Undefined();
  return ThrowOrUndefined(info.Env(), MovePages(region.address, region.bytes, node));
}

// long move_pages(0, count, void **pages, NULL, int *status, 0)
// TypeScript: regionNodes(buffer: ArrayBuffer, most: number): readonly (readonly [node: number, pages: number])[]
Napi::Value RegionNodesJs(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const RegionBytes region = BytesOfRegion(env, info[0]);
  if (!region.status.ok()) return Throw(env, region.status);
  int most = 0;
  if (!ReadWhole(info[1], "most", &most)) return env.Undefined();
  const auto counts = PagesByNode(region.address, region.bytes, static_cast<size_t>(most));
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
  int advice = 0;
  if (!ReadWhole(info[1], "advice", &advice)) return info.Env().Undefined();
  return ThrowOrUndefined(info.Env(), AdvisePages(region.address, region.bytes, advice));
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
