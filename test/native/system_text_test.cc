#include <limits>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include "os/system_text.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

constexpr const char* kMaxText = "18446744073709551615";
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

}  // namespace

TEST_CASE("cpu lines: the total, one CPU, old kernels, and what is none") {
  CpuTimes times;
  CHECK(ParseCpuLine("cpu  843382 175413 422873 934252 2154 0 954 13204 7 8", &times));
  CHECK(times.is_total);
  CHECK(times.fields == 10);
  CHECK(times.ticks[0] == 843382);
  CHECK(times.ticks[9] == 8);
  CHECK(ParseCpuLine(std::string("cpu191 1 2 3 ") + kMaxText + "\r", &times));
  CHECK_FALSE(times.is_total);
  CHECK(times.cpu == 191);
  CHECK(times.fields == 4);
  CHECK(times.ticks[3] == kMax);
  CHECK(ParseCpuLine("cpu0 1 2 18446744073709551616 4", &times));
  CHECK(times.fields == 2);
  CHECK(ParseCpuLine("cpu0 1 2 3 4 5 6 7 8 9 10 11 12", &times));
  CHECK(times.fields == 10);
  CHECK(ParseCpuLine("cpu0 1 -2 3", &times));
  CHECK(times.fields == 1);
  for (const char* const line : {"", "cpu", "cpux 1", "intr 1 2", "cpu4294967296 1", "CPU0 1"}) {
    CAPTURE(std::string(line));
    CHECK_FALSE(ParseCpuLine(line, &times));
  }
}

TEST_CASE("disk lines: 11, 15 and 17 numbers, and what is none") {
  LineValues disk;
  CHECK(ParseDiskLine(
      " 254       0 vda 348296 40834 9283882 193424 222121 310550 37999040 219511 0 70240 446610 "
      "282301 56 30284272 32237 21355 1437",
      &disk));
  CHECK(disk.name == "vda");
  CHECK(disk.fields == 17);
  CHECK(disk.values[2] == 9283882);
  CHECK(disk.values[16] == 1437);
  CHECK(ParseDiskLine("8 1 sda1 1 2 3 4 5 6 7 8 9 10 11", &disk));
  CHECK(disk.fields == 11);
  const std::string largest = std::string("8 1 cciss!c0d0 ") + kMaxText;
  CHECK(ParseDiskLine(largest, &disk));
  CHECK(disk.name == "cciss!c0d0");
  CHECK(disk.values[0] == kMax);
  for (const char* const line :
       {"", "8", "8 1", "8 1 sda", "8 1 sda x", "x 1 sda 1", "8 x sda 1"}) {
    CAPTURE(std::string(line));
    CHECK_FALSE(ParseDiskLine(line, &disk));
  }
}

TEST_CASE("net lines: names with and without blanks, and the headings") {
  LineValues net;
  CHECK(ParseNetLine(
      "  eth0: 2002416405   55203    0    0    0     0          0         9  5361371   39281    0 "
      "   0    0     0       0          7",
      &net));
  CHECK(net.name == "eth0");
  CHECK(net.fields == 16);
  CHECK(net.values[0] == 2002416405);
  CHECK(net.values[7] == 9);
  CHECK(net.values[15] == 7);
  CHECK(ParseNetLine("eth0:12 13", &net));  // before Linux 2.6 without a blank
  CHECK(net.values[0] == 12);
  CHECK(net.fields == 2);
  for (const char* const line :
       {"",
        "Inter-|   Receive                                                |  Transmit",
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes",
        ":",
        ": 1",
        "eth0:",
        "eth0: x",
        "a b: 1"}) {
    CAPTURE(std::string(line));
    CHECK_FALSE(ParseNetLine(line, &net));
  }
}

TEST_CASE("pressure lines: ratios and microseconds, all four or nothing") {
  PressureLine pressure;
  CHECK(ParsePressureLine("some avg10=12.34 avg60=0.05 avg300=100.00 total=20768163", &pressure));
  CHECK_FALSE(pressure.is_full);
  CHECK(pressure.avg10_ratio == doctest::Approx(0.1234));
  CHECK(pressure.avg60_ratio == doctest::Approx(0.0005));
  CHECK(pressure.avg300_ratio == doctest::Approx(1.0));
  CHECK(pressure.total_us == 20768163);
  CHECK(ParsePressureLine(
      std::string("full avg10=0.00 avg60=0.00 avg300=0.00 total=") + kMaxText + "\r", &pressure));
  CHECK(pressure.is_full);
  CHECK(pressure.total_us == kMax);
  for (const char* const line : {"",
                                 "some",
                                 "some avg10=0.00",
                                 "some avg10=0.00 avg60=0.00 avg300=0.00",
                                 "some avg10=0.00 avg60=0.00 avg300=0.00 total=",
                                 "some avg10=0.00 avg60=0.00 avg300=0.00 total=1x",
                                 "some avg10=0.00 avg60=0.00 avg300=0.00 total=1 2",
                                 "some avg60=0.00 avg10=0.00 avg300=0.00 total=1",
                                 "some avg10=-1 avg60=0.00 avg300=0.00 total=1",
                                 "some avg10=1. avg60=0.00 avg300=0.00 total=1",
                                 "all avg10=0.00 avg60=0.00 avg300=0.00 total=1"}) {
    CAPTURE(std::string(line));
    CHECK_FALSE(ParsePressureLine(line, &pressure));
  }
}

TEST_CASE("link speeds, as kernels old and new write them") {
  uint64_t speed = 0;
  CHECK(ParseLinkSpeed("2.5 GT/s PCIe\n", &speed));
  CHECK(speed == 2'500'000'000);
  CHECK(ParseLinkSpeed("8 GT/s\n", &speed));
  CHECK(speed == 8'000'000'000);
  CHECK(ParseLinkSpeed("64.0 GT/s PCIe\n", &speed));
  CHECK(speed == 64'000'000'000);
  for (const char* const text : {"",
                                 "\n",
                                 "Unknown\n",
                                 "Unknown speed\n",
                                 "32.0 GT/s PCIe",
                                 "32.0\n",
                                 "32.0 MT/s\n",
                                 "-1 GT/s\n",
                                 "99999999999999 GT/s\n",
                                 "1.0000000001 GT/s\n"}) {
    CAPTURE(std::string(text));
    CHECK_FALSE(ParseLinkSpeed(text, &speed));
  }
}

TEST_CASE("signed numbers, for temperatures below zero") {
  int64_t value = 0;
  CHECK(ParseSignedNumberFile("-12500\n", &value));
  CHECK(value == -12500);
  CHECK(ParseSignedNumberFile("48000\n", &value));
  CHECK(value == 48000);
  CHECK(ParseSignedNumberFile("9223372036854775807\n", &value));
  CHECK(value == std::numeric_limits<int64_t>::max());
  for (const char* const text : {"", "-", "-\n", "--1\n", "- 1\n", "9223372036854775808\n", "1"}) {
    CAPTURE(std::string(text));
    CHECK_FALSE(ParseSignedNumberFile(text, &value));
  }
}
