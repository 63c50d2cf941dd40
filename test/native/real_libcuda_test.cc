// Our injected library in NVIDIA's own libcuda, with the simulated libcupti behind it: what the
// simulated libcuda cannot prove. Without a GPU cuInit answers 100, after it has injected.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "sanitized.h"
#include "trace_ring_support.h"

namespace warpgauge {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;

// out/<preset>, where all that is loaded here was built.
fs::path Built(const std::string& name) {
  const char* const fake = std::getenv("WARPGAUGE_FAKE_DIR");
  return (fake != nullptr ? fs::path(fake).parent_path() : fs::path("out/debug")) / name;
}

// Files that user nobody can read, wherever the checkout lies.
class Stage {
 public:
  Stage() {
    char name[] = "/tmp/warpgauge-libcuda-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    folder_ = name;
    fs::permissions(folder_, fs::perms(0755));
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  ~Stage() { fs::remove_all(folder_); }

  std::string Put(const fs::path& from, const std::string& name) const {
    fs::copy_file(from, folder_ / name);
    fs::permissions(folder_ / name, fs::perms(0755));
    return folder_ / name;
  }
  [[nodiscard]] std::string Log() const {
    const fs::path path = folder_ / "log";
    std::ofstream(path).close();
    fs::permissions(path, fs::perms(0666));
    return path;
  }

 private:
  fs::path folder_;
};

// Runs the program as nobody where this process is root: as root NVIDIA's libcuda creates a device
// node. `inherited` stays open in it.
int RunAsNobody(std::vector<std::string> words, std::vector<std::string> variables, int inherited) {
  const auto pointers = [](std::vector<std::string>* texts) {
    std::vector<char*> all;
    for (std::string& text : *texts) all.push_back(text.data());
    all.push_back(nullptr);
    return all;
  };
  const std::vector<char*> arguments = pointers(&words);
  const std::vector<char*> environment = pointers(&variables);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    fcntl(inherited, F_SETFD, 0);
    if (getuid() == 0 && (setgid(kNobody) != 0 || setuid(kNobody) != 0)) _exit(125);
    execve(arguments[0], arguments.data(), environment.data());
    _exit(126);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST_CASE("NVIDIA's libcuda loads our library, and what its CUPTI records reaches the lane") {
  const fs::path libcuda = "out/libcuda/libcuda.so.1";
  if (!fs::exists(libcuda)) {
    std::printf("real_libcuda_test: skipped: no out/libcuda/libcuda.so.1 (.ci/run fetches it)\n");
    return;
  }
  if (fs::exists("/proc/driver/nvidia/version")) {
    std::printf(
        "real_libcuda_test: skipped: a driver is loaded here, which is not this libcuda's\n");
    return;
  }
  const Stage stage;
  const TestRing ring;
  const std::string path = ring.path();
  const std::string fd = path.substr(path.rfind('/') + 1);
  const std::string log = stage.Log();
  const std::string program = stage.Put(Built("programs/cuda_init"), "cuda_init");
  const std::string real = stage.Put(libcuda, "libcuda.so.1");
  std::vector<std::string> variables = {
      "CUDA_INJECTION64_PATH=" + stage.Put(Built("inject/libwarpgauge_inject.so"), "inject.so"),
      // Another user's descriptors cannot be opened, so the child brings the reader's along.
      "WARPGAUGE_TRACE_RING=/proc/self/fd/" + fd,
      "WARPGAUGE_CUPTI=" + stage.Put(Built("fake/libcupti.so"), "libcupti.so"),
      "WARPGAUGE_CUDA=" + real,
      "WARPGAUGE_INJECTION_LOG=" + log};
  // What NVIDIA's library leaves behind is not ours to judge, nor that it forks among threads.
  for (const auto& [name, more] : {std::pair{"ASAN_OPTIONS", "detect_leaks=0"},
                                   std::pair{"TSAN_OPTIONS", "die_after_fork=0"}}) {
    const char* const value = std::getenv(name);
    variables.push_back(std::string(name) + "=" + (value != nullptr ? value : "") + ":" + more);
  }
  std::vector<std::string> words = {program, real, "init", "records"};
  std::vector<std::string> expected = {"opened 0", "init 100", "records 1000"};
  uint32_t lanes = 1;
  if (kCanForkAmongThreads) {
    words.insert(words.end(), {"fork", "init", "records"});
    expected.insert(expected.end(), {"init 100", "records 1000"});
    lanes = 2;
  } else {
    std::printf(
        "real_libcuda_test, fork: skipped: sanitizers are not made for fork among threads\n");
  }
  REQUIRE(RunAsNobody(words, variables, std::stoi(fd)) == 0);

  std::string text;
  std::vector<std::string> events;
  for (std::ifstream lines(log); std::getline(lines, text);) {
    events.push_back(text.substr(text.find(' ', text.find(' ') + 1) + 1));
  }
  CHECK(events == expected);
  for (uint32_t lane = 0; lane < lanes; lane++) {
    CAPTURE(lane);
    CHECK(ring.state(lane) == WG_LANE_ENDED);
    CHECK(ring.lane(lane)->reason == WG_REASON_NONE);
    CHECK(ring.lane(lane)->cupti_version == 130001);
    CHECK(ring.lane(lane)->user_id == (getuid() == 0 ? kNobody : getuid()));
    const std::vector<wg_record> records = ring.Take(lane);
    CHECK(CountKind(records, WG_RECORD_MEMCPY) == 500);
    CHECK(CountKind(records, WG_RECORD_KERNEL) == 500);
  }
  if (lanes == 2) CHECK(ring.lane(1)->parent_pid == ring.lane(0)->pid);
  // The version is NVIDIA's own answer: this was not the simulated libcuda.
  CHECK(ring.lane(0)->driver_version / 1000 == 12);
  CHECK_FALSE(fs::exists("/dev/nvidiactl"));
}

}  // namespace
}  // namespace warpgauge
