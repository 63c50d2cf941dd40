#pragma once

#include <cstdint>

namespace warpgauge {

// How long a stop waits for a thread that may hang in a driver or a file. Several samplers are
// often stopped one after the other (worker ends, exit, close of each), and what makes one hang
// makes the others hang: all of them together must not take a second.
//
// Alone, a stop waits for 400 ms. For a second after a thread was left behind it waits only until
// the call that it finds has taken 400 ms: a call that has hung for longer had that time already.
//
// `now_ns` is when the stop began, `call_since_ns` when the call began; 0: the thread is in none.
int64_t StopDeadlineNs(int64_t now_ns, int64_t call_since_ns);
// Somebody waited in vain.
void NoteLeftBehind(int64_t now_ns);

}  // namespace warpgauge
