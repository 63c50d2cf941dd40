#include <cerrno>
#include <string>

#include <doctest/doctest.h>

#include "memory/failure.h"
#include "memory/hugetlb_cgroup.h"
#include "memory/kernel_files.h"
#include "memory_support.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here
using namespace warpgauge_test;  // NOLINT(google-build-using-namespace)

constexpr char kMounts[] =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

// A machine whose cgroup v2 lies beside v1, with a group two levels deep.
void WriteCgroup2(const Tree& tree) {
  tree.Write("/proc/self/mountinfo", kMounts);
  tree.Write("/proc/self/cgroup",
             "9:name=systemd:/\n1:cpu,cpuacct:/\n0::/system.slice/job:1.scope\n");
}

void WritePool(const Tree& tree, const std::string& folder, int total, int free, int reserved) {
  tree.Write(folder + "/nr_hugepages", std::to_string(total) + "\n");
  tree.Write(folder + "/free_hugepages", std::to_string(free) + "\n");
  tree.Write(folder + "/resv_hugepages", std::to_string(reserved) + "\n");
}

const std::string k2mPool = "/sys/kernel/mm/hugepages/hugepages-2048kB";  // NOLINT(cert-err58-cpp)
const std::string kGroup =                                                // NOLINT(cert-err58-cpp)
    "/sys/fs/cgroup/unified/system.slice/job:1.scope/hugetlb.2MB.";

FailedRequest Request(PageKind kind, size_t bytes, int node = -1) { return {kind, bytes, node}; }

}  // namespace

TEST_CASE("kernel files: numbers, words, and what is not there") {
  const Tree tree;
  tree.Write("/number", "42\n");
  tree.Write("/max", "max\n");
  tree.Write("/empty", "");
  CHECK(ReadKernelNumber(tree.root() + "/number") == 42);
  CHECK_FALSE(ReadKernelNumber(tree.root() + "/max").has_value());
  CHECK_FALSE(ReadKernelNumber(tree.root() + "/empty").has_value());
  CHECK_FALSE(ReadKernelNumber(tree.root() + "/absent").has_value());
  CHECK(ReadKernelFile(tree.root() + "/empty") == "");
  CHECK_FALSE(ReadKernelFile(tree.root()).has_value());  // a folder
  CHECK(ChosenWord("always [madvise] never\n") == "madvise");
  CHECK(ChosenWord("always [madvise").empty());
  CHECK(ChosenWord("").empty());
  CHECK(SplitFields("a::b", ':').size() == 3);
}

TEST_CASE("mmap ENOMEM: an empty pool and a short one, with the number that is missing") {
  const Tree tree;
  WriteCgroup2(tree);
  WritePool(tree, k2mPool, 0, 0, 0);
  Status status = MapFailure(Request(PageKind::k2M, 32 * k2MiB), ENOMEM, false, tree.root());
  CHECK(std::string(status.code()) == "ERR_POOL_EMPTY");
  CHECK(status.fix() == "echo 32 | sudo tee " + k2mPool + "/nr_hugepages");
  CHECK(status.number() == ENOMEM);

  WritePool(tree, k2mPool, 20, 15, 10);  // 5 to be had
  status = MapFailure(Request(PageKind::k2M, 8 * k2MiB), ENOMEM, false, tree.root());
  CHECK(std::string(status.code()) == "ERR_POOL_SHORT");
  CHECK(status.message().find("8 needed, 5 available") != std::string::npos);
  CHECK(status.fix() == "echo 23 | sudo tee " + k2mPool + "/nr_hugepages");
}

TEST_CASE("mmap ENOMEM although the pool suffices is not blamed on the pool") {
  const Tree tree;
  WritePool(tree, k2mPool, 20, 20, 0);
  const Status status = MapFailure(Request(PageKind::k2M, 8 * k2MiB), ENOMEM, false, tree.root());
  CHECK(std::string(status.code()) == "ERR_NO_MEMORY");
  CHECK(status.message().find("no such hierarchy is mounted") != std::string::npos);
}

TEST_CASE("mmap EINVAL and memfd ENODEV: the size does not exist here") {
  const Tree tree;
  for (const int error : {EINVAL, ENODEV}) {
    const Status status = MapFailure(Request(PageKind::k1G, k1GiB), error, false, tree.root());
    CHECK(std::string(status.code()) == "ERR_PAGE_KIND_UNSUPPORTED");
    CHECK(status.number() == error);
  }
}

