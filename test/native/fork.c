// An addon for crash tests alone: fork() for Node. A process that starts Node takes a third of a
// second, and a crash test needs hundreds; a fork of one that has everything loaded is there at
// once. It works for a process that runs no thread of its own but the main one (node
// --v8-pool-size=0 --single-threaded; libuv starts the threads of its pool anew in the child),
// outside its event loop, and the child has to end by a signal: Node's own end would wait for
// threads that stayed in the parent. Declared here is what we call of Node's ABI.

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct napi_env__* napi_env;
typedef struct napi_value__* napi_value;
typedef struct napi_callback_info__* napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);
int napi_create_int32(napi_env, int32_t, napi_value*);
int napi_get_value_int32(napi_env, napi_value, int32_t*);
int napi_create_function(napi_env, const char*, size_t, napi_callback, void*, napi_value*);
int napi_set_named_property(napi_env, napi_value, const char*, napi_value);
int napi_get_cb_info(napi_env, napi_callback_info, size_t*, napi_value*, napi_value*, void**);
void* uv_default_loop(void);
int uv_loop_fork(void*);

// V8 keeps its code out of forks (MADV_DONTFORK); ours is to run it.
static void KeepAllInFork(void) {
  char line[8192];
  unsigned long first;
  unsigned long end;
  FILE* maps = fopen("/proc/self/maps", "r");
  if (maps == NULL) return;
  while (fgets(line, sizeof(line), maps) != NULL) {
    if (sscanf(line, "%lx-%lx", &first, &end) == 2) madvise((void*)first, end - first, MADV_DOFORK);
  }
  fclose(maps);
}

static napi_value Number(napi_env env, int number) {
  napi_value value = NULL;
  napi_create_int32(env, number, &value);
  return value;
}

// fork(): number: the pid of the child, 0 in the child
static napi_value Fork(napi_env env, napi_callback_info info) {
  (void)info;
  KeepAllInFork();
  const int pid = fork();
  if (pid == 0 && uv_loop_fork(uv_default_loop()) != 0) _exit(99);
  return Number(env, pid);
}

// getpid(): number
static napi_value GetPid(napi_env env, napi_callback_info info) {
  (void)info;
  return Number(env, getpid());
}

// wait(pid: number): number: the signal that ended it, or minus its exit code
static napi_value Wait(napi_env env, napi_callback_info info) {
  napi_value argument = NULL;
  size_t count = 1;
  int pid = -1;
  int status = 0;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_get_value_int32(env, argument, &pid);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return Number(env, WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status));
}

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env,
                                                                          napi_value exports) {
  static const struct {
    const char* name;
    napi_callback function;
  } functions[] = {{"fork", Fork}, {"getpid", GetPid}, {"wait", Wait}};
  for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
    napi_value function = NULL;
    napi_create_function(
        env, functions[i].name, (size_t)-1, functions[i].function, NULL, &function);
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}
