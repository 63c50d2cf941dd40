#include "os/hugepages_source.h"

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/folder_entities.h"
#include "os/pread_file.h"
#include "os/source_support.h"
#include "os/text_scanner.h"

namespace warpgauge {
namespace {

constexpr const char* kPools = "/sys/kernel/mm/hugepages";
constexpr const char* kNodes = "/sys/devices/system/node";
constexpr size_t kNumberBytes = 64;

// The first three are files of each node's pool too.
constexpr const char* kFields[] = {"nr_hugepages",
                                   "free_hugepages",
                                   "surplus_hugepages",
                                   "resv_hugepages",
                                   "nr_overcommit_hugepages"};
constexpr uint32_t kNodeFields = 3;
constexpr uint32_t kPoolFields = 5;

struct PageSize {
  std::string folder;  // hugepages-2048kB
  std::string name;    // 2m
  uint64_t bytes = 0;
  int32_t codes[2] = {-1, -1};  // of the name, by table
};

// One file with one number, and what the `state` table knows of it.
struct NumberFile {
  PreadFile file;
  Availability availability;
};

bool ReadNumber(NumberFile& number,
                StateSink& states,
                const std::string& table,
                const std::string& key,
                const std::string& field,
                uint64_t* value) {
  std::string_view text;
  number.file.Read(&text);
  int error = number.file.error();
  if (error == 0 && !ParseNumberFile(text, value)) error = EBADMSG;
  number.availability.Update(states, table, key, field, error);
  return error == 0;
}

// 2048 kB is "2m", as everywhere in this package; 64 kB is "64k", 16 GB "16g".
std::string PageSizeName(uint64_t kilobytes) {
  constexpr uint64_t kStep = 1024;
  if (kilobytes % (kStep * kStep) == 0) return std::to_string(kilobytes / (kStep * kStep)) + "g";
  if (kilobytes % kStep == 0) return std::to_string(kilobytes / kStep) + "m";
  return std::to_string(kilobytes) + "k";
}

// The pools of one node, or of the machine: the files of each size.
struct Pools {
  std::string key;  // of the node: "0"
  uint32_t node = 0;
  std::vector<std::string> size_keys;  // "2m/0", for the `state` table
  std::vector<std::vector<NumberFile>> sizes;
};

class HugepagesSource : public Source {
 public:
  HugepagesSource(const SourceRequest& request,
                  StateSink& states,
                  std::vector<PageSize> sizes,
                  std::vector<TableSpec> tables)
      : states_(states),
        root_(request.root),
        tables_(std::move(tables)),
        name_(TableName(request, tables_[0])),
        pool_name_(TableName(request, tables_[1])),
        sizes_(std::move(sizes)),
        nodes_(name_, root_ + kNodes) {
    machine_ = MakePools(root_ + kPools, kPoolFields);
    if (NamesIn(root_ + kNodes).empty()) ReportMissing(states_, name_, "", "", "not_supported");
  }

  [[nodiscard]] const std::vector<TableSpec>& tables() const override { return tables_; }

  void Sample(size_t table, int64_t tick_ns, TableWriter& rows) override {
    if (table == 1) {
      SamplePools(tick_ns, rows);
      return;
    }
    nodes_.Update(tick_ns, states_, [&](std::string_view name) { return MakeNode(name); });
    if (!rows.BeginTick(tick_ns, nodes_.size() * static_cast<uint32_t>(sizes_.size()))) return;
    nodes_.ForEach([&](Pools& node) {
      for (size_t i = 0; i < sizes_.size(); i++) WriteNodeRow(node, i, tick_ns, rows);
    });
    rows.EndTick();
  }

 private:
  Pools MakePools(const std::string& folder, uint32_t fields) {
    Pools pools;
    for (const PageSize& size : sizes_) {
      std::vector<NumberFile> files;
      for (uint32_t i = 0; i < fields; i++) {
        files.push_back({PreadFile(folder + "/" + size.folder + "/" + kFields[i],
                                   PreadFile::Shape::kOneRead,
                                   kNumberBytes,
                                   open_files_.Take()),
                         {}});
      }
      pools.sizes.push_back(std::move(files));
    }
    return pools;
  }

  std::unique_ptr<Pools> MakeNode(std::string_view name) {
    uint32_t node = 0;
    if (!NumberAfter(name, "node", &node)) return nullptr;
    auto pools = std::make_unique<Pools>(
        MakePools(root_ + kNodes + "/" + std::string(name) + "/hugepages", kNodeFields));
    pools->node = node;
    pools->key = std::to_string(node);
    for (const PageSize& size : sizes_) pools->size_keys.push_back(size.name + "/" + pools->key);
    return pools;
  }

