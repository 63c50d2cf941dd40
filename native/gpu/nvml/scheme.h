#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gpu/nvml/table.h"

namespace warpgauge {

// A decoded answer: a number of one type, or why there is none.
struct NvmlNumber {
  enum class Type : uint8_t { kNone, kUnsigned, kSigned, kFloat };
  Type type = Type::kNone;
  union {
    uint64_t u64 = 0;
    int64_t i64;
    double f64;
  };
  [[nodiscard]] double AsDouble() const {
    return type == Type::kFloat    ? f64
           : type == Type::kSigned ? static_cast<double>(i64)
                                   : static_cast<double>(u64);
  }
};

// Reads the 8 bytes as `value_type` says; kNone for a type that is not known.
NvmlNumber DecodeNvmlValue(int value_type, const NvmlValueBits& bits);
// Width of the counter that `value_type` says: 32 or 64; 0 for what is no unsigned integer.
int NvmlCounterBits(int value_type);

// Whether a number is one of the words by which drivers and DCGM say "no value": all ones, and
// DCGM's blanks 0x7ffffff0 ... and 0x7ffffffffffffff0 ... .
bool IsBlank(uint64_t value);

// Bytes; what the driver does not say is kNvmlNotAvailable64.
struct NvmlMemory {
  uint64_t total = kNvmlNotAvailable64, used = kNvmlNotAvailable64, free = kNvmlNotAvailable64,
           reserved = kNvmlNotAvailable64;
};

enum class NvmlProcessKind : uint8_t { kCompute, kGraphics, kMps };

struct NvmlProcessEntry {
  unsigned pid = 0;
  uint64_t memory = kNvmlNotAvailable64;
  unsigned gpu_instance = kNvmlNotAvailable32, compute_instance = kNvmlNotAvailable32;
};

struct NvmlProcessUse {
  unsigned pid = 0;
  uint64_t timestamp_us = 0;
  // Percent; kNvmlNotAvailable32 where the driver does not say.
  unsigned sm = 0, memory = 0, encoder = 0, decoder = 0, jpeg = kNvmlNotAvailable32,
           ofa = kNvmlNotAvailable32;
};

// How this driver lays out what differs between drivers: chosen by the symbols that it exports,
// newest first, and by trying, never by the header that anything was compiled with. Cheap to make;
// used by one thread at a time. Remembers which versions the driver refused.
class NvmlScheme {
 public:
  explicit NvmlScheme(const NvmlTable& table) : table_(&table) {}

  // v2 where it works: it separates `reserved`, which v1 counts as used.
  NvmlReturn ReadMemory(NvmlDevice device, NvmlMemory* memory);
  // Replaces `entries`. An empty list is a success.
  NvmlReturn ReadProcesses(NvmlDevice device,
                           NvmlProcessKind kind,
                           std::vector<NvmlProcessEntry>* entries);
  // Samples newer than `since_us` of the driver's clock. An empty list is a success.
  NvmlReturn ReadProcessUse(NvmlDevice device,
                            uint64_t since_us,
                            std::vector<NvmlProcessUse>* entries);
  // Of the GPU itself, degrees Celsius, by the newest function that works.
  NvmlReturn ReadTemperature(NvmlDevice device, int* celsius);

  // Bytes per entry of a process list: 16 (no suffix), 24, or 32 with drivers 535.43 to 535.86.
  [[nodiscard]] size_t ProcessBytes(int version) const;

 private:
  const NvmlTable* table_;
  bool memory_v2_refused_ = false, temperature_v_refused_ = false, use_v2_refused_ = false;
  int process_version_[3] = {3, 3, 3};  // by kind: the newest that was not refused
  std::vector<uint8_t> buffer_;
};

// A percentage as a ratio: false when it is above 100, which is never true.
inline bool PercentToRatio(unsigned percent, double* ratio) {
  *ratio = percent / 100.0;
  return percent <= 100;
}

}  // namespace warpgauge
