#pragma once

#include <memory>
#include <string>

#include "core/source.h"
#include "os/named_columns.h"
#include "os/pread_file.h"

namespace warpgauge {

// A source with one table of one row per tick: every line "name value" of one file, with columns
// that are decided at opening from the file's own lines. A line that is missing later is null; one
// that is new is left out.
//
// `path` comes without the root prefix. `describe` gives the column for a line.
Result<std::unique_ptr<Source>> OpenNamedRowSource(const SourceRequest& request,
                                                   StateSink& states,
                                                   const std::string& path,
                                                   PreadFile::Shape shape,
                                                   ColumnSpec (*describe)(const NamedNumber&));

}  // namespace warpgauge
