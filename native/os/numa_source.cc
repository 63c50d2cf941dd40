#include "os/numa_source.h"

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/folder_entities.h"
#include "os/meminfo_source.h"
#include "os/named_columns.h"
#include "os/pread_file.h"
#include "os/source_support.h"
#include "os/text_scanner.h"

namespace warpgauge {
namespace {

constexpr const char* kNodes = "/sys/devices/system/node";
constexpr uint32_t kKey = 1;

// A line of a node's file, without the "Node <N> " in front.
struct Field {
  std::string name;
  uint32_t column;
  bool is_bytes;
};

std::string MeminfoPrefix(uint32_t node) { return "Node " + std::to_string(node) + " "; }

struct Node {
  std::string key;
  uint32_t number = 0;
  PreadFile numastat;
  PreadFile meminfo;
  NamedColumns numastat_lines;
  NamedColumns meminfo_lines;
  Availability numastat_state;
  Availability meminfo_state;
  CounterWatch watch;
};

class NumaSource : public Source {
 public:
  NumaSource(const SourceRequest& request,
             StateSink& states,
             std::vector<Field> numastat,
             std::vector<Field> meminfo,
             TableSpec table)
      : states_(states),
        folder_(request.root + kNodes),
        name_(TableName(request, table)),
        numastat_(std::move(numastat)),
        meminfo_(std::move(meminfo)),
        nodes_(name_, folder_) {
    tables_.push_back(std::move(table));
  }

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t /*table*/, int64_t tick_ns, TableWriter& rows) override {
    nodes_.Update(tick_ns, states_, [&](std::string_view name) { return MakeNode(name); });
    if (!rows.BeginTick(tick_ns, nodes_.size())) return;
    nodes_.ForEach([&](Node& node) { WriteRow(node, tick_ns, rows); });
    rows.EndTick();
  }

 private:
  std::unique_ptr<Node> MakeNode(std::string_view name) {
    uint32_t number = 0;
    if (!NumberAfter(name, "node", &number)) return nullptr;
    const std::string folder = folder_ + "/" + std::string(name);
    auto node = std::make_unique<Node>(
        Node{std::to_string(number),
             number,
             PreadFile(folder + "/numastat", PreadFile::Shape::kOneRead, 512, open_files_.Take()),
             PreadFile(folder + "/meminfo", PreadFile::Shape::kOneRead, 4096, open_files_.Take()),
             {},
             {},
             {},
             {},
             CounterWatch(tables_[0].columns.size())});
    for (const Field& field : numastat_) {
      node->numastat_lines.Add(field.name, field.column, field.is_bytes);
    }
    for (const Field& field : meminfo_) {
      node->meminfo_lines.Add(MeminfoPrefix(number) + field.name, field.column, field.is_bytes);
    }
    return node;
  }

  void WriteRow(Node& node, int64_t tick_ns, TableWriter& rows) {
    if (!rows.BeginRow(tick_ns)) return;
    rows.SetU32(kKey, node.number);
    std::string_view text;
    if (node.numastat.Read(&text)) {
      node.numastat_lines.Parse(text, [&](uint32_t column, uint64_t value) {
        rows.SetU64(column, value);
        node.watch.See(column, value);
      });
    }
    node.numastat_state.Update(states_, name_, node.key, "numastat", node.numastat.error());
    if (node.meminfo.Read(&text)) {
      node.meminfo_lines.Parse(
          text, [&](uint32_t column, uint64_t value) { rows.SetU64(column, value); });
    }
    node.meminfo_state.Update(states_, name_, node.key, "meminfo", node.meminfo.error());
    rows.EndRow();
    node.watch.Report(states_, name_, node.key, tables_[0].columns);
  }

  StateSink& states_;
  std::string folder_;
  std::string name_;
  std::vector<TableSpec> tables_;
  std::vector<Field> numastat_;
  std::vector<Field> meminfo_;
  OpenFiles open_files_;
  FolderEntities<Node> nodes_;
};

// Adds a column for each line of a node's file that has none yet.
template <typename Describe>
void AddColumns(std::string_view text,
                std::string_view prefix,
                TableSpec* table,
                std::vector<Field>* fields,
                Describe&& describe) {
  LineScanner lines(text);
  std::string_view line;
  while (lines.Next(&line)) {
    NamedNumber number;
    if (!ParseNamedNumber(line, &number) || number.name.substr(0, prefix.size()) != prefix) {
      continue;
    }
    number.name.remove_prefix(prefix.size());
    ColumnSpec column = describe(number);
    if (column.name.empty() || HasColumn(*table, column.name)) continue;
    fields->push_back(
        {std::string(number.name), static_cast<uint32_t>(table->columns.size()), number.is_bytes});
    table->columns.push_back(std::move(column));
  }
}

}  // namespace

Result<std::unique_ptr<Source>> MakeNumaSource(const SourceRequest& request, StateSink& states) {
  TableSpec table;
  table.grain = "one row per tick and NUMA node";
  table.rows_per_tick = 0;
  table.columns.push_back(TimeColumn());
  table.columns.push_back(NumberKeyColumn("node", std::string(kNodes) + "/node*"));
  std::vector<Field> numastat;
  std::vector<Field> meminfo;
  for (const std::string& name : NamesIn(request.root + kNodes)) {
    uint32_t number = 0;
    if (!NumberAfter(name, "node", &number)) continue;
    table.rows_per_tick++;
    if (!numastat.empty() || !meminfo.empty()) continue;
    const std::string folder = request.root + kNodes + "/" + name;
    PreadFile numastat_file(folder + "/numastat", PreadFile::Shape::kOneRead);
    PreadFile meminfo_file(folder + "/meminfo", PreadFile::Shape::kOneRead);
    std::string_view text;
    if (numastat_file.Read(&text)) {
      AddColumns(text, "", &table, &numastat, [](const NamedNumber& line) {
        const std::string field(line.name);
        return CounterColumn(field, "pages", std::string(kNodes) + "/node*/numastat " + field);
      });
    }
    if (meminfo_file.Read(&text)) {
      AddColumns(text, MeminfoPrefix(number), &table, &meminfo, [](const NamedNumber& line) {
        return MeminfoColumn(line.name, line.is_bytes, std::string(kNodes) + "/node*/meminfo");
      });
    }
  }
  if (numastat.empty() && meminfo.empty()) {
    return Status("ERR_UNAVAILABLE",
                  "This kernel tells of no NUMA node: " + request.root + kNodes + " has none")
        .WithFix("use a kernel with CONFIG_NUMA, and mount /sys")
        .WithSource(request.root + kNodes, ENOENT);
  }
  return std::unique_ptr<Source>(std::make_unique<NumaSource>(
      request, states, std::move(numastat), std::move(meminfo), std::move(table)));
}

}  // namespace warpgauge
