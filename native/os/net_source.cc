#include "os/net_source.h"

#include <string_view>
#include <utility>

#include "os/line_table_source.h"
#include "os/system_text.h"

namespace warpgauge {
namespace {

constexpr ColumnKind kCounter = ColumnKind::kCounter;

LineTable NetTable() {
  return {"interface",
          "one row per tick and network interface",
          "/proc/net/dev",
          {
              {"receive_bytes", kCounter, "bytes", 1, "receive bytes"},
              {"receive_packets", kCounter, "1", 1, "receive packets"},
              {"receive_errors", kCounter, "1", 1, "receive errs"},
              {"receive_dropped", kCounter, "1", 1, "receive drop"},
              {"receive_fifo_errors", kCounter, "1", 1, "receive fifo"},
              {"receive_frame_errors", kCounter, "1", 1, "receive frame"},
              {"receive_compressed", kCounter, "1", 1, "receive compressed"},
              {"receive_multicast", kCounter, "1", 1, "receive multicast"},
              {"transmit_bytes", kCounter, "bytes", 1, "transmit bytes"},
              {"transmit_packets", kCounter, "1", 1, "transmit packets"},
              {"transmit_errors", kCounter, "1", 1, "transmit errs"},
              {"transmit_dropped", kCounter, "1", 1, "transmit drop"},
              {"transmit_fifo_errors", kCounter, "1", 1, "transmit fifo"},
              {"transmit_collisions", kCounter, "1", 1, "transmit colls"},
              {"transmit_carrier_errors", kCounter, "1", 1, "transmit carrier"},
              {"transmit_compressed", kCounter, "1", 1, "transmit compressed"},
          }};
}

}  // namespace

Result<std::unique_ptr<Source>> MakeNetSource(const SourceRequest& request, StateSink& states) {
  constexpr PreadFile::Shape kShape = PreadFile::Shape::kRecords;
  std::string path = request.root + "/proc/1/net/dev";
  std::string_view text;
  // A recorded tree has no process 1.
  if (request.root.empty() || !PreadFile(path, kShape).Read(&text)) {
    path = request.root + "/proc/net/dev";
  }
  return OpenLineTableSource(
      request, states, PreadFile(std::move(path), kShape), NetTable(), ParseNetLine);
}

}  // namespace warpgauge
