#include "os/line_table_source.h"

#include <algorithm>
#include <string>
#include <utility>

#include "os/line_entities.h"
#include "os/source_support.h"
#include "os/text_scanner.h"

namespace warpgauge {
namespace {

constexpr uint32_t kKey = 1;
constexpr uint32_t kFirstField = 2;

class LineTableSource : public Source {
 public:
  LineTableSource(const SourceRequest& request,
                  StateSink& states,
                  PreadFile file,
                  std::vector<LineField> fields,
                  TableSpec table,
                  ParseLine parse)
      : states_(states),
        name_(TableName(request, table)),
        file_(std::move(file)),
        fields_(std::move(fields)),
        parse_(parse),
        entities_(name_, table.columns.size(), kKey) {
    tables_.push_back(std::move(table));
  }

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t /*table*/, int64_t tick_ns, TableWriter& rows) override {
    if (!rows.BeginTick(tick_ns, std::max(entities_.size(), tables_[0].rows_per_tick))) return;
    std::string_view text;
    const bool is_read = file_.Read(&text);
    availability_.Update(states_, name_, "", "", file_.error());
    entities_.BeginTick();
    LineScanner lines(text);
    std::string_view line;
    LineValues values;
    while (lines.Next(&line)) {
      if (parse_(line, &values)) WriteRow(values, tick_ns, rows);
    }
    entities_.EndTick(is_read, states_);
    rows.EndTick();
  }

 private:
  void WriteRow(const LineValues& line, int64_t tick_ns, TableWriter& rows) {
    LineEntities::Entity* const entity = entities_.Find(line.name, rows, states_);
    if (entity == nullptr || entity->code < 0 || !rows.BeginRow(tick_ns)) return;
    rows.SetCode(kKey, entity->code);
    const auto count = std::min(line.fields, static_cast<uint32_t>(fields_.size()));
    for (uint32_t i = 0; i < count; i++) {
      uint64_t value = 0;
      if (__builtin_mul_overflow(line.values[i], fields_[i].scale, &value)) continue;
      rows.SetU64(kFirstField + i, value);
      if (fields_[i].kind == ColumnKind::kCounter) entity->watch.See(kFirstField + i, value);
    }
    rows.EndRow();
    entity->watch.Report(states_, name_, entity->name, tables_[0].columns);
  }

  StateSink& states_;
  std::string name_;
  std::vector<TableSpec> tables_;
  PreadFile file_;
  std::vector<LineField> fields_;
  ParseLine parse_;
  LineEntities entities_;
  Availability availability_;
};

}  // namespace

Result<std::unique_ptr<Source>> OpenLineTableSource(const SourceRequest& request,
                                                    StateSink& states,
                                                    PreadFile file,
                                                    const LineTable& table,
                                                    ParseLine parse) {
  std::string_view text;
  if (!file.Read(&text)) return CannotRead(request, file, "mount -t proc proc /proc");
  TableSpec spec;
  spec.grain = table.grain;
  spec.columns.push_back(TimeColumn());
  spec.columns.push_back(NameKeyColumn(table.key, table.file));
  for (const LineField& field : table.fields) {
    ColumnSpec column =
        GaugeColumn(field.name, field.unit, std::string(table.file) + " " + field.field);
    column.kind = field.kind;
    spec.columns.push_back(std::move(column));
  }
  uint32_t fields = 0;
  uint32_t entities = 0;
  LineScanner lines(text);
  std::string_view line;
  LineValues values;
  while (lines.Next(&line)) {
    if (!parse(line, &values)) continue;
    entities++;
    fields = std::max(fields, values.fields);
  }
  spec.rows_per_tick = std::max(entities, 1U);
  for (size_t i = kFirstField + fields; entities > 0 && i < spec.columns.size(); i++) {
    spec.columns[i].reason = "not_supported";  // by a kernel as old as this one
  }
  return std::unique_ptr<Source>(std::make_unique<LineTableSource>(
      request, states, std::move(file), table.fields, std::move(spec), parse));
}

}  // namespace warpgauge
