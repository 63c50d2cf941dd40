#pragma once

#include <memory>

#include "core/source.h"
#include "gpu/cupti/trace_buffer.h"

namespace warpgauge {

// Source `cuda`. Options: `trace`, the number of a trace that was registered for child processes;
// or, without it, this process itself is traced: `kinds` (bits of wg_record_kind), `api` (wg_api),
// `buffer_bytes`, `flush_ms`.
Result<std::unique_ptr<Source>> OpenTraceSource(const SourceRequest& request, StateSink& states);

// The same for a buffer that the caller holds: for tests. Takes over one reference.
std::unique_ptr<Source> MakeTraceSource(TraceBuffer* trace,
                                        const SourceRequest& request,
                                        bool simulated,
                                        StateSink& states);

}  // namespace warpgauge
