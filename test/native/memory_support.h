#pragma once

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include <doctest/doctest.h>

// What the memory tests share: a folder of recorded files, children in which a system call fails on
// purpose, and hugetlb pages that are given back even if the test is killed.
namespace warpgauge_test {

// A folder that is gone again at the end of the test.
class Tree {
 public:
  Tree() {
    std::string name =
        (std::filesystem::temp_directory_path() / "warpgauge-memory-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    root_ = name;
  }
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  ~Tree() { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  [[nodiscard]] const std::string& root() const { return root_; }

 private:
  std::string root_;
};

// How a child that ran `body` (an int exit code) ended: the exit code, or minus the signal.
template <typename Body>
int RunChild(const Body& body) {
  // Under TSan the child's end flushes what it inherited: the report would repeat itself.
  (void)fflush(nullptr);
  std::cout.flush();
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) _exit(body());
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// From now on, in this process, the system call fails with `error` when its argument has this
// value: how an older kernel or a container's filter would answer. Irrevocable, so only in a child.
inline bool RefuseCall(long number, unsigned argument, uint32_t value, int error) {  // NOLINT
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
               static_cast<uint32_t>(offsetof(seccomp_data, args) + 8UL * argument)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{sizeof(program) / sizeof(program[0]), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// Grows a hugetlb pool for one test. A guardian process shrinks it by the same number when this
// object or the whole test is gone, also after SIGKILL. One test at a time, by a lock.
class PoolPages {
 public:
  PoolPages(size_t page_kb, uint64_t count)
      : knob_("/sys/kernel/mm/hugepages/hugepages-" + std::to_string(page_kb) + "kB/nr_hugepages") {
    lock_ = open("/tmp/warpgauge-test-pools.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_ < 0 || flock(lock_, LOCK_EX) != 0) {
      why_ = "cannot take the lock of the pool tests";
      return;
    }
    const uint64_t before = Read();
    int alive[2];
    REQUIRE(pipe2(alive, O_CLOEXEC) == 0);
    guardian_ = fork();
    REQUIRE(guardian_ >= 0);
    if (guardian_ == 0) {
      close(alive[1]);
      setsid();  // Ctrl-C in the terminal must not reach it
      char byte = 0;
      const uint64_t grown = read(alive[0], &byte, 1) == 1 && byte == 'y' ? count : 0;
      // Blocks until the other end is closed, by the destructor or by the kernel.
      while (read(alive[0], &byte, 1) > 0) {
      }
      const uint64_t now = Read();
      Write(now > grown ? now - grown : 0);
      _exit(0);
    }
    close(alive[0]);
    alive_ = alive[1];
    Write(before + count);
    if (Read() == before + count) {
      granted_ = write(alive_, "y", 1) == 1;
    } else {
      why_ = "cannot reserve " + std::to_string(count) + " pages in " + knob_;
      Write(before);
    }
  }
  PoolPages(const PoolPages&) = delete;
  PoolPages& operator=(const PoolPages&) = delete;
  ~PoolPages() {
    if (alive_ >= 0) close(alive_);
    if (guardian_ > 0) waitpid(guardian_, nullptr, 0);
    if (lock_ >= 0) close(lock_);
  }

  [[nodiscard]] bool granted() const { return granted_; }
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  [[nodiscard]] uint64_t Read() const {
    uint64_t number = 0;
    std::ifstream(knob_) >> number;
    return number;
  }
  void Write(uint64_t number) const { std::ofstream(knob_) << number << std::flush; }

  std::string knob_, why_;
  int lock_ = -1, alive_ = -1;
  pid_t guardian_ = -1;
  bool granted_ = false;
};

}  // namespace warpgauge_test
