#include "os/perf_events.h"

#include <dirent.h>
#include <strings.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "os/perf_event.h"
#include "os/perf_event_name.h"
#include "os/perf_event_name_table.h"
#include "os/pread_file.h"

namespace warpgauge {
namespace {

const char* const kDevices = "/sys/bus/event_source/devices";

// 0, or the errno. Without the newline at the end.
int ReadFile(const std::string& path, std::string* text) {
  PreadFile file(path, PreadFile::Shape::kOneRead);
  std::string_view content;
  if (!file.Read(&content)) return file.error();
  text->assign(content);
  while (!text->empty() && std::isspace(static_cast<unsigned char>(text->back())) != 0) {
    text->pop_back();
  }
  return 0;
}

// Names in a folder, sorted, without those that begin with a dot. `*error` gets the errno or 0.
std::vector<std::string> ListFolder(const std::string& path, int* error = nullptr) {
  std::vector<std::string> names;
  DIR* folder = opendir(path.c_str());
  if (error != nullptr) *error = folder == nullptr ? errno : 0;
  if (folder == nullptr) return names;
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

// perf's default: what a guest of this machine does is not counted.
perf_event_attr MakeAttr(uint64_t type, uint64_t config) {
  perf_event_attr attr = MakePerfEventAttr(static_cast<uint32_t>(type), config);
  attr.exclude_guest = 1;
  return attr;
}

std::string Joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

Status UnknownEvent(const std::string& text,
                    const std::string& why,
                    const std::vector<std::string>& near = {}) {
  std::string message = "Unknown event \"" + text.substr(0, 80) + "\": " + why;
  if (near.empty()) return {"ERR_UNKNOWN_EVENT", std::move(message)};
  message += "; near: " + Joined(near);
  return Status("ERR_UNKNOWN_EVENT", std::move(message)).WithFix("events=" + near[0]);
}

// Files that stand beside events/<name> and are no events.
bool IsEventFile(const std::string& name) {
  for (const char* end : {".scale", ".unit", ".per-pkg", ".snapshot"}) {
    if (name.ends_with(end)) return false;
  }
  return true;
}

// One folder of /sys/bus/event_source/devices.
struct Pmu {
  std::string name;
  std::string folder;
  uint32_t type = 0;

  [[nodiscard]] std::vector<std::string> Events() const {
    std::vector<std::string> events = ListFolder(folder + "/events");
    std::erase_if(events, [](const std::string& name) { return !IsEventFile(name); });
    return events;
  }
  // The file of an event, whatever its case, as perf finds it; empty for none.
  [[nodiscard]] std::string FindEvent(const std::string& event) const {
    for (const std::string& name : Events()) {
      if (strcasecmp(name.c_str(), event.c_str()) == 0) return name;
    }
    return "";
  }
};

bool LoadPmu(const std::string& root, const std::string& name, Pmu* pmu) {
  pmu->name = name;
  pmu->folder = root + kDevices + "/" + name;
  std::string type;
  if (ReadFile(pmu->folder + "/type", &type) != 0) return false;
  char* end = nullptr;
  const uint64_t number = std::strtoull(type.c_str(), &end, 10);
  if (type.empty() || *end != '\0' || number > UINT32_MAX) return false;
  pmu->type = static_cast<uint32_t>(number);
  return true;
}

// uncore_imc_3 is one of uncore_imc; so are imc and imc_3 of uncore_imc and uncore_imc_3, as in
// perf.
bool IsOneOf(std::string_view name, std::string_view asked) {
  if (name.starts_with("uncore_") && !asked.starts_with("uncore_")) name.remove_prefix(7);
  if (!name.starts_with(asked)) return false;
  name.remove_prefix(asked.size());
  if (name.starts_with('_')) name.remove_prefix(1);
  return std::all_of(
      name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::vector<Pmu> FindPmus(const std::string& root, const std::string& asked) {
  std::vector<Pmu> pmus(1);
  if (LoadPmu(root, asked, pmus.data())) return pmus;
  pmus.clear();
  for (const std::string& name : ListFolder(root + kDevices)) {
    Pmu pmu;
    if (IsOneOf(name, asked) && LoadPmu(root, name, &pmu)) pmus.push_back(std::move(pmu));
  }
  return pmus;
}

// What events/<name> adds to an event: its terms, and the unit of a count.
struct Alias {
  std::vector<PerfTerm> terms;
  std::string unit;
  double scale = 1;
};

Result<Alias> LoadAlias(const Pmu& pmu, const std::string& event) {
  const std::string path = pmu.folder + "/events/" + event;
  std::string text;
  if (const int error = ReadFile(path, &text); error != 0) {
    return Status("ERR_UNAVAILABLE", path + ": " + std::strerror(error)).WithSource(path, error);
  }
  Result<std::vector<PerfTerm>> terms = ParsePerfTerms(text);
  if (!terms.ok()) return Status("ERR_UNKNOWN_EVENT", path + ": " + terms.status.message());
  Alias alias;
  alias.terms = std::move(terms.value);
  if (ReadFile(path + ".unit", &alias.unit) != 0) alias.unit.clear();
  if (std::string scale; ReadFile(path + ".scale", &scale) == 0) {
    char* end = nullptr;
    alias.scale = std::strtod(scale.c_str(), &end);
    if (end == scale.c_str() || !(alias.scale > 0)) {
      return Status("ERR_UNKNOWN_EVENT", path + ".scale holds no number: " + scale);
    }
  }
  return alias;
}

// Puts one term that is neither an event's name nor `name=` into the attribute.
Status PlaceTerm(const Pmu& pmu, const PerfTerm& term, perf_event_attr* attr) {
  const auto bad = [&](const std::string& why) {
    return Status("ERR_UNKNOWN_EVENT", "term \"" + term.name + "\" of " + pmu.name + ": " + why);
  };
  if (term.has_value && !term.is_number) {
    // hv_24x7 of POWER has events with core=? in them.
    return bad(term.text == "?" ? "it needs a value" : "\"" + term.text + "\" is no number");
  }
  if (term.name == "config") {
    attr->config |= term.value;
  } else if (term.name == "config1") {
    attr->config1 |= term.value;
  } else if (term.name == "config2") {
    attr->config2 |= term.value;
  } else {
    std::string text;
    PerfFormat format;
    if (ReadFile(pmu.folder + "/format/" + term.name, &text) != 0) {
      return bad("there is none; it has " + Joined(ListFolder(pmu.folder + "/format")));
    }
    if (!ParsePerfFormat(text, &format)) return bad("format \"" + text + "\" is not known");
    if (!PlacePerfValue(format, term.value, attr)) return bad("the value is too big for " + text);
  }
  return Status::Ok();
}

bool IsRawTerm(const PerfTerm& term, uint64_t* config) {
  if (term.has_value) return false;
  const Result<PerfSyntax> syntax = ParsePerfEvent(term.name);
  if (!syntax.ok() || syntax.value.kind != PerfSyntax::Kind::kRaw) return false;
  *config = syntax.value.config;
  return true;
}

void SetUnit(const Alias& alias, PerfEvent* event) {
  event->unit = alias.unit;
  event->scale = alias.scale;
  if (alias.unit == "Joules") event->unit = "joules";
  if (alias.unit == "Bytes" || alias.unit == "B") event->unit = "bytes";
  if (alias.unit == "KiB" || alias.unit == "MiB" || alias.unit == "GiB") {
    event->unit = "bytes";
    event->scale *= alias.unit == "KiB"   ? 1024.0
                    : alias.unit == "MiB" ? 1024.0 * 1024
                                          : 1024.0 * 1024 * 1024;
  }
  if (event->unit.empty()) event->unit = "1";
}

Status AddPmuPart(const Pmu& pmu,
                  const std::vector<PerfTerm>& terms,
                  const std::string& modifiers,
                  PerfEvent* event) {
  PerfPart part;
  part.attr = MakeAttr(pmu.type, 0);
  part.pmu = pmu.name;
  for (const PerfTerm& term : terms) {
    uint64_t raw = 0;
    if (term.name == "name" && term.has_value) {
      event->column = PerfColumnName(term.text);
    } else if (const std::string file = term.has_value ? "" : pmu.FindEvent(term.name);
               !file.empty()) {
      Result<Alias> alias = LoadAlias(pmu, file);
      if (!alias.ok()) return alias.status;
      for (const PerfTerm& each : alias.value.terms) {
        if (each.text == "?") continue;  // given beside the name; what is missing reads as 0 else
        if (Status placed = PlaceTerm(pmu, each, &part.attr); !placed.ok()) return placed;
      }
      for (const PerfTerm& each : alias.value.terms) {
        const bool given = std::any_of(terms.begin(), terms.end(), [&](const PerfTerm& other) {
          return other.name == each.name && other.has_value;
        });
        if (each.text == "?" && !given) {
          return {
              "ERR_UNKNOWN_EVENT",
              "event \"" + file + "\" of " + pmu.name + " needs " + each.name + "=... beside it"};
        }
      }
      SetUnit(alias.value, event);
    } else if (IsRawTerm(term, &raw)) {
      part.attr.config |= raw;
    } else if (Status placed = PlaceTerm(pmu, term, &part.attr); !placed.ok()) {
      return placed;
    }
  }
  if (Status applied = ApplyPerfModifiers(modifiers, &part.attr); !applied.ok()) return applied;
  if (std::string mask; ReadFile(pmu.folder + "/cpumask", &mask) == 0 && !mask.empty()) {
    if (!ParseCpuList(mask, &part.package_cpus)) {
      return {"ERR_UNAVAILABLE", pmu.folder + "/cpumask holds no list of CPUs: " + mask};
    }
  }
  event->parts.push_back(std::move(part));
  return Status::Ok();
}

Status ResolvePmuEvent(const std::string& root, const PerfSyntax& syntax, PerfEvent* event) {
  const std::vector<Pmu> pmus = FindPmus(root, syntax.name);
  if (pmus.empty()) {
    const std::vector<std::string> all = ListFolder(root + kDevices);
    return UnknownEvent(event->text,
                        "this machine has no PMU \"" + syntax.name + "\", but " + Joined(all),
                        NearNames(syntax.name, all));
  }
  for (const Pmu& pmu : pmus) {
    Status added = AddPmuPart(pmu, syntax.terms, syntax.modifiers, event);
    if (added.ok()) continue;
    std::vector<std::string> near;
    for (const PerfTerm& term : syntax.terms) {
      if (term.has_value) continue;
      for (const std::string& name : NearNames(term.name, pmu.Events())) {
        near.push_back(pmu.name + "/" + name + "/");
      }
    }
    return UnknownEvent(event->text, added.message(), near);
  }
  return Status::Ok();
}

Status ResolveName(const std::string& root, const PerfSyntax& syntax, PerfEvent* event) {
  uint32_t type = 0;
  uint64_t config = 0;
  bool found = FindPerfEventName(syntax.name, &type, &config);
  if (!found && FindPerfCacheName(syntax.name, &config)) {
    type = PERF_TYPE_HW_CACHE;
    found = true;
  }
  if (found) {
    PerfPart part;
    part.attr = MakeAttr(type, config);
    part.pmu = type == PERF_TYPE_SOFTWARE ? "software" : "cpu";
    if (type == PERF_TYPE_SOFTWARE &&
        (config == PERF_COUNT_SW_CPU_CLOCK || config == PERF_COUNT_SW_TASK_CLOCK)) {
      event->unit = "ns";
    }
    if (Status applied = ApplyPerfModifiers(syntax.modifiers, &part.attr); !applied.ok()) {
      return applied;
    }
    event->parts.push_back(std::move(part));
    return Status::Ok();
  }
  // A name that a PMU has in events/ may stand alone.
  std::vector<std::string> names = PerfEventNames();
  for (const std::string& name : ListFolder(root + kDevices)) {
    Pmu pmu;
    if (!LoadPmu(root, name, &pmu)) continue;
    if (const std::string file = pmu.FindEvent(syntax.name); !file.empty()) {
      PerfTerm term;
      term.name = file;
      if (Status added = AddPmuPart(pmu, {term}, syntax.modifiers, event); !added.ok()) {
        return UnknownEvent(event->text, added.message());
      }
    }
    for (std::string& each : pmu.Events()) names.push_back(std::move(each));
  }
  if (!event->parts.empty()) return Status::Ok();
  return UnknownEvent(event->text,
                      "neither the kernel nor a PMU of this machine has it",
                      NearNames(syntax.name, names));
}

Status ResolveTracepoint(const std::string& root, const PerfSyntax& syntax, PerfEvent* event) {
  std::string events;
  int error = ENOENT;
  for (const char* place : {"/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"}) {
    events = root + place;
    int why = 0;
    ListFolder(events, &why);
    if (why == 0 || why == EACCES) error = why;
    if (why == 0) break;
  }
  if (error == EACCES) {
    return Status("ERR_PERMISSION",
                  "Tracepoint \"" + event->text + "\": tracefs may not be read by this user")
        .WithFix("sudo mount -o remount,mode=755 /sys/kernel/tracing")
        .WithSource("/sys/kernel/tracing", error);
  }
  if (error != 0) {
    return Status("ERR_UNAVAILABLE",
                  "Tracepoint \"" + event->text +
                      "\": tracefs, which knows its number, is not mounted")
        .WithFix("sudo mount -t tracefs nodev /sys/kernel/tracing")
        .WithSource("/sys/kernel/tracing", error);
  }
  std::string id;
  const std::string folder = events + "/" + syntax.name;
  if (ReadFile(folder + "/" + syntax.event + "/id", &id) != 0) {
    const std::vector<std::string> subsystem = ListFolder(folder);
    std::vector<std::string> near;
    if (subsystem.empty()) {
      for (const std::string& name : NearNames(syntax.name, ListFolder(events))) {
        near.push_back(name + ":" + syntax.event);
      }
      Status unknown =
          UnknownEvent(event->text, "there is no tracepoint subsystem of that name", near);
      if (!near.empty()) return unknown;
      return std::move(unknown).WithFix("ls " + events);
    }
    for (const std::string& name : NearNames(syntax.event, subsystem)) {
      near.push_back(syntax.name + ":" + name);
    }
    return UnknownEvent(event->text, "that subsystem has no such tracepoint", near);
  }
  PerfPart part;
  char* end = nullptr;
  part.attr = MakeAttr(PERF_TYPE_TRACEPOINT, std::strtoull(id.c_str(), &end, 10));
  if (id.empty() || *end != '\0') {
    return {"ERR_UNAVAILABLE", folder + "/" + syntax.event + "/id holds no number: " + id};
  }
  part.pmu = "tracepoint";
  if (Status applied = ApplyPerfModifiers(syntax.modifiers, &part.attr); !applied.ok()) {
    return applied;
  }
  event->parts.push_back(std::move(part));
  return Status::Ok();
}

// Generic and raw events, which name no PMU.
bool IsOfCores(const PerfPart& part) {
  return part.pmu == "cpu" &&
         (part.attr.type == PERF_TYPE_HARDWARE || part.attr.type == PERF_TYPE_HW_CACHE ||
          part.attr.type == PERF_TYPE_RAW);
}

// PMUs of cores that are not all alike say in `cpus` which are theirs (cpu_core and cpu_atom, those
// of Arm); that of equal cores on x86 has no such file.
bool HasSeveralCoreTypes(const std::string& root) {
  size_t types = 0;
  for (const std::string& name : ListFolder(root + kDevices)) {
    std::string cpus;
    std::string path = root + kDevices;
    path.append("/").append(name).append("/cpus");
    if (ReadFile(path, &cpus) == 0 && !cpus.empty()) types++;
  }
  return types > 1;
}

}  // namespace

Result<PerfEvent> ResolvePerfEvent(const std::string& root, const std::string& text) {
  Result<PerfSyntax> parsed = ParsePerfEvent(text);
  if (!parsed.ok()) return parsed.status;
  const PerfSyntax& syntax = parsed.value;
  PerfEvent event;
  event.text = text;
  event.column = PerfColumnName(text);
  event.unit = "1";
  Status status;
  switch (syntax.kind) {
    case PerfSyntax::Kind::kName:
      status = ResolveName(root, syntax, &event);
      break;
    case PerfSyntax::Kind::kTracepoint:
      status = ResolveTracepoint(root, syntax, &event);
      break;
    case PerfSyntax::Kind::kPmu:
      status = ResolvePmuEvent(root, syntax, &event);
      break;
    case PerfSyntax::Kind::kRaw:
    case PerfSyntax::Kind::kNumber: {
      const bool raw = syntax.kind == PerfSyntax::Kind::kRaw;
      PerfPart part;
      part.attr = MakeAttr(raw ? uint64_t{PERF_TYPE_RAW} : syntax.type, syntax.config);
      part.pmu = "cpu";
      if (part.attr.type == PERF_TYPE_SOFTWARE) part.pmu = "software";
      if (part.attr.type == PERF_TYPE_TRACEPOINT) part.pmu = "tracepoint";
      if (part.attr.type > PERF_TYPE_RAW) part.pmu = "type_" + std::to_string(part.attr.type);
      status = ApplyPerfModifiers(syntax.modifiers, &part.attr);
      event.parts.push_back(std::move(part));
      break;
    }
  }
  if (!status.ok()) return status;
  if (std::any_of(event.parts.begin(), event.parts.end(), IsOfCores)) {
    event.is_one_core_type = HasSeveralCoreTypes(root);
  }
  if (event.unit != "1" && !event.column.ends_with("_" + event.unit)) {
    event.column = PerfColumnName(event.column + "_" + event.unit);
  }
  return event;
}

}  // namespace warpgauge
