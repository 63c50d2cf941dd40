#include "os/meminfo_source.h"

#include "os/named_row_source.h"
#include "os/source_support.h"

namespace warpgauge {
namespace {

ColumnSpec Describe(const NamedNumber& number) {
  return MeminfoColumn(number.name, number.is_bytes, "/proc/meminfo");
}

}  // namespace

ColumnSpec MeminfoColumn(std::string_view name, bool is_bytes, const std::string& file) {
  return GaugeColumn(SnakeCase(name) + (is_bytes ? "_bytes" : ""),
                     is_bytes ? "bytes" : "pages",
                     file + " " + std::string(name));
}

Result<std::unique_ptr<Source>> MakeMeminfoSource(const SourceRequest& request, StateSink& states) {
  return OpenNamedRowSource(request, states, "/proc/meminfo", PreadFile::Shape::kOneRead, Describe);
}

}  // namespace warpgauge
