#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>

#include "guardian/journal.h"

// The lines that test/fuzz/corpus/guardian_journal/pools has were written by the library; here they
// are made.
namespace {

std::string Line(const std::string& body) {
  std::array<char, 4096> line{};
  const size_t length = EncodeLine(body.c_str(), line.data(), line.size());
  REQUIRE(length > 0);
  return {line.data(), length};
}

std::string Body(int seq, const std::string& rest) {
  return "{\"seq\":" + std::to_string(seq) + ",\"time\":\"2026-01-01T00:00:00.000Z\"," + rest;
}

std::string Header(const std::string& locks = "\"gpu-a\",\"pools\"") {
  return Line(Body(0,
                   "\"type\":\"header\",\"schema\":\"warpgauge/journal/1\",\"id\":\"pools-1\","
                   "\"action\":\"pools\",\"locks\":[" +
                       locks +
                       "],\"bootId\":\"boot-1\",\"pid\":7,\"argv\":[\"\\\"bootId\\\":\\\"x\"]"));
}

const std::string kGrow =
    "\"type\":\"intent\",\"step\":0,\"op\":\"pool.grow\",\"target\":\"/sys/f/nr_hugepages\","
    "\"prior\":3,\"asked\":8";

std::unique_ptr<Journal> Parse(const std::string& text) {
  auto journal = std::make_unique<Journal>();
  ParseJournal(text.data(), text.size(), journal.get());
  return journal;
}

}  // namespace

TEST_CASE("a whole journal: header, steps, what undid them, lease, commit, end") {
  std::string text =
      Header() + Line(Body(1, "\"type\":\"lease\",\"expires\":1500.5,\"guardian\":9"));
  text += Line(Body(2, kGrow)) + Line(Body(3, "\"type\":\"done\",\"step\":0,\"observed\":8"));
  auto journal = Parse(text);
  CHECK(journal->corrupt == nullptr);
  CHECK(std::string(journal->id) == "pools-1");
  CHECK(std::string(journal->boot_id) == "boot-1");
  REQUIRE(journal->lock_count == 2);
  CHECK(std::string(journal->locks[1]) == "pools");
  CHECK(journal->expires_ms == 1500.5);
  REQUIRE(journal->step_count == 1);
  CHECK(journal->steps[0].op == kPoolGrow);
  CHECK(ValueNumber(journal->steps[0].observed, -1) == 8);
  CHECK(journal->steps[0].undoes == -1);
  CHECK(journal->valid_bytes == text.size());
  CHECK_FALSE(journal->unknown_steps);
  text += Line(Body(4,
                    "\"type\":\"intent\",\"step\":1,\"op\":\"pool.shrink\",\"target\":\"/sys/f/"
                    "nr_hugepages\",\"prior\":11,\"asked\":8,\"undoes\":0"));
  journal = Parse(text);
  CHECK(journal->steps[1].undoes == 0);
  CHECK(std::string(journal->steps[1].observed).empty());
  CHECK_FALSE(journal->closed);
  journal = Parse(text + Line(Body(5, "\"type\":\"commit\"")));
  CHECK(journal->committed);
  journal = Parse(text + Line(Body(5, "\"type\":\"rolledback\",\"reason\":\"x\"")));
  CHECK(journal->closed);
  CHECK(Parse(text + Line(Body(5, "\"type\":\"kept\"")))->closed);
}

TEST_CASE("cut anywhere: whole lines count, the rest says nothing; a wrong byte is damage") {
  const std::string text = Header() + Line(Body(1, kGrow)) +
                           Line(Body(2, "\"type\":\"done\",\"step\":0,\"observed\":null"));
  for (size_t length = 1; length <= text.size(); length++) {
    const auto journal = Parse(text.substr(0, length));
    const bool has_header = length >= Header().size();
    CHECK((journal->corrupt == nullptr) == has_header);
    CHECK(journal->valid_bytes <= length);
  }
  for (size_t at = 0; at < text.size(); at++) {
    std::string damaged = text;
    damaged[at] = damaged[at] == 'A' ? 'B' : 'A';
    // The last newline alone makes the line before it torn instead.
    CHECK((Parse(damaged)->corrupt != nullptr || at == text.size() - 1));
  }
}

TEST_CASE("lines in the wrong order, missing or repeated are damage") {
  const std::string grow = Line(Body(1, kGrow));
  CHECK(Parse(grow)->corrupt != nullptr);
  CHECK(Parse(Header() + Header())->corrupt != nullptr);
  CHECK(Parse(Header() + grow + grow)->corrupt != nullptr);
  CHECK(Parse(Header() + Line(Body(2, kGrow)))->corrupt != nullptr);
}

TEST_CASE("what only the library understands is left to it, and is no damage") {
  for (const char* rest :
       {"\"op\":\"mig.create\",\"target\":\"GPU-1/9@4\",\"prior\":null,\"asked\":{\"a\":[1,\"}\"]}",
        "\"op\":\"file.set\",\"target\":\"/sys/a\\\"b\",\"prior\":\"x\",\"asked\":\"y\"",
        "\"op\":\"file.set\",\"target\":\"/sys/a\",\"prior\":1,\"asked\":\"y\"",
        "\"op\":\"pool.grow\",\"target\":\"/sys/a\",\"prior\":\"3\",\"asked\":8"}) {
    const auto journal =
        Parse(Header() + Line(Body(1, std::string("\"type\":\"intent\",\"step\":0,") + rest)));
    CHECK(journal->corrupt == nullptr);
    CHECK(journal->unknown_steps);
  }
  const auto set = Parse(
      Header() + Line(Body(1,
                           "\"type\":\"intent\",\"step\":0,\"op\":\"file.set\",\"target\":\"/sys/"
                           "a\",\"prior\":\"madvise\",\"asked\":\"always\"")));
  CHECK_FALSE(set->unknown_steps);
  std::array<char, 16> text{};
  CHECK(ValueText(set->steps[0].prior, text.data(), text.size()));
  CHECK(std::string(text.data()) == "madvise");
  CHECK_FALSE(ValueText(set->steps[0].prior, text.data(), 7));
}

TEST_CASE("numbers and texts of other forms are refused") {
  CHECK(ValueNumber("12", -1) == 12);
  CHECK(ValueNumber("", -1) == -1);
  CHECK(ValueNumber("1.5", -1) == -1);
  CHECK(ValueNumber("99999999999999999999", -1) == -1);
  std::array<char, 8> text{};
  CHECK_FALSE(ValueText("12", text.data(), text.size()));
  CHECK_FALSE(ValueText("\"", text.data(), text.size()));
  CHECK(Crc32("123456789", 9) == 0xcbf43926U);
}
