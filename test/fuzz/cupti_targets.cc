#include <cstring>
#include <memory>

#include "gpu/cupti/record_convert.h"
#include "targets.h"

// The first two bytes choose kind and length of the library's records; the rest is a buffer of
// them. Names are never followed here: hostile bytes make wild pointers.
FUZZ_TARGET(cupti_record) {
  if (text.size() < 2) return;
  const auto kind = static_cast<uint32_t>(static_cast<unsigned char>(text[0])) % WG_CUPTI_KINDS;
  const uint16_t length = static_cast<uint16_t>(static_cast<unsigned char>(text[1]) * 8);
  const size_t size = text.size() - 2;
  const auto buffer = std::make_unique<uint8_t[]>(size == 0 ? 1 : size);
  std::memcpy(buffer.get(), text.data() + 2, size);

  struct Asked {
    size_t names = 0;
  } asked;
  wg_converter converter{};
  converter.lengths[kind] = length;
  converter.user = &asked;
  converter.name = [](void* user, const char* /*pointer*/) {
    return static_cast<uint32_t>(++static_cast<Asked*>(user)->names);
  };
  converter.api_name = [](void* user, int domain, uint32_t /*cbid*/) {
    FUZZ_CHECK(domain == WG_CUPTI_DOMAIN_DRIVER || domain == WG_CUPTI_DOMAIN_RUNTIME);
    return static_cast<uint32_t>(++static_cast<Asked*>(user)->names);
  };
  const size_t step = length == 0 ? 8 : length;
  for (size_t at = 0; at < size; at += step) {
    wg_record out;
    std::memset(&out, 0xee, sizeof out);
    const size_t before = asked.names;
    const wg_converted result = wg_convert(&converter, buffer.get() + at, size - at, &out);
    if (result == WG_CONVERTED) {
      FUZZ_CHECK(size - at >= length && length >= wg_cupti_prefix_bytes(kind));
      FUZZ_CHECK(out.kind == wg_record_kind_of(kind) && out.kind != WG_RECORD_NONE);
      FUZZ_CHECK(out.reserved == 0);
      FUZZ_CHECK(out.kind == WG_RECORD_EXTERNAL || (out.start != 0 && out.end != 0));
    } else {
      FUZZ_CHECK(asked.names == before);  // names cost a place in the ring
    }
  }
}
