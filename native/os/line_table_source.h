#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/source.h"
#include "os/pread_file.h"
#include "os/system_text.h"

namespace warpgauge {

// A numeric field of a line, by its position after the name.
struct LineField {
  const char* name;
  ColumnKind kind;
  const char* unit;
  uint64_t scale;     // the kernel's number times this is the column's
  const char* field;  // the kernel's own name of it
};

// One row per tick and line of a file, keyed by a name in the line: disks, interfaces.
struct LineTable {
  const char* key;    // name of the key column
  const char* grain;  // "one row per tick and disk"
  const char* file;   // for column metadata: "/proc/diskstats"
  std::vector<LineField> fields;
};

// False for lines that are no entity.
using ParseLine = bool (*)(std::string_view line, LineValues* values);

Result<std::unique_ptr<Source>> OpenLineTableSource(const SourceRequest& request,
                                                    StateSink& states,
                                                    PreadFile file,
                                                    const LineTable& table,
                                                    ParseLine parse);

}  // namespace warpgauge
