// Records of every generation of CUPTI, laid out by hand as 11.0 to 13.0 lay them out: lengths
// differ, fields at the end are missing, what lies behind a record is the next one.
#include "gpu/cupti/record_convert.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

namespace warpgauge {
namespace {

// Bytes of each kind per toolkit.
struct Generation {
  const char* toolkit;
  uint16_t memcpy, peer, memset, kernel, unified, overhead, synchronization;
};
constexpr Generation kGenerations[] = {
    {"11.0", 72, 80, 72, 160, 64, 40, 40},
    {"11.1", 80, 88, 80, 160, 64, 40, 40},
    {"11.4", 80, 88, 80, 168, 64, 40, 40},
    {"11.6", 88, 96, 88, 176, 64, 40, 40},
    {"11.8", 88, 96, 88, 200, 64, 40, 40},
    {"12.0", 88, 96, 88, 208, 64, 40, 40},
    {"12.3", 88, 96, 88, 208, 64, 48, 40},
    {"12.4", 88, 96, 88, 208, 64, 56, 40},
    {"12.8", 96, 96, 88, 208, 104, 56, 56},
    {"13.0", 96, 96, 88, 216, 104, 56, 56},
};

struct Names {
  std::vector<std::string> texts;
  std::vector<uint32_t> cbids;
};

wg_converter ConverterOf(const Generation& generation, Names* names) {
  wg_converter converter{};
  converter.lengths[WG_CUPTI_MEMCPY] = generation.memcpy;
  converter.lengths[WG_CUPTI_PEER_MEMCPY] = generation.peer;
  converter.lengths[WG_CUPTI_MEMSET] = generation.memset;
  converter.lengths[WG_CUPTI_CONCURRENT_KERNEL] = generation.kernel;
  converter.lengths[WG_CUPTI_UNIFIED_MEMORY] = generation.unified;
  converter.lengths[WG_CUPTI_OVERHEAD] = generation.overhead;
  converter.lengths[WG_CUPTI_SYNCHRONIZATION] = generation.synchronization;
  converter.lengths[WG_CUPTI_DRIVER] = 40;
  converter.lengths[WG_CUPTI_RUNTIME] = 40;
  converter.lengths[WG_CUPTI_EXTERNAL_CORRELATION] = 24;
  converter.lengths[WG_CUPTI_MARKER] = 56;
  converter.user = names;
  converter.name = [](void* user, const char* text) {
    auto* const all = static_cast<Names*>(user);
    all->texts.emplace_back(text);
    return static_cast<uint32_t>(all->texts.size());
  };
  converter.api_name = [](void* user, int domain, uint32_t cbid) {
    static_cast<Names*>(user)->cbids.push_back(cbid);
    return static_cast<uint32_t>(domain) * 10'000 + cbid;
  };
  return converter;
}

// A record as a library of that length leaves it: exactly so many bytes, on the heap, so that
// AddressSanitizer sees one byte too many; offsets are written as numbers, not through our structs.
class Bytes {
 public:
  Bytes(size_t length, uint32_t kind) : bytes_(length) { Put(0, kind); }
  template <typename T>
  Bytes& Put(size_t offset, T value) {
    if (offset + sizeof value <= bytes_.size()) {
      std::memcpy(bytes_.data() + offset, &value, sizeof value);
    }
    return *this;
  }
  wg_converted Convert(const wg_converter& converter, wg_record* to) const {
    std::memset(to, 0xee, sizeof *to);  // what was there before must not shine through
    return wg_convert(&converter, bytes_.data(), bytes_.size(), to);
  }
  [[nodiscard]] size_t size() const { return bytes_.size(); }