  // Begins a row with time and page size; false when there is no room for it.
  static bool BeginSizeRow(size_t table, PageSize& size, int64_t tick_ns, TableWriter& rows) {
    int32_t& code = size.codes[table];
    if (code < 0) code = rows.names(1).Code(size.name);
    if (code < 0 || !rows.BeginRow(tick_ns)) return false;
    rows.SetCode(1, code);
    return true;
  }

  void WriteNodeRow(Pools& node, size_t index, int64_t tick_ns, TableWriter& rows) {
    if (!BeginSizeRow(0, sizes_[index], tick_ns, rows)) return;
    rows.SetU32(2, node.node);
    rows.SetU64(3, sizes_[index].bytes);
    for (uint32_t i = 0; i < kNodeFields; i++) {
      uint64_t value = 0;
      if (ReadNumber(node.sizes[index][i],
                     states_,
                     name_,
                     node.size_keys[index],
                     tables_[0].columns[4 + i].name,
                     &value)) {
        rows.SetU64(4 + i, value);
      }
    }
    rows.EndRow();
  }

  void SamplePools(int64_t tick_ns, TableWriter& rows) {
    if (!rows.BeginTick(tick_ns, static_cast<uint32_t>(sizes_.size()))) return;
    for (size_t index = 0; index < sizes_.size(); index++) {
      PageSize& size = sizes_[index];
      if (!BeginSizeRow(1, size, tick_ns, rows)) continue;
      rows.SetU64(2, size.bytes);
      for (uint32_t i = 0; i < kPoolFields; i++) {
        uint64_t value = 0;
        if (ReadNumber(machine_.sizes[index][i],
                       states_,
                       pool_name_,
                       size.name,
                       tables_[1].columns[3 + i].name,
                       &value)) {
          rows.SetU64(3 + i, value);
        }
      }
      rows.EndRow();
    }
    rows.EndTick();
  }

  StateSink& states_;
  std::string root_;
  std::vector<TableSpec> tables_;
  std::string name_;
  std::string pool_name_;
  std::vector<PageSize> sizes_;
  OpenFiles open_files_;
  FolderEntities<Pools> nodes_;
  Pools machine_;
};

void AddPageSize(TableSpec* table) {
  table->columns.push_back(TimeColumn());
  table->columns.push_back(NameKeyColumn("page_size", std::string(kPools) + "/hugepages-*kB"));
}

void AddPageSizeBytes(TableSpec* table) {
  table->columns.push_back(
      GaugeColumn("page_size_bytes", "bytes", std::string(kPools) + "/hugepages-*kB"));
}

}  // namespace

Result<std::unique_ptr<Source>> MakeHugepagesSource(const SourceRequest& request,
                                                    StateSink& states) {
  std::vector<PageSize> sizes;
  for (const std::string& folder : NamesIn(request.root + kPools)) {
    constexpr std::string_view kSuffix = "kB";
    uint32_t kilobytes = 0;
    if (folder.size() <= kSuffix.size() ||
        folder.compare(folder.size() - kSuffix.size(), kSuffix.size(), kSuffix) != 0 ||
        !NumberAfter(folder.substr(0, folder.size() - kSuffix.size()), "hugepages-", &kilobytes)) {
      continue;
    }
    sizes.push_back({folder, PageSizeName(kilobytes), uint64_t{kilobytes} * 1024, {-1, -1}});
  }
  if (sizes.empty()) {
    return Status("ERR_UNAVAILABLE",
                  "This kernel has no huge page pools: " + request.root + kPools + " is empty")
        .WithFix("use a kernel with CONFIG_HUGETLBFS")
        .WithSource(request.root + kPools, ENOENT);
  }
  std::vector<TableSpec> tables(2);
  tables[0].grain = "one row per tick, huge page size and NUMA node";
  tables[0].rows_per_tick = static_cast<uint32_t>(sizes.size());
  AddPageSize(tables.data());
  tables[0].columns.push_back(NumberKeyColumn("node", std::string(kNodes) + "/node*"));
  AddPageSizeBytes(tables.data());
  tables[1].suffix = "pool";
  tables[1].grain = "one row per tick and huge page size";
  tables[1].rows_per_tick = static_cast<uint32_t>(sizes.size());
  AddPageSize(&tables[1]);
  AddPageSizeBytes(&tables[1]);
  for (uint32_t i = 0; i < kPoolFields; i++) {
    const std::string file = std::string("/hugepages-*kB/") + kFields[i];
    if (i < kNodeFields) {
      tables[0].columns.push_back(
          GaugeColumn(kFields[i], "pages", std::string(kNodes) + "/node*/hugepages" + file));
    }
    tables[1].columns.push_back(GaugeColumn(kFields[i], "pages", kPools + file));
  }
  return std::unique_ptr<Source>(
      std::make_unique<HugepagesSource>(request, states, std::move(sizes), std::move(tables)));
}

}  // namespace warpgauge
