#include "addon/machine_addon.h"

#include <sys/file.h>

#include <cerrno>

namespace warpgauge {
namespace {

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

}  // namespace

void InitMachine(Napi::Env env, Napi::Object exports) {
  exports.Set("lockFile", Napi::Function::New(env, LockFileJs, "lockFile"));
}

}  // namespace warpgauge
