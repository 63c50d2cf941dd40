// The writer's side of lanes: claiming, a full ring, files, and what happens where neither can be.
#include "gpu/cupti/lane_writer.h"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "gpu/cupti/name_table.h"
#include "single_step.h"
#include "trace_ring_support.h"

namespace warpgauge {
namespace {

namespace fs = std::filesystem;

wg_record RecordOf(uint64_t number) {
  wg_record record{};
  record.kind = WG_RECORD_MEMCPY;
  record.start = number;
  record.end = number + 1;
  record.name = WG_NO_ID;
  return record;
}

class Folder {
 public:
  Folder() {
    char path[] = "/tmp/warpgauge-lanes-XXXXXX";
    REQUIRE(mkdtemp(path) != nullptr);
    path_ = path;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }
  void Control(const TestRing& ring) const {
    std::ofstream(path_ + "/control").write(reinterpret_cast<const char*>(ring.header()), 4096);
  }
  [[nodiscard]] std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(path_)) names.insert(entry.path().filename());
    return names;
  }
  [[nodiscard]] std::string Lane() const {
    for (const std::string& name : Names()) {
      if (name.starts_with("lane.")) return path_ + "/" + name;
    }
    return "";
  }

 private:
  std::string path_;
};

std::string Untraceable(const char* error, pid_t pid = getpid()) {
  return "untraceable." + std::to_string(pid) + "." + error;
}

// Exit code of `work` in a child; 1000 + signal.
int InChild(const std::function<int()>& work) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(work());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

