#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

#include "os/named_columns.h"
#include "os/pread_file.h"
#include "os/source_support.h"
#include "os/text_scanner.h"
#include "tree.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

bool Number(std::string_view text, uint64_t* value) {
  const char* const end = text.data() + text.size();
  return ParseU64(text.data(), end, value) == end;
}

std::map<uint32_t, uint64_t> Parse(const NamedColumns& columns, std::string_view text) {
  std::map<uint32_t, uint64_t> values;
  columns.Parse(text, [&](uint32_t column, uint64_t value) { values[column] = value; });
  return values;
}

NamedColumns VmstatLike() {
  NamedColumns columns;
  columns.Add("first", 1, false);
  columns.Add("second", 2, false);
  columns.Add("third", 3, false);
  columns.Add("first_more", 4, false);
  return columns;
}

using Values = std::map<uint32_t, uint64_t>;

}  // namespace

TEST_CASE("numbers: up to 2^64-1, and nothing that is cut") {
  uint64_t value = 7;
  CHECK(Number("0", &value));
  CHECK(value == 0);
  CHECK(Number("18446744073709551615", &value));
  CHECK(value == kMax);
  CHECK(Number("9999999999999999999", &value));
  CHECK(value == 9999999999999999999ULL);
  CHECK(Number("000000000000000000000000000012", &value));
  CHECK(value == 12);
  value = 7;
  for (const char* const text : {"",
                                 "-1",
                                 "x",
                                 " 1",
                                 "18446744073709551616",
                                 "99999999999999999999",
                                 "1844674407370955161500"}) {
    CAPTURE(std::string(text));
    CHECK_FALSE(Number(text, &value));
  }
  CHECK(value == 7);
}

TEST_CASE("number files: one number and its newline") {
  uint64_t value = 0;
  CHECK(ParseNumberFile("2048\n", &value));
  CHECK(value == 2048);
  CHECK(ParseNumberFile("2048\r\n", &value));
  for (const char* const text : {"", "\n", "2048", "12 13\n", "max\n", "0x10\n"}) {
    CAPTURE(std::string(text));
    CHECK_FALSE(ParseNumberFile(text, &value));
  }
}

TEST_CASE("lines: a torn last line is not given out") {
  LineScanner lines("a\n\nb");
  std::string_view line;
  CHECK(lines.Next(&line));
  CHECK(line == "a");
  CHECK(lines.Next(&line));
  CHECK(line.empty());
  CHECK_FALSE(lines.Next(&line));
}

TEST_CASE("named numbers: the three forms, and what is none of them") {
  NamedNumber number;
  CHECK(ParseNamedNumber("pgfault 12", &number));
  CHECK(number.name == "pgfault");
  CHECK(number.value == 12);
  CHECK_FALSE(number.is_bytes);
  CHECK(ParseNamedNumber("Node 0 MemFree:       2 kB", &number));
  CHECK(number.name == "Node 0 MemFree");
  CHECK(number.value == 2048);
  CHECK(number.is_bytes);
  CHECK(ParseNamedNumber("HugePages_Free:     3\r", &number));
  CHECK(number.value == 3);
  CHECK_FALSE(number.is_bytes);
  for (const char* const line : {"",
                                 " ",
                                 "pgfault",
                                 "pgfault ",
                                 "pgfault 12x",
                                 "pgfault -1",
                                 "pgfault 1 2",
                                 " pgfault 1",
                                 ": 5",
                                 "MemFree: 1 MB",
                                 "MemFree: 1kB",
                                 "MemFree: 1 kBx",
                                 "MemFree: 18446744073709551615 kB"}) {
    CAPTURE(std::string(line));
    CHECK_FALSE(ParseNamedNumber(line, &number));
  }
}

TEST_CASE("columns: the file as it was when it was opened") {
  const NamedColumns columns = VmstatLike();
  CHECK(Parse(columns, "first 1\nsecond 18446744073709551615\nthird 3\nfirst_more 4\n") ==
        Values{{1, 1}, {2, kMax}, {3, 3}, {4, 4}});
  CHECK(Parse(columns, "first 1\r\nsecond 2\r\nthird 3\r\nfirst_more 4\r\n") ==
        Values{{1, 1}, {2, 2}, {3, 3}, {4, 4}});
}

