// Programs under the injected library, on the simulated libcuda and CUPTI: what each of them did
// must stand in its lane, however it ends.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "sanitized.h"
#include "trace_ring_support.h"

namespace warpgauge {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// out/<preset>, where all that is loaded here was built.
std::string Built(const std::string& name) {
  const char* const fake = std::getenv("WARPGAUGE_FAKE_DIR");
  return (fake != nullptr ? fs::path(fake).parent_path().string() : "out/debug") + "/" + name;
}

// What cuda_copies does when it is not told otherwise.
constexpr size_t kCopies = 30;
constexpr size_t kMemsets = 5;
constexpr size_t kKernels = 5;

using Words = std::vector<std::string>;

// cuda_copies as a child, traced into a ring.
class Program {
 public:
  Program(const std::string& ring_path, const Words& arguments, const Words& environment = {}) {
    Words words = {Built("programs/cuda_copies")};
    words.insert(words.end(), arguments.begin(), arguments.end());
    Words variables = environment;  // the first of two holds
    for (const std::string& variable :
         {"CUDA_INJECTION64_PATH=" + fs::absolute(Built("inject/libwarpgauge_inject.so")).string(),
          "WARPGAUGE_TRACE_RING=" + ring_path,
          "WARPGAUGE_CUDA=" + fs::absolute(Built("fake/libcuda.so.1")).string(),
          "WARPGAUGE_CUPTI=" + fs::absolute(Built("fake/libcupti.so")).string()}) {
      variables.push_back(variable);
    }
    for (const char* name : {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"}) {
      if (const char* const value = std::getenv(name); value != nullptr) {
        variables.push_back(std::string(name) + "=" + value);
      }
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    const auto pointers = [](Words* texts) {
      std::vector<char*> all;
      for (std::string& text : *texts) all.push_back(text.data());
      all.push_back(nullptr);
      return all;
    };
    started_ = Clock::now();
    REQUIRE(posix_spawn(&pid_,
                        words[0].c_str(),
                        &actions,
                        nullptr,
                        pointers(&words).data(),
                        pointers(&variables).data()) == 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (status_.has_value()) return;
    kill(pid_, SIGKILL);
    Wait();
  }
  // Exit code, or 1000 + signal.
  int Wait() {
    int status = 0;
    REQUIRE(waitpid(pid_, &status, 0) == pid_);
    took_ms_ = std::chrono::duration<double, std::milli>(Clock::now() - started_).count();
    status_ = WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
    return *status_;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] double took_ms() const { return took_ms_; }

 private:
  pid_t pid_ = 0;
  Clock::time_point started_;
  double took_ms_ = 0;
  std::optional<int> status_;
};

void CheckWork(const std::vector<wg_record>& records) {
  CHECK(CountKind(records, WG_RECORD_MEMCPY) == kCopies);
  CHECK(CountKind(records, WG_RECORD_MEMSET) == kMemsets);
  CHECK(CountKind(records, WG_RECORD_KERNEL) == kKernels);
  CHECK(CountKind(records, WG_RECORD_SYNCHRONIZATION) == 1);
  CHECK(CountKind(records, WG_RECORD_API) == kCopies);
  CHECK(CountKind(records, WG_RECORD_DEVICE) >= 1);
  std::set<std::string> names;
  for (const auto& [id, name] : NamesOf(records)) names.insert(name);
  CHECK(names.contains("warpgauge_vector_add"));
  CHECK(names.contains("cuMemcpyHtoDAsync_v2"));
  CHECK_FALSE(names.contains("cuLaunchKernel"));
}

TEST_CASE("a program that ends leaves everything it did") {
  const TestRing ring;
  Program program(ring.path(), {"--code", "7"});
  CHECK(program.Wait() == 7);
  CHECK(ring.state(0) == WG_LANE_ENDED);
  CHECK(ring.state(1) == WG_LANE_FREE);
  CHECK(ring.lane(0)->pid == static_cast<uint32_t>(program.pid()));
  CHECK(ring.lane(0)->parent_pid == static_cast<uint32_t>(getpid()));
  CHECK(std::string(ring.lane(0)->command).find("--code 7") != std::string::npos);
  CHECK(ring.lane(0)->simulated == 1);
  CHECK(ring.lane(0)->kinds == 0x7fe);
  CheckWork(ring.Take(0));
}

TEST_CASE("managed memory from the first access on") {
  const TestRing ring;
  Program program(ring.path(), {"--managed", "3"});
  CHECK(program.Wait() == 0);
  CHECK(CountKind(ring.Take(0), WG_RECORD_UNIFIED_MEMORY) > 0);
}

TEST_CASE("children by fork, by new processes and by exec have lanes of their own") {
  struct Case {
    Words arguments;
    uint32_t lanes;
  };
  // After exec the process is the same, and has begun at the same moment; its lane is a new one.
  // Exec is no exit: what it did just before would be lost.
  const Case cases[] = {{{"--fork"}, 2},
                        {{"--children", "3"}, 4},
                        {{"--fork", "--children", "1"}, 3},
                        {{"--exec", "--sleep", "150"}, 2}};
  for (const Case& want : cases) {
    CAPTURE(want.arguments[0]);
    const TestRing ring(5);
    Program program(ring.path(), want.arguments);
    REQUIRE(program.Wait() == 0);
    std::set<uint32_t> pids;
    for (uint32_t i = 0; i < want.lanes; i++) {
      CAPTURE(i);
      pids.insert(ring.lane(i)->pid);
      CheckWork(ring.Take(i));
    }
    CHECK(ring.state(want.lanes) == WG_LANE_FREE);
    CHECK(pids.size() == (want.arguments[0] == "--exec" ? 1 : want.lanes));
  }
}

TEST_CASE("a child forked after CUDA began disturbs nobody") {
  for (const char* keeps : {"0", "1"}) {
    CAPTURE(keeps);
    const std::string script = "/tmp/warpgauge-fork-" + std::to_string(getpid());
    std::ofstream(script) << "cupti_fork_keeps_subscriber = " << keeps << "\n";
    const TestRing ring(4);
    Program program(ring.path(), {"--fork-after"}, {"WARPGAUGE_FAKE_SCRIPT=" + script});
    CHECK(program.Wait() == 0);
    unlink(script.c_str());
    CheckWork(ring.Take(0));
    CHECK(ring.state(0) == WG_LANE_ENDED);
    CHECK(ring.lane(1)->pid != ring.lane(0)->pid);
    CHECK(ring.state(1) != WG_LANE_REFUSED);
  }
}

TEST_CASE("sudden ends lose at most what was not flushed") {
  for (const Words& arguments : {Words{"--early-exit", "--sleep", "300"},
                                 Words{"--kill", "9", "--sleep", "300"},
                                 Words{"--kill", "11", "--sleep", "300"}}) {
    CAPTURE(arguments[0] + arguments[1]);
    const TestRing ring;
    Program program(ring.path(), arguments);
    const int code = program.Wait();
    CHECK(code == (arguments[0] == "--kill" ? 1000 + std::stoi(arguments[1]) : 0));
    CHECK(ring.state(0) == WG_LANE_TRACING);
    CheckWork(ring.Take(0));  // 300 ms are many flushes of 5 ms
  }
  // Killed at any moment the ring is sound.
  for (int ms = 0; ms < 60; ms += 7) {
    const TestRing ring(1, 65536);
    Program program(ring.path(), {"--loop", "5000"});
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    kill(program.pid(), SIGKILL);
    CHECK(program.Wait() == 1009);
    const std::vector<wg_record> records = ring.Take(0);
    NamesOf(records);
    for (const wg_record& record : records) {
      CHECK(record.kind != WG_RECORD_NONE);
      CHECK(record.kind <= WG_RECORD_DEVICE);
    }
  }
}

TEST_CASE("another user of CUPTI came first") {
  const TestRing ring;
  Program program(ring.path(), {"--foreign-subscriber"});
  CHECK(program.Wait() == 0);
  CHECK(ring.state(0) == WG_LANE_REFUSED);
  CHECK(ring.lane(0)->reason == WG_REASON_BUSY);
  CHECK(ring.Take(0).empty());
}

TEST_CASE("no CUPTI: the program runs, and the lane says why it is empty") {
  const TestRing ring;
  Program program(ring.path(), {}, {"WARPGAUGE_CUPTI=/nowhere/libcupti.so.13"});
  CHECK(program.Wait() == 0);
  CHECK(ring.state(0) == WG_LANE_REFUSED);
  CHECK(ring.lane(0)->reason == WG_REASON_NO_CUPTI);
  CHECK(std::string(ring.lane(0)->detail).find("/nowhere/") != std::string::npos);
}

TEST_CASE("more processes than lanes are counted and named, and run") {
  const TestRing ring(2);
  Program program(ring.path(), {"--children", "4"});
  CHECK(program.Wait() == 0);
  CHECK(ring.header()->left_out == 3);
  for (uint32_t i = 0; i < 3; i++) {
    CHECK(ring.header()->left_out_names[i].pid != 0);
    CHECK(std::string(ring.header()->left_out_names[i].command).find("cuda_copies") !=
          std::string::npos);
  }
}

TEST_CASE("where the ring cannot be opened it is a file, and without that the program runs too") {
  const TestRing ring;
  const std::string folder = "/tmp/warpgauge-inject-" + std::to_string(getpid());
  REQUIRE(fs::create_directory(folder));
  std::ofstream(folder + "/control").write(reinterpret_cast<const char*>(ring.header()), 4096);
  Program program("/proc/1/fd/99999", {}, {"WARPGAUGE_TRACE_DIR=" + folder});
  CHECK(program.Wait() == 0);
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with("lane.")) continue;
    files++;
    wg_lane lane{};
    std::ifstream file(entry.path());
    file.read(reinterpret_cast<char*>(&lane), sizeof lane);
    CHECK(lane.state == WG_LANE_ENDED);
    CHECK(lane.pid == static_cast<uint32_t>(program.pid()));
    file.seekg(WG_TRACE_PAGE);
    std::vector<wg_record> records(lane.head);
    file.read(reinterpret_cast<char*>(records.data()),
              static_cast<std::streamsize>(records.size() * sizeof(wg_record)));
    REQUIRE(file.good());
    CheckWork(records);
  }
  CHECK(files == 1);
  fs::remove_all(folder);
  Program nowhere("/proc/1/fd/99999", {}, {"WARPGAUGE_TRACE_DIR=" + folder});
  CHECK(nowhere.Wait() == 0);
  Program without(std::string(), {});
  CHECK(without.Wait() == 0);
}

TEST_CASE("a reader that never reads costs a program 0.2 seconds at the end, once") {
  const TestRing ring(1, 64);
  Program program(ring.path(), {"--loop", "200"});
  CHECK(program.Wait() == 0);
  CHECK(ring.state(0) == WG_LANE_ENDED);
  CHECK(ring.lane(0)->dropped > 0);
  CHECK(program.took_ms() < (kSanitized ? 5000 : 1500));
  // One that said that it has gone is not waited for at all.
  const TestRing ended(1, 64);
  ended.Run(WG_RUN_ENDED);
  Program quick(ended.path(), {});
  CHECK(quick.Wait() == 0);
  CHECK(ended.state(0) == WG_LANE_ENDED);
  CHECK(quick.took_ms() < (kSanitized ? 5000 : 1500));
}

TEST_CASE("what the program does with signals, files and threads is its own") {
  const TestRing ring;
  Program program(ring.path(), {"--sleep", "400"});
  const std::string tasks = "/proc/" + std::to_string(program.pid()) + "/task";
  // Our thread is there, is called so, and takes no signal.
  std::string status;
  for (int i = 0; i < 300 && status.empty(); i++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::error_code ignored;
    for (const auto& task : fs::directory_iterator(tasks, ignored)) {
      std::ifstream comm(task.path() / "comm");
      std::string name;
      std::getline(comm, name);
      if (name != "warpgauge") continue;
      std::ifstream file(task.path() / "status");
      status.assign((std::istreambuf_iterator<char>(file)), {});
    }
  }
  REQUIRE(!status.empty());
  const size_t blocked = status.find("SigBlk:\t");
  REQUIRE(blocked != std::string::npos);
  // All but SIGKILL, SIGSTOP and the two that the C library keeps for itself: those it blocks only
  // while it begins or ends the thread.
  const uint64_t mask = std::stoull(status.substr(blocked + 8, 16), nullptr, 16);
  CHECK((mask | uint64_t{3} << 31) == 0xfffffffffffbfeff);
  // The ring's file descriptor is closed.
  for (const auto& fd : fs::directory_iterator("/proc/" + std::to_string(program.pid()) + "/fd")) {
    std::error_code ignored;
    CHECK(fs::read_symlink(fd, ignored).string().find("warpgauge-test-ring") == std::string::npos);
  }
  CHECK(program.Wait() == 0);
}

}  // namespace
}  // namespace warpgauge