TEST_CASE("a lane is claimed with the identity of the process; one too many is named") {
  const TestRing ring(2);
  const auto first = std::make_unique<wg_lane_writer>();
  const auto second = std::make_unique<wg_lane_writer>();
  const auto third = std::make_unique<wg_lane_writer>();
  REQUIRE(wg_lane_attach_memory(first.get(), ring.path().c_str()) == 0);
  CHECK(ring.state(0) == WG_LANE_ATTACHED);
  CHECK(ring.state(1) == WG_LANE_FREE);
  const wg_lane& lane = *ring.lane(0);
  CHECK(lane.pid == static_cast<uint32_t>(getpid()));
  CHECK(lane.parent_pid == static_cast<uint32_t>(getppid()));
  CHECK(lane.user_id == getuid());
  struct stat pid_namespace {};
  REQUIRE(stat("/proc/self/ns/pid", &pid_namespace) == 0);
  CHECK(lane.pid_namespace == pid_namespace.st_ino);
  CHECK(lane.magic == WG_TRACE_MAGIC);
  CHECK(lane.capacity == 4096);
  CHECK(std::string(lane.command).find("lane_writer_test") != std::string::npos);
  // Field 22, counted from behind the command, which may hold anything.
  std::ifstream file("/proc/self/stat");
  std::string stat((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::string field;
  for (int i = 3; i <= 22; i++) fields >> field;
  CHECK(std::to_string(lane.start_ticks) == field);

  REQUIRE(wg_lane_attach_memory(second.get(), ring.path().c_str()) == 0);
  CHECK(ring.state(1) == WG_LANE_ATTACHED);
  CHECK(wg_lane_attach_memory(third.get(), ring.path().c_str()) == ENOSPC);
  CHECK(ring.header()->left_out == 1);
  CHECK(ring.header()->left_out_names[0].pid == static_cast<uint32_t>(getpid()));
  CHECK(std::string(ring.header()->left_out_names[0].command).size() > 3);
  for (int i = 0; i < 40; i++) {
    CHECK(wg_lane_attach_memory(third.get(), ring.path().c_str()) == ENOSPC);
  }
  CHECK(ring.header()->left_out == 41);  // counted beyond what is named
  CHECK(wg_lane_has_room(third.get()) == 0);
}

TEST_CASE("a claim names its process at every moment, and one that was taken back is no lane") {
  if (!kCanSingleStep) {
    std::printf("claims at every instruction: skipped: no single steps here\n");
    return;
  }
  const TestRing ring(2, 64);
  const auto writer = std::make_unique<wg_lane_writer>();
  const auto pid = static_cast<uint32_t>(getpid());
  bool is_named = true;
  uint64_t claimed = 0;  // steps within a claim
  const auto step_through = [&](uint64_t take_back_at) {
    claimed = 0;
    SingleStep steps([&](uint64_t /*step*/) {
      if (ring.state(0) != WG_LANE_CLAIMED) return true;
      is_named = is_named && ring.lane(0)->pid == pid;
      if (++claimed < take_back_at) return true;
      ring.lane(0)->claim = wg_lane_claim(WG_LANE_FREE, 0);
      return false;
    });
    steps.Begin();
    const int error = wg_lane_attach_mapped(writer.get(), ring.header());
    steps.End();
    return error;
  };
  CHECK(step_through(UINT64_MAX) == 0);
  CHECK(claimed > 10);
  CHECK(is_named);
  CHECK(writer->lane == ring.lane(0));
  // In the middle of a claim; the process was stopped for so long.
  ring.lane(0)->claim = wg_lane_claim(WG_LANE_FREE, 0);
  CHECK(step_through(5) == 0);
  CHECK(writer->lane == ring.lane(1));
  CHECK(ring.state(0) == WG_LANE_FREE);
  CHECK(ring.state(1) == WG_LANE_ATTACHED);
}

TEST_CASE("what is put arrives whole and in order, and a full ring has no room") {
  const TestRing ring(1, 256);
  const auto writer = std::make_unique<wg_lane_writer>();
  REQUIRE(wg_lane_attach_memory(writer.get(), ring.path().c_str()) == 0);
  uint64_t put = 0;
  uint64_t taken = 0;
  for (int round = 0; round < 20; round++) {
    while (wg_lane_has_room(writer.get()) != 0) {
      const wg_record record = RecordOf(put++);
      wg_lane_put(writer.get(), &record);
    }
    wg_lane_publish(writer.get());
    CHECK(put - taken == 256);
    for (const wg_record& record : ring.Take(0, 100 + round)) CHECK(record.start == taken++);
  }
  CHECK(put > 1500);
}

TEST_CASE("a tail that a stranger wrote makes no room") {
  const TestRing ring(1, 64);
  const auto writer = std::make_unique<wg_lane_writer>();
  REQUIRE(wg_lane_attach_memory(writer.get(), ring.path().c_str()) == 0);
  for (uint64_t i = 0; i < 64; i++) {
    const wg_record record = RecordOf(i);
    REQUIRE(wg_lane_has_room(writer.get()) != 0);
    wg_lane_put(writer.get(), &record);
  }
  for (const uint64_t tail : {uint64_t{65}, UINT64_MAX, uint64_t{1} << 40}) {
    ring.lane(0)->tail = tail;
    CHECK(wg_lane_has_room(writer.get()) == 0);
  }
  ring.lane(0)->tail = 1;
  CHECK(wg_lane_has_room(writer.get()) != 0);
}

TEST_CASE("a writer and a reader at full speed lose and repeat nothing") {
  const TestRing ring(1, 512);
  const auto writer = std::make_unique<wg_lane_writer>();
  REQUIRE(wg_lane_attach_memory(writer.get(), ring.path().c_str()) == 0);
  constexpr uint64_t kRecords = 200'000;
  std::thread thread([&] {
    for (uint64_t i = 0; i < kRecords;) {
      if (wg_lane_has_room(writer.get()) == 0) {
        wg_lane_publish(writer.get());
        std::this_thread::yield();
        continue;
      }
      const wg_record record = RecordOf(i++);
      wg_lane_put(writer.get(), &record);
    }
    wg_lane_publish(writer.get());
  });
  uint64_t taken = 0;
  bool in_order = true;
  while (taken < kRecords) {
    for (const wg_record& record : ring.Take(0)) {
      in_order = in_order && record.start == taken && record.end == taken + 1;
      taken++;
    }
  }
  thread.join();
  CHECK(in_order);
}

TEST_CASE("only what cannot shrink is mapped, and only what is a ring") {
  const auto writer = std::make_unique<wg_lane_writer>();
  CHECK(wg_lane_attach_memory(writer.get(), "/tmp/warpgauge-no-such-ring") == ENOENT);
  const TestRing ring(1, 64);
  // The same bytes in a file: whoever truncates it would kill us.
  const Folder folder;
  folder.Control(ring);
  CHECK(wg_lane_attach_memory(writer.get(), (folder.path() + "/control").c_str()) == EPERM);
  const auto broken = [&](const std::function<void(wg_trace_header*)>& change) {
    const TestRing other(2, 64);
    change(other.header());
    return wg_lane_attach_memory(writer.get(), other.path().c_str());
  };
  CHECK(broken([](wg_trace_header* header) { header->magic++; }) == EPROTO);
  CHECK(broken([](wg_trace_header* header) { header->version++; }) == EPROTO);
  CHECK(broken([](wg_trace_header* header) { header->record_bytes = 64; }) == EPROTO);
  CHECK(broken([](wg_trace_header* header) { header->lane_count = 3; }) == EPROTO);
  CHECK(broken([](wg_trace_header* header) { header->lane_count = 0; }) == EPROTO);
  CHECK(broken([](wg_trace_header* header) { header->lane_capacity = 100; }) == EPROTO);
  CHECK(broken([](wg_trace_header* header) { header->lane_stride = 1ULL << 62; }) == EPROTO);
  CHECK(broken([](wg_trace_header*) {}) == 0);
}

TEST_CASE("a lane that is given out again goes on where it stood") {
  const TestRing ring(1, 64);
  const auto writer = std::make_unique<wg_lane_writer>();
  ring.lane(0)->head = ring.lane(0)->tail = 1000;
  ring.lane(0)->dropped = 5;
  REQUIRE(wg_lane_attach_memory(writer.get(), ring.path().c_str()) == 0);
  CHECK(ring.lane(0)->dropped == 0);
  const wg_record record = RecordOf(7);
  wg_lane_put(writer.get(), &record);
  wg_lane_publish(writer.get());
  const std::vector<wg_record> taken = ring.Take(0);
  REQUIRE(taken.size() == 1);
  CHECK(taken[0].start == 7);
}

TEST_CASE("a file is a lane that overwrites") {
  const TestRing ring(1, 256);
  const Folder folder;
  folder.Control(ring);
  const auto writer = std::make_unique<wg_lane_writer>();
  REQUIRE(wg_lane_attach_file(writer.get(), folder.path().c_str()) == 0);
  const std::string path = folder.Lane();
  CHECK(path.find("/lane." + std::to_string(getpid()) + ".") != std::string::npos);
  CHECK(fs::file_size(path) == WG_TRACE_PAGE + 256 * WG_RECORD_BYTES);
  const auto page = [&] {
    wg_lane lane{};
    std::ifstream(path).read(reinterpret_cast<char*>(&lane), sizeof lane);
    return lane;
  };
  CHECK(page().magic == WG_TRACE_MAGIC);
  CHECK(page().state == WG_LANE_ATTACHED);
  CHECK(page().pid == static_cast<uint32_t>(getpid()));
  for (uint64_t i = 0; i < 700; i++) {
    const wg_record record = RecordOf(i);
    REQUIRE(wg_lane_has_room(writer.get()) != 0);
    wg_lane_put(writer.get(), &record);
  }
  CHECK(page().head == 640);  // whole batches
  wg_lane_publish(writer.get());
  CHECK(page().head == 700);
  std::ifstream file(path);
  file.seekg(WG_TRACE_PAGE);
  for (uint64_t slot = 0; slot < 256; slot++) {
    wg_record record{};
    file.read(reinterpret_cast<char*>(&record), sizeof record);
    CHECK(record.start % 256 == slot);
    CHECK(record.start >= 700 - 256);
  }
  CHECK(wg_lane_may_have_lost(writer.get(), 100) != 0);
  CHECK(wg_lane_may_have_lost(writer.get(), 600) == 0);
  writer->lane->dropped = 9;
  wg_lane_set_state(writer.get(), WG_LANE_ENDED);
  CHECK(page().state == WG_LANE_ENDED);
  CHECK(page().dropped == 9);
  CHECK(page().head == 700);

  // The reader's word; its folder gone or cut off is its end.
  CHECK(wg_lane_run(writer.get()) == WG_RUN_TRACING);
  ring.Run(WG_RUN_PAUSED);
  folder.Control(ring);
  CHECK(wg_lane_run(writer.get()) == WG_RUN_PAUSED);
  fs::resize_file(folder.path() + "/control", 10);
  CHECK(wg_lane_run(writer.get()) == WG_RUN_ENDED);
  // A second one of the same process, as after an exec, has a file of its own.
  folder.Control(ring);
  const auto second = std::make_unique<wg_lane_writer>();
  REQUIRE(wg_lane_attach_file(second.get(), folder.path().c_str()) == 0);
  size_t lanes = 0;
  for (const std::string& name : folder.Names()) lanes += name.rfind("lane.", 0) == 0 ? 1 : 0;
  CHECK(lanes == 2);
  CHECK(page().head == 700);
}

TEST_CASE("where no file can be either, an empty one says why") {
  const TestRing ring(1, 65536);
  const auto writer = std::make_unique<wg_lane_writer>();
  const Folder without_control;
  CHECK(wg_lane_attach_file(writer.get(), without_control.path().c_str()) == ENOENT);
  CHECK(without_control.Names() == std::set<std::string>{Untraceable("ENOENT")});

  const Folder broken;
  std::ofstream(broken.path() + "/control") << "not a header";
  CHECK(wg_lane_attach_file(writer.get(), broken.path().c_str()) == EPROTO);
  CHECK(broken.Names().contains(Untraceable("EPROTO")));

  // A limit on files is a signal that ends the process, for whoever goes beyond it.
  const Folder limited;
  limited.Control(ring);
  const auto with_limit = [&](rlim_t bytes) {
    return InChild([&] {
      const rlimit limit = {bytes, bytes};
      if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 99;
      const int error = wg_lane_attach_file(writer.get(), limited.path().c_str());
      return error == 0 ? 0 : error == EFBIG ? 27 : 98;
    });
  };
  CHECK(with_limit(1 << 20) == 0);
  CHECK(fs::file_size(limited.Lane()) == WG_TRACE_PAGE + 4096 * WG_RECORD_BYTES);
  CHECK(with_limit(64 << 10) == 27);

  CHECK(wg_lane_attach_file(writer.get(), "/proc/warpgauge-none") == ENOENT);  // and no crash
}

TEST_CASE("a file system of 64 KiB holds no lane") {
  const TestRing ring(1, 65536);
  const Folder folder;
  const int code = InChild([&] {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
      return 77;
    }
    folder.Control(ring);
    const auto writer = std::make_unique<wg_lane_writer>();
    if (wg_lane_attach_file(writer.get(), folder.path().c_str()) != ENOSPC) return 1;
    return folder.Names() == std::set<std::string>{"control", Untraceable("ENOSPC")} ? 0 : 2;
  });
  if (code == 77) {
    std::printf("lane in a small tmpfs: skipped: mounting needs root\n");
    return;
  }
  CHECK(code == 0);
}

TEST_CASE("names: by content, not by address; cut on a character; bounded") {
  auto table = std::make_unique<wg_name_table>();
  REQUIRE(wg_name_table_make(table.get()) == 0);
  char text[64] = "first";
  const std::string same = "first";
  const uint32_t first = wg_name_table_find(table.get(), text);
  CHECK(first == wg_name_table_find(table.get(), same.c_str()));
  CHECK(first == wg_name_table_find(table.get(), text));
  std::strcpy(text, "other");  // a module was unloaded, and its place taken
  const uint32_t other = wg_name_table_find(table.get(), text);
  CHECK(other != first);
  CHECK(std::string(table->names[other].text, table->names[other].length) == "other");
  const uint32_t empty = wg_name_table_find(table.get(), "");
  CHECK(table->names[empty].length == 0);

  const std::string longest(WG_NAME_LONGEST, 'x');
  CHECK(table->names[wg_name_table_find(table.get(), longest.c_str())].length == WG_NAME_LONGEST);
  std::string too_long(WG_NAME_LONGEST - 4, 'y');
  for (int i = 0; i < 100; i++) too_long += "\xc3\xa4";  // its second byte would be the last
  const uint32_t id = wg_name_table_find(table.get(), too_long.c_str());
  const std::string cut(table->names[id].text, table->names[id].length);
  CHECK(cut == std::string(WG_NAME_LONGEST - 4, 'y') + "...");
  CHECK(id == wg_name_table_find(table.get(), too_long.c_str()));

  std::set<uint32_t> ids;
  for (int i = 0; i < WG_MOST_NAMES + 10; i++) {
    ids.insert(wg_name_table_find(table.get(), ("name " + std::to_string(i)).c_str()));
  }
  CHECK(ids.contains(WG_NO_ID));
  CHECK(table->count == WG_MOST_NAMES);
  CHECK(table->refused == 10 + 5);  // five came before
  CHECK(wg_name_table_find(table.get(), "name 17") != WG_NO_ID);
  wg_name_table_free(table.get());

  // A few names of 4 KiB fill the bytes before the ids run out.
  REQUIRE(wg_name_table_make(table.get()) == 0);
  std::string large(WG_NAME_LONGEST, 'z');
  uint32_t last = 0;
  for (int i = 0; i < 2000 && last != WG_NO_ID; i++) {
    large.replace(0, 8, std::to_string(10'000'000 + i));
    last = wg_name_table_find(table.get(), large.c_str());
  }
  CHECK(last == WG_NO_ID);
  CHECK(table->used <= WG_MOST_NAME_BYTES);
  wg_name_table_free(table.get());
}

}  // namespace
}  // namespace warpgauge