TEST_CASE("columns: missing, unknown, reordered, broken and torn lines") {
  const NamedColumns columns = VmstatLike();
  CHECK(Parse(columns, "") == Values{});
  CHECK(Parse(columns, "first 1\nthird 3\n") == Values{{1, 1}, {3, 3}});
  CHECK(Parse(columns, "new 9\nfirst 1\nfirst_mor 9\nsecond 2\nthird 3\nfirst_more 4\nmore 9\n") ==
        Values{{1, 1}, {2, 2}, {3, 3}, {4, 4}});
  CHECK(Parse(columns, "first_more 4\nthird 3\nsecond 2\nfirst 1\n") ==
        Values{{1, 1}, {2, 2}, {3, 3}, {4, 4}});
  CHECK(Parse(columns, "first 18446744073709551616\nsecond 2x\nthird\nfirst_more 4\n") ==
        Values{{4, 4}});
  CHECK(Parse(columns, "first 1\nsecond 2") == Values{{1, 1}});
  CHECK(Parse(columns, "first 1 kB\nsecond 2\n") == Values{{2, 2}});  // not the unit of the column
  CHECK(Parse(columns, std::string(100'000, 'x') + "\nsecond 2\n") == Values{{2, 2}});
}

TEST_CASE("columns: bytes are bytes, and a line that lost its unit is not taken") {
  NamedColumns columns;
  columns.Add("MemTotal", 1, true);
  columns.Add("HugePages_Total", 2, false);
  CHECK(Parse(columns, "MemTotal:       2 kB\nHugePages_Total:       7\n") ==
        Values{{1, 2048}, {2, 7}});
  CHECK(Parse(columns, "MemTotal: 2kB\nHugePages_Total: 7\n") == Values{{2, 7}});
  CHECK(Parse(columns, "MemTotal:       2\nHugePages_Total:       7 kB\n") == Values{});
  CHECK(Parse(columns, "MemTotal: 18446744073709551615 kB\n") == Values{});
  CHECK(Parse(columns, "MemTotal: 18014398509481983 kB\n") == Values{{1, kMax - 1023}});
}

TEST_CASE("names of columns") {
  for (const auto& [name, expected] :
       std::map<std::string, std::string>{{"MemAvailable", "mem_available"},
                                          {"Active(anon)", "active_anon"},
                                          {"NFS_Unstable", "nfs_unstable"},
                                          {"SReclaimable", "s_reclaimable"},
                                          {"HugePages_Total", "huge_pages_total"},
                                          {"DirectMap4k", "direct_map_4k"},
                                          {"DirectMap1G", "direct_map_1g"},
                                          {"Committed_AS", "committed_as"},
                                          {"BadTLP", "bad_tlp"},
                                          {"CmpltTO", "cmplt_to"},
                                          {"", ""},
                                          {"()", ""}}) {
    CHECK(SnakeCase(name) == expected);
  }
}

TEST_CASE("PreadFile reads what is there now, also when it has grown") {
  const Tree tree;
  tree.Write("/proc/x", "one\n");
  PreadFile file(tree.root() + "/proc/x", PreadFile::Shape::kOneRead, 16);
  std::string_view text;
  REQUIRE(file.Read(&text));
  CHECK(text == "one\n");
  const std::string large(100'000, 'a');
  tree.Write("/proc/x", large);
  REQUIRE(file.Read(&text));
  CHECK(text == large);
  tree.Write("/proc/x", "");
  REQUIRE(file.Read(&text));
  CHECK(text.empty());
  CHECK(file.is_open());
}

TEST_CASE("PreadFile: a file that goes, comes back and is replaced") {
  const Tree tree;
  PreadFile file(tree.root() + "/proc/x", PreadFile::Shape::kOneRead);
  std::string_view text = "untouched";
  CHECK_FALSE(file.Read(&text));
  CHECK(file.error() == ENOENT);
  CHECK(text == "untouched");
  tree.Write("/proc/x", "one\n");
  REQUIRE(file.Read(&text));
  CHECK(file.error() == 0);
  tree.Remove("/proc/x");
  CHECK_FALSE(file.Read(&text));
  CHECK(file.error() == ENOENT);
  CHECK_FALSE(file.is_open());
  tree.Write("/proc/x", "two\n");
  REQUIRE(file.Read(&text));
  CHECK(text == "two\n");
  tree.Write("/proc/y", "three\n");
  std::filesystem::rename(tree.root() + "/proc/y", tree.root() + "/proc/x");
  REQUIRE(file.Read(&text));
  CHECK(text == "three\n");
}

TEST_CASE("PreadFile: what is no file is an error, not a crash") {
  const Tree tree;
  tree.Write("/proc/x", "one\n");
  PreadFile folder(tree.root() + "/proc", PreadFile::Shape::kOneRead);
  std::string_view text;
  CHECK_FALSE(folder.Read(&text));
  CHECK(folder.error() == EISDIR);
  PreadFile none;
  CHECK_FALSE(none.Read(&text));
  CHECK(none.error() != 0);
}

TEST_CASE("PreadFile: moved, and opened for each read") {
  const Tree tree;
  tree.Write("/proc/x", "one\n");
  PreadFile first(tree.root() + "/proc/x", PreadFile::Shape::kOneRead, 16, false);
  std::string_view text;
  REQUIRE(first.Read(&text));
  CHECK_FALSE(first.is_open());
  PreadFile second(std::move(first));
  REQUIRE(second.Read(&text));
  CHECK(text == "one\n");
  PreadFile third;
  third = std::move(second);
  REQUIRE(third.Read(&text));
  CHECK(text == "one\n");
}

TEST_CASE("PreadFile on this machine: both halves of vmstat, and the same lines again") {
  PreadFile file("/proc/vmstat", PreadFile::Shape::kRecords, 64);
  std::string_view text;
  REQUIRE(file.Read(&text));
  size_t lines = 0;
  FILE* const other = std::fopen("/proc/vmstat", "re");
  REQUIRE(other != nullptr);
  for (int c = std::fgetc(other); c != EOF; c = std::fgetc(other)) lines += c == '\n' ? 1 : 0;
  std::fclose(other);
  for (int i = 0; i < 3; i++) {
    REQUIRE(file.Read(&text));
    LineScanner scanner(text);
    std::string_view line;
    size_t found = 0;
    while (scanner.Next(&line)) found++;
    CHECK(found == lines);
  }
}
