#pragma once

#include <memory>

#include "core/source.h"

namespace warpgauge {

// `pcie`: one row per tick and PCI device that has a PCI Express link, keyed by PCI address, or the
// one device named by the option device=ADDR (with or without a link): the link's speed and width
// now and at most, and the errors that Advanced Error Reporting has counted since boot, in total
// and by name. Columns of error names are those that the kernel's files had at opening.
//
// Bytes over the link are not here: the kernel does not count them (`gpu` does). A device that the
// kernel has suspended is not asked, because the question would wake it: its link is null, reason
// "asleep". Devices are listed again each second.
Result<std::unique_ptr<Source>> MakePcieSource(const SourceRequest& request, StateSink& states);

}  // namespace warpgauge
