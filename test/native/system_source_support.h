#pragma once

#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "core/source.h"

// What the tests of the readers of /proc and /sys share. The independent readers use streams, not
// our scanner.

namespace warpgauge {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
// Recorded by scripts/record-tree.mjs, see test/fixtures/proc/README.md.
inline const std::string kRecordedGuest = "test/fixtures/proc/debian-12-kvm-linux-6.18.44-counters";
inline const std::string kRecordedH200 = "test/fixtures/proc/h200-ubuntu-24.04-linux-6.18.44";

inline SourceRequest Request(const std::string& name, const std::string& root = "") {
  SourceRequest request;
  request.name = name;
  request.instance = name;
  request.root = root;
  request.interval_ns = 10'000'000;
  return request;
}

inline const ColumnSpec* FindColumn(const Source& source, size_t table, const std::string& name) {
  for (const ColumnSpec& column : source.tables()[table].columns) {
    if (column.name == name) return &column;
  }
  return nullptr;
}

// Lines "name value".
inline std::map<std::string, uint64_t> ReadPairs(const std::string& path) {
  std::map<std::string, uint64_t> pairs;
  std::ifstream file(path);
  std::string name;
  uint64_t value = 0;
  while (file >> name >> value) pairs[name] = value;
  return pairs;
}

// Every line as its words, blanks and colons between them.
inline std::vector<std::vector<std::string>> ReadWords(const std::string& path) {
  std::vector<std::vector<std::string>> result;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    for (char& c : line) {
      if (c == ':') c = ' ';
    }
    std::istringstream stream(line);
    std::vector<std::string> words;
    std::string word;
    while (stream >> word) words.push_back(word);
    result.push_back(words);
  }
  return result;
}

inline std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace warpgauge