TEST_CASE("a refused reservation names the nearest cgroup that is too low") {
  const Tree tree;
  WriteCgroup2(tree);
  WritePool(tree, k2mPool, 100, 100, 0);
  tree.Write(kGroup + "rsvd.max", "max\n");
  tree.Write(kGroup + "rsvd.current", "4194304\n");
  const std::string parent = "/sys/fs/cgroup/unified/system.slice/hugetlb.2MB.";
  tree.Write(parent + "rsvd.max", "8388608\n");
  tree.Write(parent + "rsvd.current", "4194304\n");
  const Status status = MapFailure(Request(PageKind::k2M, 4 * k2MiB), ENOMEM, true, tree.root());
  CHECK(std::string(status.code()) == "ERR_CGROUP_HUGETLB_RSVD_MAX");
  CHECK(status.fix() == "echo 12582912 | sudo tee " + tree.root() + parent + "rsvd.max");

  // It was raised meanwhile: the refusal was counted, so it is still the cgroup that is named.
  tree.Write(parent + "rsvd.max", "max\n");
  const Status raised = MapFailure(Request(PageKind::k2M, 4 * k2MiB), ENOMEM, true, tree.root());
  CHECK(std::string(raised.code()) == "ERR_CGROUP_HUGETLB_RSVD_MAX");
  CHECK_FALSE(raised.fix().empty());
}

TEST_CASE("a refused fault: cgroup limit, empty node, or memory") {
  const Tree tree;
  WriteCgroup2(tree);
  tree.Write(kGroup + "max", "2097152\n");
  tree.Write(kGroup + "current", "2097152\n");
  Status status =
      PopulateFailure(Request(PageKind::k2M, 4 * k2MiB), EFAULT, true, 3 * k2MiB, tree.root());
  CHECK(std::string(status.code()) == "ERR_CGROUP_HUGETLB_MAX");
  CHECK(status.fix() == "echo 8388608 | sudo tee " + tree.root() + kGroup + "max");

  const std::string node = "/sys/devices/system/node/node1/hugepages/hugepages-2048kB";
  WritePool(tree, node, 1, 1, 0);
  status =
      PopulateFailure(Request(PageKind::k2M, 4 * k2MiB, 1), EFAULT, false, 3 * k2MiB, tree.root());
  CHECK(std::string(status.code()) == "ERR_NUMA_NODE");
  CHECK(status.fix() == "echo 3 | sudo tee " + node + "/nr_hugepages");

  WritePool(tree, node, 9, 9, 0);
  status =
      PopulateFailure(Request(PageKind::k2M, 4 * k2MiB, 1), EFAULT, false, 3 * k2MiB, tree.root());
  CHECK(std::string(status.code()) == "ERR_NO_MEMORY");
  status = PopulateFailure(Request(PageKind::k4K, k4KiB), ENOMEM, false, k4KiB, tree.root());
  CHECK(std::string(status.code()) == "ERR_NO_MEMORY");
  status = PopulateFailure(Request(PageKind::k1G, k1GiB), EINVAL, false, k1GiB, tree.root());
  CHECK(std::string(status.code()) == "ERR_POPULATE_UNSUPPORTED");
}

TEST_CASE("cgroup v2: refusals of all levels are added up, limits read from the own group upward") {
  const Tree tree;
  WriteCgroup2(tree);
  tree.Write(kGroup + "events", "max 3\n");
  tree.Write("/sys/fs/cgroup/unified/system.slice/hugetlb.2MB.events", "max 4\n");
  const HugetlbCgroup cgroup = HugetlbCgroup::OfThisProcess(k2MiB, tree.root());
  REQUIRE(cgroup.found());
  CHECK(cgroup.Refusals() == 7);
  CHECK_FALSE(cgroup.Blocking(false, k2MiB).has_value());  // no limit file at all
  tree.Write(kGroup + "max", "4194304\n");
  tree.Write(kGroup + "current", "2097152\n");
  CHECK_FALSE(cgroup.Blocking(false, k2MiB).has_value());
  const auto limit = cgroup.Blocking(false, 2 * k2MiB);
  REQUIRE(limit.has_value());
  CHECK(limit->limit_bytes == 4194304);
  CHECK(limit->used_bytes == 2097152);
}

TEST_CASE("cgroup v1: its own file names, and a container that sees only its own part") {
  const Tree tree;
  tree.Write("/proc/self/mountinfo",
             "50 40 0:40 /docker/abc /sys/fs/cgroup/hugetlb ro - cgroup cgroup rw,hugetlb\n"
             "51 40 0:41 /docker/abc /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw\n");
  tree.Write("/proc/self/cgroup", "7:hugetlb:/docker/abc/inner\n0::/docker/abc/inner\n");
  const std::string folder = "/sys/fs/cgroup/hugetlb/inner/hugetlb.1GB.";
  tree.Write(folder + "failcnt", "2\n");
  tree.Write(folder + "rsvd.failcnt", "1\n");
  tree.Write(folder + "rsvd.limit_in_bytes", "0\n");
  tree.Write("/sys/fs/cgroup/hugetlb/hugetlb.1GB.rsvd.limit_in_bytes", "9223372036854771712\n");
  const HugetlbCgroup cgroup = HugetlbCgroup::OfThisProcess(k1GiB, tree.root());
  REQUIRE(cgroup.found());
  CHECK(cgroup.Refusals() == 3);
  const auto limit = cgroup.Blocking(true, k1GiB);
  REQUIRE(limit.has_value());
  CHECK(limit->knob == tree.root() + folder + "rsvd.limit_in_bytes");
}