 private:
  std::vector<uint8_t> bytes_;
};

TEST_CASE("a copy of every generation") {
  for (const Generation& generation : kGenerations) {
    CAPTURE(generation.toolkit);
    Names names;
    const wg_converter converter = ConverterOf(generation, &names);
    Bytes in(generation.memcpy, 1);
    in.Put<uint8_t>(4, 2).Put<uint8_t>(5, 3).Put<uint8_t>(6, 1).Put<uint8_t>(7, 1);
    in.Put<uint64_t>(8, 1ULL << 33).Put<uint64_t>(16, 1000).Put<uint64_t>(24, 2500);
    in.Put<uint32_t>(32, 5).Put<uint32_t>(36, 6).Put<uint32_t>(40, 7).Put<uint32_t>(44, 8);
    in.Put<uint64_t>(64, 0x1122334455ULL).Put<uint32_t>(72, 44).Put<uint64_t>(88, 17);
    wg_record out;
    REQUIRE(in.Convert(converter, &out) == WG_CONVERTED);
    CHECK(out.kind == WG_RECORD_MEMCPY);
    CHECK(out.start == 1000);
    CHECK(out.end == 2500);
    CHECK(out.device == 5);
    CHECK(out.context == 6);
    CHECK(out.stream == 7);
    CHECK(out.correlation == 8);
    CHECK(out.name == WG_NO_ID);
    CHECK(out.reserved == 0);
    CHECK(out.of.memcpy.bytes == 1ULL << 33);
    CHECK(out.of.memcpy.copy_kind == 2);
    CHECK(out.of.memcpy.source == 3);
    CHECK(out.of.memcpy.destination == 1);
    CHECK(out.of.memcpy.source_device == WG_NO_ID);
    CHECK(out.of.memcpy.graph_node == 0x1122334455ULL);
    CHECK(out.of.memcpy.graph == (generation.memcpy >= 80 ? 44 : 0));
    const bool has_copies = generation.memcpy >= 96;
    CHECK(out.of.memcpy.copies == (has_copies ? 17 : 0));
    CHECK(out.flags == (WG_FLAG_ASYNC | WG_FLAG_GRAPH | (has_copies ? WG_FLAG_COPIES : 0)));
  }
}

TEST_CASE("a peer copy and a memset of every generation") {
  for (const Generation& generation : kGenerations) {
    CAPTURE(generation.toolkit);
    Names names;
    const wg_converter converter = ConverterOf(generation, &names);
    Bytes peer(generation.peer, 22);
    peer.Put<uint8_t>(4, 10).Put<uint64_t>(8, 77).Put<uint64_t>(16, 1).Put<uint64_t>(24, 2);
    peer.Put<uint32_t>(32, 1).Put<uint32_t>(36, 2).Put<uint32_t>(40, 3);
    peer.Put<uint32_t>(44, 4).Put<uint32_t>(48, 5).Put<uint32_t>(52, 6).Put<uint32_t>(56, 7);
    peer.Put<uint32_t>(60, 8).Put<uint32_t>(80, 9);
    wg_record out;
    REQUIRE(peer.Convert(converter, &out) == WG_CONVERTED);
    CHECK(out.kind == WG_RECORD_PEER_MEMCPY);
    CHECK(out.of.memcpy.bytes == 77);
    CHECK(out.of.memcpy.source_device == 4);
    CHECK(out.of.memcpy.source_context == 5);
    CHECK(out.of.memcpy.destination_device == 6);
    CHECK(out.of.memcpy.destination_context == 7);
    CHECK(out.correlation == 8);
    CHECK(out.of.memcpy.graph == (generation.peer >= 84 ? 9 : 0));
    CHECK(out.flags == (generation.peer >= 84 ? WG_FLAG_GRAPH : 0));

    Bytes memset(generation.memset, 2);
    memset.Put<uint32_t>(4, 0xab).Put<uint64_t>(8, 4096).Put<uint64_t>(16, 3).Put<uint64_t>(24, 4);
    memset.Put<uint32_t>(44, 21).Put<uint16_t>(48, 1).Put<uint16_t>(50, 3).Put<uint32_t>(72, 5);
    REQUIRE(memset.Convert(converter, &out) == WG_CONVERTED);
    CHECK(out.kind == WG_RECORD_MEMSET);
    CHECK(out.of.memset.value == 0xab);
    CHECK(out.of.memset.bytes == 4096);
    CHECK(out.of.memset.memory == 3);
    CHECK((out.flags & WG_FLAG_ASYNC) != 0);
    CHECK(out.correlation == 21);
    CHECK(out.of.memset.graph == (generation.memset >= 80 ? 5 : 0));
  }
}

TEST_CASE("a kernel of every generation") {
  for (const Generation& generation : kGenerations) {
    CAPTURE(generation.toolkit);
    Names names;
    const wg_converter converter = ConverterOf(generation, &names);
    Bytes in(generation.kernel, 10);
    in.Put<uint16_t>(6, 40).Put<uint64_t>(16, 100).Put<uint64_t>(24, 200);
    in.Put<uint32_t>(40, 1).Put<uint32_t>(44, 2).Put<uint32_t>(48, 3);
    for (uint32_t i = 0; i < 6; i++) in.Put<uint32_t>(52 + 4 * i, 10 + i);
    in.Put<uint32_t>(76, 1024).Put<uint32_t>(80, 2048).Put<uint32_t>(84, 16);
    in.Put<uint32_t>(92, 99).Put<int64_t>(96, -5).Put<const char*>(104, "add");
    in.Put<uint32_t>(156, 12).Put<uint64_t>(144, 0);
    in.Put<uint32_t>(176, 2).Put<uint32_t>(180, 3).Put<uint32_t>(184, 4);
    wg_record out;
    REQUIRE(in.Convert(converter, &out) == WG_CONVERTED);
    CHECK(out.kind == WG_RECORD_KERNEL);
    CHECK(out.device == 1);
    CHECK(out.context == 2);
    CHECK(out.stream == 3);
    CHECK(out.correlation == 99);
    CHECK(out.name == 1);
    CHECK(names.texts == std::vector<std::string>{"add"});
    CHECK(out.of.kernel.grid_x == 10);
    CHECK(out.of.kernel.grid_y == 11);
    CHECK(out.of.kernel.grid_z == 12);
    CHECK(out.of.kernel.block_x == 13);
    CHECK(out.of.kernel.block_y == 14);
    CHECK(out.of.kernel.block_z == 15);
    CHECK(out.of.kernel.static_shared_bytes == 1024);
    CHECK(out.of.kernel.dynamic_shared_bytes == 2048);
    CHECK(out.of.kernel.local_bytes_per_thread == 16);
    CHECK(out.of.kernel.registers_per_thread == 40);
    CHECK(out.of.kernel.grid_id == -5);
    CHECK(out.of.kernel.graph == 12);
    const bool has_cluster = generation.kernel >= 200;
    CHECK(out.of.kernel.cluster_x == (has_cluster ? 2 : 0));
    CHECK(out.of.kernel.cluster_z == (has_cluster ? 4 : 0));
    CHECK(out.flags == (WG_FLAG_GRAPH | (has_cluster ? WG_FLAG_CLUSTER : 0)));
  }
}

TEST_CASE("overhead and synchronization of every generation") {
  for (const Generation& generation : kGenerations) {
    CAPTURE(generation.toolkit);
    Names names;
    const wg_converter converter = ConverterOf(generation, &names);
    Bytes overhead(generation.overhead, 17);
    overhead.Put<uint32_t>(4, 0x20000).Put<uint32_t>(8, 2).Put<uint32_t>(12, 123);
    overhead.Put<uint32_t>(16, 456).Put<uint64_t>(24, 5).Put<uint64_t>(32, 6);
    overhead.Put<uint32_t>(40, 31);
    wg_record out;
    REQUIRE(overhead.Convert(converter, &out) == WG_CONVERTED);
    CHECK(out.of.overhead.overhead == 0x20000);
    CHECK(out.of.overhead.object == 2);
    CHECK(out.of.overhead.ids[0] == 123);
    CHECK(out.of.overhead.ids[1] == 456);
    CHECK(out.start == 5);
    CHECK(out.correlation == (generation.overhead >= 48 ? 31 : 0));

    Bytes wait(generation.synchronization, 38);
    wait.Put<uint32_t>(4, 3).Put<uint64_t>(8, 5).Put<uint64_t>(16, 6).Put<uint32_t>(24, 7);
    wait.Put<uint32_t>(28, 8).Put<uint32_t>(32, 9).Put<uint32_t>(36, 0xffffffff);
    REQUIRE(wait.Convert(converter, &out) == WG_CONVERTED);
    CHECK(out.of.synchronization.type == 3);
    CHECK(out.of.synchronization.event == WG_NO_ID);
    CHECK(out.context == 8);
    CHECK(out.stream == 9);
    CHECK(out.device == WG_NO_ID);
  }
}

TEST_CASE("unified memory: the host and undefined ids are no device, instants have no end") {
  struct Case {
    uint32_t counter, source, destination, device;
    uint64_t end;
  };
  const Case cases[] = {
      {WG_CUPTI_UNIFIED_HTOD, WG_NO_ID, 2, 2, 9},
      {WG_CUPTI_UNIFIED_DTOH, 1, WG_NO_ID, 1, 9},
      {WG_CUPTI_UNIFIED_DTOD, 1, 2, 2, 9},
      {WG_CUPTI_UNIFIED_CPU_FAULT, WG_NO_ID, WG_NO_ID, WG_NO_ID, 8},
      {WG_CUPTI_UNIFIED_GPU_FAULT, 1, WG_NO_ID, 1, 9},
      {WG_CUPTI_UNIFIED_THRASHING, WG_NO_ID, WG_NO_ID, WG_NO_ID, 8},
      {WG_CUPTI_UNIFIED_THROTTLING, 1, WG_NO_ID, 1, 9},
      {WG_CUPTI_UNIFIED_REMOTE_MAP, WG_NO_ID, 2, 2, 8},
      {77, WG_NO_ID, WG_NO_ID, WG_NO_ID, 9},
  };
  for (const Generation& generation : {kGenerations[0], kGenerations[9]}) {
    for (const Case& want : cases) {
      CAPTURE(want.counter);
      Names names;
      const wg_converter converter = ConverterOf(generation, &names);
      Bytes in(generation.unified, 25);
      in.Put<uint32_t>(4, want.counter).Put<uint64_t>(8, 65536).Put<uint64_t>(16, 8);
      in.Put<uint64_t>(24, 9).Put<uint64_t>(32, 0x7f00'0000'1000).Put<uint32_t>(40, 1);
      in.Put<uint32_t>(44, 2).Put<uint32_t>(52, 4321).Put<uint32_t>(56, 3);
      wg_record out;
      REQUIRE(in.Convert(converter, &out) == WG_CONVERTED);
      CHECK(out.of.unified_memory.counter == want.counter);
      CHECK(out.of.unified_memory.value == 65536);
      CHECK(out.of.unified_memory.address == 0x7f00'0000'1000);
      CHECK(out.of.unified_memory.source == want.source);
      CHECK(out.of.unified_memory.destination == want.destination);
      CHECK(out.device == want.device);
      CHECK(out.of.unified_memory.pid == 4321);
      CHECK(out.of.unified_memory.counter_flags == 3);
      CHECK(out.start == 8);
      CHECK(out.end == want.end);
    }
  }
  // The end of a fault on the host is not defined: 0 there is no missing time.
  Names names;
  const wg_converter converter = ConverterOf(kGenerations[9], &names);
  Bytes in(104, 25);
  in.Put<uint32_t>(4, WG_CUPTI_UNIFIED_CPU_FAULT).Put<uint64_t>(16, 8);
  wg_record out;
  CHECK(in.Convert(converter, &out) == WG_CONVERTED);
}

TEST_CASE("API calls: those that were asked for") {
  Names names;
  wg_converter converter = ConverterOf(kGenerations[9], &names);
  std::vector<uint8_t> driver(WG_CBIDS / 8);
  driver[277 / 8] |= 1 << (277 % 8);
  wg_record out;
  Bytes in(40, WG_CUPTI_DRIVER);
  in.Put<uint32_t>(4, 277).Put<uint64_t>(8, 1).Put<uint64_t>(16, 2).Put<uint32_t>(24, 10);
  in.Put<uint32_t>(28, 11).Put<uint32_t>(32, 12).Put<uint32_t>(36, 719);
  REQUIRE(in.Convert(converter, &out) == WG_CONVERTED);
  CHECK(out.name == 10'277);
  CHECK(out.flags == 0);
  CHECK(out.of.api.cbid == 277);
  CHECK(out.of.api.pid == 10);
  CHECK(out.of.api.tid == 11);
  CHECK(out.correlation == 12);
  CHECK(out.of.api.result == 719);
  converter.wanted_driver = driver.data();
  CHECK(in.Convert(converter, &out) == WG_CONVERTED);
  in.Put<uint32_t>(4, 278);
  CHECK(in.Convert(converter, &out) == WG_CONVERTED_UNWANTED);
  in.Put<uint32_t>(4, 0xffffffff);  // beyond the table
  CHECK(in.Convert(converter, &out) == WG_CONVERTED_UNWANTED);
  // The runtime has ids of its own.
  in.Put<uint32_t>(0, WG_CUPTI_RUNTIME);
  in.Put<uint32_t>(4, 278);
  REQUIRE(in.Convert(converter, &out) == WG_CONVERTED);
  CHECK(out.flags == WG_FLAG_RUNTIME);
  CHECK(out.name == 20'278);
}

TEST_CASE("external ids and markers") {
  Names names;
  const wg_converter converter = ConverterOf(kGenerations[9], &names);
  wg_record out;
  Bytes external(24, 39);
  external.Put<uint32_t>(4, 3).Put<uint64_t>(8, 1ULL << 40).Put<uint32_t>(16, 6);
  REQUIRE(external.Convert(converter, &out) == WG_CONVERTED);
  CHECK(out.of.external.id == 1ULL << 40);
  CHECK(out.of.external.external == 3);
  CHECK(out.correlation == 6);

  Bytes marker(56, 12);
  marker.Put<uint32_t>(4, WG_MARKER_START).Put<uint64_t>(8, 500).Put<uint32_t>(16, 3);
  marker.Put<uint32_t>(20, 2).Put<uint32_t>(24, 100).Put<uint32_t>(28, 101);
  marker.Put<const char*>(40, "step").Put<const char*>(48, "train");
  REQUIRE(marker.Convert(converter, &out) == WG_CONVERTED);
  CHECK(out.start == 500);
  CHECK(out.end == 500);
  CHECK(out.name == 1);
  CHECK(out.of.marker.domain == 2);
  CHECK(out.of.marker.id == 3);
  CHECK(out.of.marker.pid == 100);
  CHECK(out.of.marker.tid == 101);
  CHECK(names.texts == std::vector<std::string>{"step", "train"});
  // The end of a range has no text; a process is no thread.
  marker.Put<uint32_t>(20, 1).Put<const char*>(40, nullptr).Put<const char*>(48, nullptr);
  REQUIRE(marker.Convert(converter, &out) == WG_CONVERTED);
  CHECK(out.name == WG_NO_ID);
  CHECK(out.of.marker.domain == WG_NO_ID);
  CHECK(out.of.marker.tid == WG_NO_ID);
}

TEST_CASE("what CUPTI did not know is told apart and costs no name") {
  Names names;
  const wg_converter converter = ConverterOf(kGenerations[9], &names);
  wg_record out;
  Bytes kernel(216, 10);
  kernel.Put<const char*>(104, "never read").Put<uint64_t>(24, 5);
  CHECK(kernel.Convert(converter, &out) == WG_CONVERTED_WITHOUT_TIME);
  kernel.Put<uint64_t>(16, 5).Put<uint64_t>(24, 0);
  CHECK(kernel.Convert(converter, &out) == WG_CONVERTED_WITHOUT_TIME);
  CHECK(names.texts.empty());
  Bytes api(40, 5);
  CHECK(api.Convert(converter, &out) == WG_CONVERTED_WITHOUT_TIME);
  CHECK(names.cbids.empty());
}

TEST_CASE("kinds that are unknown, refused or cut short are not read") {
  Names names;
  wg_converter converter = ConverterOf(kGenerations[9], &names);
  wg_record out;
  for (const uint32_t kind : {0U, 3U, 46U, 63U, 64U, 0xffffffffU}) {
    CAPTURE(kind);
    CHECK(Bytes(216, kind).Convert(converter, &out) == WG_CONVERTED_UNKNOWN);
  }
  CHECK(Bytes(95, 1).Convert(converter, &out) == WG_CONVERTED_UNKNOWN);
  CHECK(wg_convert(&converter, nullptr, 0, &out) == WG_CONVERTED_UNKNOWN);
  const uint8_t three[3] = {1, 0, 0};
  CHECK(wg_convert(&converter, three, sizeof three, &out) == WG_CONVERTED_UNKNOWN);
  // A library whose copies are shorter than what we need of them.
  converter.lengths[WG_CUPTI_MEMCPY] = WG_CUPTI_MEMCPY_BYTES - 8;
  CHECK(Bytes(96, 1).Convert(converter, &out) == WG_CONVERTED_UNKNOWN);
}

}  // namespace
}  // namespace warpgauge
