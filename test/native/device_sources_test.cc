#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "os/pcie_source.h"
#include "os/thermal_source.h"
#include "row_recorder.h"
#include "system_source_support.h"
#include "tree.h"

namespace {

using namespace warpgauge;  // NOLINT(google-build-using-namespace): the subject of every test here

constexpr int64_t kSecond = 1'000'000'000;
const std::string kDevices = "/sys/bus/pci/devices/";

void WriteLink(const Tree& tree, const std::string& device, const std::string& speed) {
  tree.Write(kDevices + device + "/power/runtime_status", "active\n");
  tree.Write(kDevices + device + "/current_link_speed", speed);
  tree.Write(kDevices + device + "/current_link_width", "8\n");
  tree.Write(kDevices + device + "/max_link_speed", "16.0 GT/s PCIe\n");
  tree.Write(kDevices + device + "/max_link_width", "16\n");
}

// The form of drivers/pci/pcie/aer.c, shortened.
void WriteAer(const Tree& tree, const std::string& device, int bad_tlp) {
  const std::string text = "RxErr 1\nBadTLP " + std::to_string(bad_tlp) + "\nTOTAL_ERR_COR " +
                           std::to_string(1 + bad_tlp) + "\n";
  tree.Write(kDevices + device + "/aer_dev_correctable", text);
  tree.Write(kDevices + device + "/aer_dev_nonfatal", "CmpltTO 2\nTOTAL_ERR_NONFATAL 2\n");
  tree.Write(kDevices + device + "/aer_dev_fatal", "DLP 3\nTOTAL_ERR_FATAL 3\n");
}

std::vector<std::string> Brief(const RecordedStates& states) {
  std::vector<std::string> lines;
  for (const StateChange& change : states.changes()) {
    lines.push_back(change.key + " " + change.field + " " + change.state + " " + change.reason);
  }
  return lines;
}

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE("pcie: the H200 of a recorded machine, and no device without a link") {
  RecordedStates states;
  auto opened = MakePcieSource(Request("pcie", kRecordedH200), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample();
  RowRecorder& rows = *recorder.table();
  REQUIRE(rows.size() == 1);
  CHECK(rows.Text(0, "device") == "0000:00:06.0");
  const std::string folder = kRecordedH200 + kDevices + "0000:00:06.0/";
  CHECK(ReadText(folder + "current_link_speed") == "32.0 GT/s PCIe\n");
  CHECK(rows.U64(0, "link_speed_transfers_per_second") == 32'000'000'000);
  CHECK(rows.U64(0, "max_link_speed_transfers_per_second") == 32'000'000'000);
  CHECK(rows.U64(0, "link_width") == std::stoull(ReadText(folder + "current_link_width")));
  CHECK(rows.U64(0, "max_link_width") == std::stoull(ReadText(folder + "max_link_width")));
  // The guest's kernel counts no AER for it.
  for (const char* const column : {"aer_correctable", "aer_nonfatal", "aer_fatal"}) {
    CHECK(rows.IsNull(0, column));
    CHECK(FindColumn(*opened.value, 0, column)->reason == "not_supported");
  }
  CHECK(Brief(states) == Lines{"0000:00:06.0 aer_correctable unavailable not_supported",
                               "0000:00:06.0 aer_nonfatal unavailable not_supported",
                               "0000:00:06.0 aer_fatal unavailable not_supported"});
}

TEST_CASE("pcie: a machine without links; one device by name, with or without a link") {
  RecordedStates states;
  SourceRequest request = Request("pcie", kRecordedGuest);
  CHECK(MakePcieSource(request, states).status.code() == std::string("ERR_UNAVAILABLE"));
  request.options["device"] = "0000:ff:00.0";
  CHECK(MakePcieSource(request, states).status.code() == std::string("ERR_GONE"));
  request.options["device"] = "0000:00:01.0";
  auto opened = MakePcieSource(request, states);
  REQUIRE(opened.ok());
  CHECK(FindColumn(*opened.value, 0, "link_width")->reason == "not_supported");
  SourceRecorder recorder(*opened.value);
  recorder.Sample();
  REQUIRE(recorder.table()->size() == 1);
  CHECK(recorder.table()->Text(0, "device") == "0000:00:01.0");
  CHECK(recorder.table()->IsNull(0, "link_width"));
  CHECK(recorder.table()->IsNull(0, "max_link_speed_transfers_per_second"));
}

TEST_CASE("pcie: AER by name and in total, of the devices that have it") {
  const Tree tree;
  WriteLink(tree, "0000:01:00.0", "2.5 GT/s PCIe\n");
  WriteLink(tree, "0000:02:00.0", "2.5 GT/s PCIe\n");
  WriteAer(tree, "0000:02:00.0", 4);
  RecordedStates states;
  auto opened = MakePcieSource(Request("pcie", tree.root()), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  recorder.Sample(kSecond);
  WriteAer(tree, "0000:02:00.0", 0);
  recorder.Sample(kSecond + 1);
  RowRecorder& rows = *recorder.table();
  REQUIRE(rows.size() == 4);
  const size_t with = *rows.RowWhere("device", "0000:02:00.0");
  const size_t without = *rows.RowWhere("device", "0000:01:00.0");
  CHECK(rows.U64(with, "aer_correctable") == 5);
  CHECK(rows.U64(with, "aer_correctable_bad_tlp") == 4);
  CHECK(rows.U64(with, "aer_correctable_rx_err") == 1);
  CHECK(rows.U64(with, "aer_nonfatal") == 2);
  CHECK(rows.U64(with, "aer_nonfatal_cmplt_to") == 2);
  CHECK(rows.U64(with, "aer_fatal_dlp") == 3);
  CHECK(rows.U64(with, "link_speed_transfers_per_second") == 2'500'000'000);
  CHECK(rows.IsNull(without, "aer_correctable"));
  CHECK(rows.IsNull(without, "aer_fatal_dlp"));
  CHECK(rows.U64(without, "link_width") == 8);
  const Lines lines = Brief(states);
  REQUIRE(lines.size() == 5);
  CHECK(lines[0] == "0000:01:00.0 aer_correctable unavailable not_supported");
  CHECK(lines[3] == "0000:02:00.0 aer_correctable_bad_tlp ok counter_decreased");
  CHECK(lines[4] == "0000:02:00.0 aer_correctable ok counter_decreased");
}

TEST_CASE("pcie: a sleeping device is not asked, an unknown speed is null, a pulled one is gone") {
  const Tree tree;
  const std::string device = "0000:01:00.0";
  WriteLink(tree, device, "8.0 GT/s PCIe\n");
  RecordedStates states;
  auto opened = MakePcieSource(Request("pcie", tree.root()), states);
  REQUIRE(opened.ok());
  SourceRecorder recorder(*opened.value);
  RowRecorder& rows = *recorder.table();
  recorder.Sample(kSecond);
  tree.Write(kDevices + device + "/power/runtime_status", "suspended\n");
  recorder.Sample(kSecond + 1);
  tree.Write(kDevices + device + "/power/runtime_status", "active\n");
  tree.Write(kDevices + device + "/current_link_speed", "Unknown\n");
  recorder.Sample(kSecond + 2);
  tree.Remove(kDevices + device);
  recorder.Sample(3 * kSecond);
  WriteLink(tree, device, "8.0 GT/s PCIe\n");
  recorder.Sample(5 * kSecond);
  REQUIRE(rows.size() == 4);
  CHECK(rows.U64(0, "link_speed_transfers_per_second") == 8'000'000'000);
  CHECK(rows.IsNull(1, "link_speed_transfers_per_second"));
  CHECK(rows.IsNull(1, "link_width"));
  CHECK(rows.U64(1, "max_link_width") == 16);
  CHECK(rows.IsNull(2, "link_speed_transfers_per_second"));
  CHECK(rows.U64(2, "link_width") == 8);
  CHECK(rows.Text(3, "device") == device);
  const std::string speed = device + " link_speed_transfers_per_second ";
  Lines link;
  for (const std::string& line : Brief(states)) {
    if (line.find("aer_") == std::string::npos) link.push_back(line);
  }
  CHECK(link == Lines{speed + "unavailable asleep",
                      device + " link_width unavailable asleep",
                      speed + "unavailable read_failed",
                      device + " link_width ok ",
                      device + "  gone gone",
                      device + "  ok appeared"});
}

TEST_CASE("thermal: unavailable on a guest, zones and CPUs where they are") {
  RecordedStates states;
  CHECK(MakeThermalSource(Request("thermal", kRecordedGuest), states).status.code() ==
        std::string("ERR_UNAVAILABLE"));
  const Tree tree;
  const std::string zones = "/sys/class/thermal/";
  const std::string cpus = "/sys/devices/system/cpu/";
  tree.Write(zones + "thermal_zone0/type", "x86_pkg_temp\n");
  tree.Write(zones + "thermal_zone0/temp", "48500\n");
  tree.Write(zones + "thermal_zone1/type", "acpitz\n");
  tree.Write(zones + "thermal_zone1/temp", "-1250\n");
  tree.Write(zones + "cooling_device0/type", "Processor\n");
  tree.Write(cpus + "cpu0/cpufreq/scaling_cur_freq", "3100000\n");
  tree.Write(cpus + "cpu0/thermal_throttle/core_throttle_count", "3\n");
  tree.Write(cpus + "cpu0/thermal_throttle/core_throttle_total_time_ms", "7\n");
  tree.Write(cpus + "cpu1/cpufreq/scaling_cur_freq", "18446744073709551615\n");
  tree.Write(cpus + "cpufreq/boost", "1\n");
  auto opened = MakeThermalSource(Request("thermal", tree.root()), states);
  REQUIRE(opened.ok());
  CHECK(FindColumn(*opened.value, 1, "package_throttles")->reason == "not_supported");
  SourceRecorder recorder(*opened.value);
  recorder.Sample(kSecond);
  tree.Write(zones + "thermal_zone1/temp", "\n");
  recorder.Sample(kSecond + 1);
  RowRecorder& rows = *recorder.table();
  RowRecorder& cpu_rows = *recorder.table("cpufreq");
  REQUIRE(rows.size() == 4);
  const size_t first = *rows.RowWhere("zone", "thermal_zone0");
  const size_t second = *rows.RowWhere("zone", "thermal_zone1");
  CHECK(rows.Text(first, "type") == "x86_pkg_temp");
  CHECK(rows.F64(first, "temperature_celsius") == 48.5);
  CHECK(rows.F64(second, "temperature_celsius") == -1.25);
  CHECK(rows.IsNull(second + 2, "temperature_celsius"));
  REQUIRE(cpu_rows.size() == 4);
  const size_t cpu0 = cpu_rows.U32(0, "cpu") == 0 ? 0 : 1;
  CHECK(cpu_rows.U64(cpu0, "frequency_hertz") == 3'100'000'000);
  CHECK(cpu_rows.U64(cpu0, "core_throttles") == 3);
  CHECK(cpu_rows.U64(cpu0, "core_throttle_ns") == 7'000'000);
  CHECK(cpu_rows.IsNull(cpu0, "package_throttles"));
  CHECK(cpu_rows.IsNull(1 - cpu0, "frequency_hertz"));  // does not fit in hertz
}
