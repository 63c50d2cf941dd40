#include "os/named_row_source.h"

#include <string_view>
#include <utility>
#include <vector>

#include "os/source_support.h"

namespace warpgauge {
namespace {

class NamedRowSource : public Source {
 public:
  NamedRowSource(const SourceRequest& request,
                 StateSink& states,
                 PreadFile file,
                 NamedColumns lines,
                 TableSpec table)
      : states_(states),
        name_(TableName(request, table)),
        file_(std::move(file)),
        lines_(std::move(lines)),
        watch_(table.columns.size()) {
    for (const ColumnSpec& column : table.columns) {
      is_counter_.push_back(column.kind == ColumnKind::kCounter ? 1 : 0);
    }
    tables_.push_back(std::move(table));
  }

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t /*table*/, int64_t tick_ns, TableWriter& rows) override {
    if (!rows.BeginTick(tick_ns, 1)) return;
    std::string_view text;
    file_.Read(&text);
    availability_.Update(states_, name_, "", "", file_.error());
    if (rows.BeginRow(tick_ns)) {
      lines_.Parse(text, [&](uint32_t column, uint64_t value) {
        rows.SetU64(column, value);
        if (is_counter_[column] != 0) watch_.See(column, value);
      });
      rows.EndRow();
    }
    rows.EndTick();
    watch_.Report(states_, name_, "", tables_[0].columns);
  }

 private:
  StateSink& states_;
  std::string name_;
  std::vector<TableSpec> tables_;
  PreadFile file_;
  NamedColumns lines_;
  std::vector<uint8_t> is_counter_;  // by column
  CounterWatch watch_;
  Availability availability_;
};

}  // namespace

Result<std::unique_ptr<Source>> OpenNamedRowSource(const SourceRequest& request,
                                                   StateSink& states,
                                                   const std::string& path,
                                                   PreadFile::Shape shape,
                                                   ColumnSpec (*describe)(const NamedNumber&)) {
  PreadFile file(request.root + path, shape, 16384);
  std::string_view text;
  if (!file.Read(&text)) return CannotRead(request, file, "mount -t proc proc /proc");
  TableSpec table;
  table.grain = "one row per tick";
  table.columns.push_back(TimeColumn());
  NamedColumns columns;
  LineScanner lines(text);
  std::string_view line;
  while (lines.Next(&line)) {
    NamedNumber number;
    if (!ParseNamedNumber(line, &number)) continue;
    ColumnSpec column = describe(number);
    if (HasColumn(table, column.name)) continue;
    columns.Add(
        std::string(number.name), static_cast<uint32_t>(table.columns.size()), number.is_bytes);
    table.columns.push_back(std::move(column));
  }
  if (columns.size() == 0) {
    return Status("ERR_UNAVAILABLE", request.name + " found no number in " + file.path())
        .WithSource(file.path(), 0);
  }
  return std::unique_ptr<Source>(std::make_unique<NamedRowSource>(
      request, states, std::move(file), std::move(columns), std::move(table)));
}

}  // namespace warpgauge