TEST_CASE(
    "cgroup paths: blanks, a sibling with the same beginning, a group outside of the namespace") {
  const Tree tree;
  tree.Write("/proc/self/mountinfo", "5 4 0:4 /a /mnt/my\\040groups rw - cgroup2 none rw\n");
  const auto limited_by = [&tree](const char* group, const std::string& folder) {
    tree.Write("/proc/self/cgroup", std::string("0::") + group + "\n");
    const std::string knob = "/mnt/my groups" + folder + "/hugetlb.2MB.max";
    tree.Write(knob, "0\n");
    const auto limit = HugetlbCgroup::OfThisProcess(k2MiB, tree.root()).Blocking(false, 1);
    std::filesystem::remove(tree.root() + knob);
    return limit.has_value() && limit->knob == tree.root() + knob;
  };
  CHECK(limited_by("/a/b", "/b"));
  CHECK(limited_by("/a/b", ""));
  CHECK(limited_by("/a", ""));
  CHECK_FALSE(limited_by("/ab/c", "/b/c"));
  CHECK(limited_by("/ab/c", ""));
  CHECK(limited_by("/../c", ""));
}

TEST_CASE("no cgroup files, or nonsense in them: nothing is claimed") {
  const Tree tree;
  CHECK_FALSE(HugetlbCgroup::OfThisProcess(k2MiB, tree.root()).found());
  tree.Write("/proc/self/mountinfo", "\n-\n - \n1 2 3 - cgroup2\n1 2 3 4 5 - cgroup2 x\n");
  tree.Write("/proc/self/cgroup", "\n:\n::\n0::\n");
  CHECK_FALSE(HugetlbCgroup::OfThisProcess(k2MiB, tree.root()).found());
  tree.Write("/proc/self/mountinfo", kMounts);
  CHECK(HugetlbCgroup::OfThisProcess(k2MiB, tree.root()).Refusals() == 0);
}

TEST_CASE("transparent huge pages: each switch is named with what turns it on") {
  const std::string top = "/sys/kernel/mm/transparent_hugepage/enabled";
  const std::string size = "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled";
  const auto fix = [](int disabled, const char* enabled, const char* enabled_2m) {
    const Status status = ThpPolicy(disabled, enabled, enabled_2m);
    if (!status.ok()) CHECK(std::string(status.code()) == "ERR_THP_DISABLED");
    return status.ok() ? std::string("ok") : status.fix();
  };
  CHECK(fix(0, "always [madvise] never", "always [inherit] madvise never") == "ok");
  CHECK(fix(0, "[always] madvise never", "") == "ok");
  CHECK(fix(0, "", "") == "ok");  // unreadable: the proof will tell
  CHECK(fix(0, "always madvise [never]", "") == "echo madvise | sudo tee " + top);
  CHECK(fix(0, "always madvise [never]", "always [inherit] madvise never") ==
        "echo madvise | sudo tee " + top);
  CHECK(fix(0, "always madvise [never]", "always inherit [madvise] never") == "ok");
  CHECK(fix(0, "[always] madvise never", "always inherit madvise [never]") ==
        "echo inherit | sudo tee " + size);
  CHECK(fix(1, "[always] madvise never", "").find("PR_SET_THP_DISABLE") != std::string::npos);
  CHECK(fix(3, "[always] madvise never", "") == "ok");  // disabled except where advised
}

TEST_CASE("other base page sizes: 4 KB kinds do not exist there") {
  CHECK(BasePagePolicy(PageKind::k4K, 4096).ok());
  for (const PageKind kind : {PageKind::k4K, PageKind::kThp, PageKind::k4KSplit}) {
    CHECK(std::string(BasePagePolicy(kind, 65536).code()) == "ERR_PAGE_KIND_UNSUPPORTED");
  }
  CHECK(BasePagePolicy(PageKind::k2M, 65536).ok());
}

TEST_CASE("node errors") {
  const Tree tree;
  tree.Write("/sys/devices/system/node/online", "0-1\n");
  const Status absent = BindFailure(Request(PageKind::k4K, k4KiB, 7), EINVAL, tree.root());
  CHECK(std::string(absent.code()) == "ERR_NUMA_NODE");
  CHECK(absent.message().find("0-1") != std::string::npos);
  CHECK(std::string(BindFailure(Request(PageKind::k4K, k4KiB, 0), ENOSYS, tree.root()).code()) ==
        "ERR_NUMA_NODE");
  CHECK(std::string(BindFailure(Request(PageKind::k4K, k4KiB, 0), EPERM, tree.root()).code()) ==
        "ERR_PERMISSION");
}
