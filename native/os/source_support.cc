#include "os/source_support.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace warpgauge {
namespace {

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

ColumnSpec TimeColumn() {
  ColumnSpec column;
  column.name = "time";
  column.type = ColumnType::kTime;
  column.kind = ColumnKind::kKey;
  column.unit = "ns";
  column.source = "CLOCK_MONOTONIC at the tick";
  column.nullable = false;
  return column;
}

ColumnSpec GaugeColumn(std::string name, std::string unit, std::string source) {
  ColumnSpec column;
  column.name = std::move(name);
  column.unit = std::move(unit);
  column.source = std::move(source);
  return column;
}

ColumnSpec CounterColumn(std::string name, std::string unit, std::string source) {
  ColumnSpec column = GaugeColumn(std::move(name), std::move(unit), std::move(source));
  column.kind = ColumnKind::kCounter;
  return column;
}

ColumnSpec NameKeyColumn(std::string name, std::string source) {
  ColumnSpec column = GaugeColumn(std::move(name), "", std::move(source));
  column.type = ColumnType::kName;
  column.kind = ColumnKind::kKey;
  column.nullable = false;
  return column;
}

ColumnSpec NumberKeyColumn(std::string name, std::string source) {
  ColumnSpec column = NameKeyColumn(std::move(name), std::move(source));
  column.type = ColumnType::kUint32;
  return column;
}

std::string SnakeCase(std::string_view name) {
  std::string result;
  for (size_t i = 0; i < name.size(); i++) {
    const char c = name[i];
    if (!IsLower(c) && !IsUpper(c) && !IsDigit(c)) {
      if (!result.empty() && result.back() != '_') result += '_';
      continue;
    }
    const char before = i > 0 ? name[i - 1] : '_';
    const char after = i + 1 < name.size() ? name[i + 1] : '_';
    const bool starts_word = (IsUpper(c) && IsLower(before)) ||
                             (IsUpper(c) && IsUpper(before) && IsLower(after)) ||
                             (IsDigit(c) && (IsLower(before) || IsUpper(before)));
    if (starts_word && !result.empty() && result.back() != '_') result += '_';
    result += IsUpper(c) ? static_cast<char>(c - 'A' + 'a') : c;
  }
  while (!result.empty() && result.back() == '_') result.pop_back();
  return result;
}

bool HasColumn(const TableSpec& table, std::string_view name) {
  for (const ColumnSpec& column : table.columns) {
    if (column.name == name) return true;
  }
  return false;
}

std::string TableName(const SourceRequest& request, const TableSpec& table) {
  return table.suffix.empty() ? request.instance : request.instance + "." + table.suffix;
}

const char* ReasonForErrno(int error) {
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
      return "gone";
    case EACCES:
    case EPERM:
      return "no_permission";
    case EOPNOTSUPP:
      return "not_supported";
    case EMFILE:
    case ENFILE:
      return "too_many_open_files";
    case ENOMEM:
      return "no_memory";
    default:
      return "read_failed";
  }
}

Status CannotRead(const SourceRequest& request, const PreadFile& file, std::string fix) {
  const int error = file.error();
  const bool is_permission = error == EACCES || error == EPERM;
  return Status(is_permission ? "ERR_PERMISSION" : "ERR_UNAVAILABLE",
                request.name + " reads " + file.path() + ": " + std::strerror(error))
      .WithFix(is_permission ? "run as root, or make " + file.path() + " readable" : std::move(fix))
      .WithSource(file.path(), error);
}

void Availability::Update(StateSink& states,
                          const std::string& table,
                          const std::string& key,
                          const std::string& field,
                          int error,
                          const char* reason) {
  if (error == error_) return;
  error_ = error;
  StateChange change;
  change.table = table;
  change.key = key;
  change.field = field;
  change.state = error == 0 ? "ok" : "unavailable";
  if (error != 0) change.reason = reason != nullptr ? reason : ReasonForErrno(error);
  change.code = error;
  states.Report(std::move(change));
}

void ReportAppeared(StateSink& states, const std::string& table, const std::string& key) {
  StateChange change;
  change.table = table;
  change.key = key;
  change.state = "ok";
  change.reason = "appeared";
  states.Report(std::move(change));
}

void ReportGone(StateSink& states, const std::string& table, const std::string& key) {
  StateChange change;
  change.table = table;
  change.key = key;
  change.state = "gone";
  change.reason = "gone";
  states.Report(std::move(change));
}

void ReportMissing(StateSink& states,
                   const std::string& table,
                   const std::string& key,
                   const std::string& field,
                   const std::string& reason) {
  StateChange change;
  change.table = table;
  change.key = key;
  change.field = field;
  change.state = "unavailable";
  change.reason = reason;
  states.Report(std::move(change));
}

void CounterWatch::ReportFallen(StateSink& states,
                                const std::string& table,
                                const std::string& key,
                                const std::vector<ColumnSpec>& columns) {
  for (const uint32_t column : fallen_) {
    StateChange change;
    change.table = table;
    change.key = key;
    change.field = columns[column].name;
    change.state = "ok";
    change.reason = "counter_decreased";
    states.Report(std::move(change));
  }
  fallen_.clear();
}

}  // namespace warpgauge
