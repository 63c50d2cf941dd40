#include "addon/sampler_addon.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "addon/environment.h"
#include "addon/errors.h"
#include "addon/options_reader.h"
#include "addon/source_list.h"
#include "addon/value_maker.h"
#include "core/clock.h"
#include "core/sampler_core.h"
#include "gpu/cupti/trace_buffer.h"

namespace warpgauge {

// A sampler as one JavaScript environment holds it. JS thread, but for Wake.
struct LiveSampler {
  napi_env env = nullptr;
  uint32_t id = 0;
  SamplerCore* core = nullptr;
  napi_threadsafe_function wake = nullptr;

  // The keeper's thread. The queue holds one call and never blocks: when it is full, JavaScript is
  // about to be woken anyway.
  static void Wake(void* self) {
    napi_call_threadsafe_function(
        static_cast<LiveSampler*>(self)->wake, nullptr, napi_tsfn_nonblocking);
  }
};

// Here, where LiveSampler is known.
Environment::Environment() = default;
Environment::~Environment() {
  for (const uint32_t trace : traces) ForgetTrace(trace);
}

namespace {

void OnEnvironmentEnd(void* data);

std::map<uint32_t, std::unique_ptr<LiveSampler>>& Samplers(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return static_cast<Environment*>(data)->samplers;
}

// nullptr, with an exception pending, when there is no such sampler (any more).
LiveSampler* Find(const Napi::CallbackInfo& info) {
  napi_env env = info.Env();
  uint32_t id = 0;
  if (info.Length() > 0 && napi_get_value_uint32(env, info[0], &id) == napi_ok) {
    auto& samplers = Samplers(env);
    const auto found = samplers.find(id);
    if (found != samplers.end()) return found->second.get();
  }
  Throw(info.Env(), Status("ERR_CLOSED", "the sampler is closed"));
  return nullptr;
}

// A whole number of [0, most] at `index`; -1, with an exception pending, for anything else.
int64_t WholeNumber(const Napi::CallbackInfo& info, size_t index, int64_t most) {
  double number = -1;
  if (index < info.Length()) napi_get_value_double(info.Env(), info[index], &number);
  if (number >= 0 && number <= static_cast<double>(most)) {
    const auto whole = static_cast<int64_t>(number);
    if (static_cast<double>(whole) == number) return whole;
  }
  Throw(info.Env(), Status("ERR_INVALID_ARGUMENT", "a sampler call received a wrong number"));
  return -1;
}

SamplerCore::Table* FindTable(const Napi::CallbackInfo& info, const LiveSampler& sampler) {
  const auto& tables = sampler.core->tables();
  const bool fixed = sampler.core->has_tables();
  const int64_t index = WholeNumber(info, 1, INT32_MAX);
  if (index < 0) return nullptr;
  if (fixed && static_cast<size_t>(index) < tables.size()) {
    return tables[static_cast<size_t>(index)].get();
  }
  Throw(info.Env(), Status("ERR_INVALID_ARGUMENT", "the sampler has no such table"));
  return nullptr;
}

void CallJavaScript(napi_env env, napi_value function, void* /*context*/, void* /*data*/) {
  if (env == nullptr || function == nullptr) return;  // the queue is emptied at teardown
  napi_value undefined = nullptr;
  napi_get_undefined(env, &undefined);
  if (napi_call_function(env, undefined, function, 0, nullptr, nullptr) != napi_pending_exception) {
    return;
  }
  // Below Node-API 10 Node would swallow it.
  napi_value error = nullptr;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
}

// Stops and forgets a sampler. In this order: once the threads have ended nobody calls the wake-up.
void Close(LiveSampler* sampler, bool in_hook) {
  sampler->core->Stop();
  napi_release_threadsafe_function(sampler->wake, napi_tsfn_abort);
  // Node frees the hook's record itself after running it: removing it there is a use after free.
  if (!in_hook) napi_remove_env_cleanup_hook(sampler->env, OnEnvironmentEnd, sampler);
  sampler->core->Unref();
}

void OnEnvironmentEnd(void* data) {
  auto* sampler = static_cast<LiveSampler*>(data);
  napi_env env = sampler->env;
  const uint32_t id = sampler->id;
  Close(sampler, true);
  Samplers(env).erase(id);
}

// The texts of an object, key by key; false when it is no object of texts.
bool ReadTexts(napi_env env, napi_value object, std::map<std::string, std::string>* texts) {
  napi_value names = nullptr;
  uint32_t count = 0;
  if (napi_get_property_names(env, object, &names) != napi_ok ||
      napi_get_array_length(env, names, &count) != napi_ok) {
    return false;
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value name = nullptr;
    size_t bytes = 0;
    if (napi_get_element(env, names, i, &name) != napi_ok ||
        napi_get_value_string_utf8(env, name, nullptr, 0, &bytes) != napi_ok) {
      return false;
    }
    std::string key(bytes, '\0');
    napi_get_value_string_utf8(env, name, key.data(), bytes + 1, nullptr);
    OptionsReader reader(env, object, "openSampler");
    (*texts)[key] = reader.Text(key.c_str());
    if (!reader.status().ok()) return false;
  }
  return true;
}

Status ReadSource(napi_env env, napi_value given, SamplerSource* source) {
  OptionsReader reader(env, given, "openSampler");
  source->request.name = reader.Text("name");
  source->request.instance = reader.Text("instance");
  source->request.root = reader.Text("root");
  source->request.interval_ns = reader.Integer("intervalNs", 1, kMaxInteger);
  source->optional = reader.Flag("optional");
  napi_value options = nullptr;
  if (!reader.status().ok()) return reader.status();
  if (napi_get_named_property(env, given, "options", &options) != napi_ok ||
      !ReadTexts(env, options, &source->request.options)) {
    reader.Refuse("options");
    return reader.status();
  }
  source->factory = FindSourceFactory(source->request.name);
  if (source->factory == nullptr) {
    return {"ERR_UNKNOWN_SOURCE", "the addon has no source '" + source->request.name + "'"};
  }
  return Status::Ok();
}

Status ReadSources(napi_env env, napi_value options, std::vector<SamplerSource>* sources) {
  napi_value list = nullptr;
  uint32_t count = 0;
  if (napi_get_named_property(env, options, "sources", &list) != napi_ok ||
      napi_get_array_length(env, list, &count) != napi_ok) {
    return {"ERR_INVALID_ARGUMENT", "openSampler received no valid 'sources'"};
  }
  for (uint32_t i = 0; i < count; i++) {
    napi_value given = nullptr;
    if (napi_get_element(env, list, i, &given) != napi_ok) {
      return {"ERR_INVALID_ARGUMENT", "openSampler received no valid 'sources'"};
    }
    SamplerSource source;
    Status status = ReadSource(env, given, &source);
    if (!status.ok()) return status;
    sources->push_back(std::move(source));
  }
  return Status::Ok();
}

// TypeScript: openSampler(options: NativeSamplerOptions, onReady: () => void): number
Napi::Value OpenSampler(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  OptionsReader given(env, info[0], "openSampler");
  SamplerOptions options;
  options.batch_ns = given.Integer("batchNs", 1, kMaxInteger);
  options.max_undelivered_bytes = given.Integer("maxUndeliveredBytes", 1, kMaxInteger);
  options.may_lack_all = given.Flag("mayLackAll");
  if (!given.status().ok()) return Throw(env, given.status());
  std::vector<SamplerSource> sources;
  Status status = ReadSources(env, info[0], &sources);
  if (!status.ok()) return Throw(env, status);
  napi_valuetype type = napi_undefined;
  if (napi_typeof(env, info[1], &type) != napi_ok || type != napi_function) {
    return Throw(env, Status("ERR_INVALID_ARGUMENT", "openSampler received no function"));
  }

  auto* environment = env.GetInstanceData<Environment>();
  auto live = std::make_unique<LiveSampler>();
  live->env = env;
  live->id = ++environment->last_sampler;
  napi_value name = nullptr;
  if (napi_create_string_utf8(env, "warpgauge:sampler", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env,
                                      info[1],
                                      nullptr,
                                      name,
                                      1,
                                      1,
                                      nullptr,
                                      nullptr,
                                      nullptr,
                                      CallJavaScript,
                                      &live->wake) != napi_ok) {
    return Throw(env, Status("ERR_INTERRUPTED", "the environment is ending"));
  }
  napi_unref_threadsafe_function(env, live->wake);
  live->core = new SamplerCore(std::move(sources), options);
  status = live->core->Open(LiveSampler::Wake, live.get());
  if (!status.ok()) {
    napi_release_threadsafe_function(live->wake, napi_tsfn_abort);
    live->core->Unref();
    return Throw(env, status);
  }
  // After the wake-up was made: hooks run in reverse, so the threads end before Node closes it.
  napi_add_env_cleanup_hook(env, OnEnvironmentEnd, live.get());
  const uint32_t id = live->id;
  environment->samplers[id] = std::move(live);
  return {env, ValueMaker(env).Number(id)};
}

// TypeScript: openedSampler(id: number): readonly NativeTable[] | null
Napi::Value OpenedSampler(const Napi::CallbackInfo& info) {
  constexpr const char* kKinds[] = {"sample", "event", "span"};
  constexpr const char* kTypes[] = {
      "time", "u64", "i64", "f64", "u32", "i32", "u8", "bool", "name", "nameId"};
  constexpr const char* kColumnKinds[] = {"key", "gauge", "counter", "state"};
  const Napi::Env env = info.Env();
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return env.Undefined();
  const SamplerCore::Phase phase = sampler->core->phase();
  if (!sampler->core->has_tables()) return env.Null();
  if (phase == SamplerCore::Phase::kFailed) return Throw(env, sampler->core->failure());
  const ValueMaker make(env);
  napi_value list = make.Array();
  for (const auto& table : sampler->core->tables()) {
    napi_value object = make.Object();
    make.Set(object, "name", make.Text(table->name));
    make.Set(object, "source", make.Text(sampler->core->SourceOf(*table)));
    make.Set(object, "kind", make.Text(kKinds[static_cast<size_t>(table->spec.kind)]));
    make.Set(object, "grain", make.Text(table->spec.grain));
    make.Set(object, "intervalNs", make.Number(static_cast<double>(table->spec.interval_ns)));
    make.Set(object, "simulated", make.Flag(table->spec.simulated));
    make.Set(object, "names", make.Text(table->names_table));
    napi_value columns = make.Array();
    for (const ColumnSpec& column : table->spec.columns) {
      napi_value one = make.Object();
      make.Set(one, "name", make.Text(column.name));
      make.Set(one, "type", make.Text(kTypes[static_cast<size_t>(column.type)]));
      make.Set(one, "kind", make.Text(kColumnKinds[static_cast<size_t>(column.kind)]));
      make.Set(one, "unit", make.Text(column.unit));
      make.Set(one, "source", make.Text(column.source));
      make.Set(one, "nullable", make.Flag(column.nullable));
      make.Set(one, "reason", make.Text(column.reason));
      make.Set(one, "window", make.Text(column.window));
      make.Push(columns, one);
    }
    make.Set(object, "columns", columns);
    make.Push(list, object);
  }
  return {env, list};
}

// TypeScript: startSampler(id: number, durationNs: number): bigint
Napi::Value StartSampler(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return env.Undefined();
  const int64_t duration_ns = WholeNumber(info, 1, kMaxInteger);
  if (duration_ns < 0) return env.Undefined();
  if (sampler->core->phase() != SamplerCore::Phase::kOpened) {
    return Throw(env, Status("ERR_CLOSED", "the sampler is not waiting to be started"));
  }
  const Status status = sampler->core->Start(duration_ns);
  if (!status.ok()) return Throw(env, status);
  return {env, ValueMaker(env).Big(sampler->core->start_ns())};
}

void FreeSlab(napi_env /*env*/, void* /*data*/, void* slab) {
  static_cast<Slab*>(slab)->GiveBack();
}

// The slab as an ArrayBuffer that takes over its reference; nullptr where none can be made.
napi_value SlabBuffer(napi_env env, Slab* slab) {
  napi_value buffer = nullptr;
  const size_t bytes = slab->layout().bytes;
  const napi_status status =
      napi_create_external_arraybuffer(env, slab->base(), bytes, FreeSlab, slab, &buffer);
  if (status == napi_ok) return buffer;
  // Electron allows no external buffers: a copy then.
  void* copy = nullptr;
  if (status == napi_no_external_buffers_allowed &&
      napi_create_arraybuffer(env, bytes, &copy, &buffer) == napi_ok) {
    std::memcpy(copy, slab->base(), bytes);
  }
  slab->Unref();
  return buffer;
}

napi_value BatchObject(const ValueMaker& make, napi_env env, size_t table, Slab* slab) {
  napi_value object = make.Object();
  make.Set(object, "table", make.Number(static_cast<double>(table)));
  make.Set(object, "rows", make.Number(slab->rows_));
  make.Set(object, "capacity", make.Number(slab->layout().capacity));
  make.Set(object, "ticks", make.Number(static_cast<double>(slab->ticks_)));
  make.Set(object, "missed", make.Number(static_cast<double>(slab->missed_)));
  make.Set(object, "buffer", SlabBuffer(env, slab));
  return object;
}

// TypeScript: drainSampler(id: number, most: number): NativeBatch[]
Napi::Value DrainSampler(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return env.Undefined();
  const int64_t most = WholeNumber(info, 1, INT32_MAX);
  if (most < 0) return env.Undefined();
  const ValueMaker make(env);
  napi_value list = make.Array();
  if (!sampler->core->has_tables()) return {env, list};
  for (int64_t i = 0; i < most; i++) {
    size_t table = 0;
    const DeliveredSlab delivered = sampler->core->Take(&table);
    if (delivered.slab == nullptr) break;
    napi_value object = BatchObject(make, env, table, delivered.slab);
    make.Set(object, "droppedBatches", make.Number(static_cast<double>(delivered.dropped_slabs)));
    make.Set(object, "droppedRows", make.Number(static_cast<double>(delivered.dropped_rows)));
    make.Push(list, object);
  }
  return {env, list};
}

// TypeScript: detachBuffer(buffer: ArrayBuffer): void
//
// Garbage collection knows nothing of the size of a slab and comes late: at 200 MB/s a gigabyte
// waits for it.
Napi::Value DetachBuffer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info.Length() == 0) return env.Undefined();
  bool is_buffer = false;
  if (napi_is_arraybuffer(env, info[0], &is_buffer) == napi_ok && is_buffer) {
    napi_detach_arraybuffer(env, info[0]);
  }
  return env.Undefined();
}

// TypeScript: samplerLayout(id: number, table: number, capacity: number): readonly number[]
//
// Two numbers per column: where its values and its validity bitmap begin; -1 for no bitmap.
Napi::Value SamplerLayout(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return env.Undefined();
  const SamplerCore::Table* table = FindTable(info, *sampler);
  if (table == nullptr) return env.Undefined();
  const int64_t capacity = WholeNumber(info, 2, INT32_MAX);
  if (capacity < 0) return env.Undefined();
  const ValueMaker make(env);
  napi_value list = make.Array();
  const SlabLayout layout = SlabLayout::For(table->spec, static_cast<uint32_t>(capacity));
  for (const SlabLayout::Column& column : layout.columns) {
    const bool has_bitmap = column.validity != SlabLayout::kNone;
    make.Push(list, make.Number(static_cast<double>(column.data)));
    make.Push(list, make.Number(has_bitmap ? static_cast<double>(column.validity) : -1));
  }
  return {env, list};
}

// TypeScript: samplerNames(id: number, table: number, column: number, from: number): string[]
Napi::Value SamplerNames(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return env.Undefined();
  SamplerCore::Table* table = FindTable(info, *sampler);
  if (table == nullptr) return env.Undefined();
  const int64_t column = WholeNumber(info, 2, INT32_MAX);
  const int64_t from = column < 0 ? -1 : WholeNumber(info, 3, INT32_MAX);
  if (from < 0) return env.Undefined();
  const auto index = static_cast<size_t>(column);
  const ValueMaker make(env);
  if (index >= table->spec.columns.size()) return {env, make.Array()};
  const ColumnType type = table->spec.columns[index].type;
  if (type != ColumnType::kName && type != ColumnType::kNameId) return {env, make.Array()};
  const NameList& names = table->writer->names(static_cast<uint32_t>(index));
  return {env, make.Texts(names.Since(static_cast<uint32_t>(from)))};
}

// TypeScript: samplerStates(id: number, from: number): NativeState[]
Napi::Value SamplerStates(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return env.Undefined();
  const int64_t from = WholeNumber(info, 1, kMaxInteger);
  if (from < 0) return env.Undefined();
  const ValueMaker make(env);
  napi_value list = make.Array();
  for (const StateRecord& state : sampler->core->StatesSince(static_cast<size_t>(from))) {
    napi_value object = make.Object();
    make.Set(object, "time", make.Big(state.change.time_ns + UtcOffsetNs()));
    make.Set(object, "source", make.Text(state.source));
    make.Set(object, "table", make.Text(state.change.table));
    make.Set(object, "key", make.Text(state.change.key));
    make.Set(object, "field", make.Text(state.change.field));
    make.Set(object, "state", make.Text(state.change.state));
    make.Set(object, "reason", make.Text(state.change.reason));
    make.Set(object, "code", make.Number(static_cast<double>(state.change.code)));
    make.Push(list, object);
  }
  return {env, list};
}

// TypeScript: samplerLatest(id: number, table: number): NativeBatch | null
Napi::Value SamplerLatest(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return env.Undefined();
  if (FindTable(info, *sampler) == nullptr) return env.Undefined();
  const auto index = static_cast<size_t>(WholeNumber(info, 1, INT32_MAX));
  Slab* slab = sampler->core->Latest(index);
  if (slab == nullptr) return env.Null();
  const ValueMaker make(env);
  napi_value object = BatchObject(make, env, index, slab);
  make.Set(object, "droppedBatches", make.Number(0));
  make.Set(object, "droppedRows", make.Number(0));
  return {env, object};
}

// TypeScript: samplerEventCounts(id: number, table: number, keys: number): bigint[]
//
// Cumulative counts of the codes 0 to keys - 1 of the first key column.
Napi::Value SamplerEventCounts(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return env.Undefined();
  const SamplerCore::Table* table = FindTable(info, *sampler);
  if (table == nullptr) return env.Undefined();
  const int64_t keys = WholeNumber(info, 2, NameList::kMaxNames);
  if (keys < 0) return env.Undefined();
  const ValueMaker make(env);
  napi_value list = make.Array();
  for (int32_t key = 0; key < static_cast<int32_t>(keys); key++) {
    make.Push(list, make.BigUnsigned(table->writer->event_counts().Count(key)));
  }
  return {env, list};
}

// TypeScript: samplerStats(id: number): NativeSamplerStats | null
Napi::Value SamplerStats(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return env.Undefined();
  const ValueMaker make(env);
  napi_value object = make.Object();
  if (!sampler->core->has_tables()) return env.Null();
  const SamplerStatistics statistics = sampler->core->Statistics();
  const auto number = [&](auto value) { return make.Number(static_cast<double>(value)); };
  make.Set(object, "cpuNs", number(statistics.cpu_ns));
  make.Set(object, "undeliveredBytes", number(statistics.undelivered_bytes));
  make.Set(object, "memoryBytes", number(statistics.memory_bytes));
  make.Set(object, "deliveredBytes", number(statistics.delivered_bytes));
  make.Set(object, "elapsedNs", number(statistics.elapsed_ns));
  napi_value tables = make.Array();
  for (const TableStatistics& table : statistics.tables) {
    napi_value one = make.Object();
    make.Set(one, "rows", number(table.rows));
    make.Set(one, "ticks", number(table.ticks));
    make.Set(one, "missed", number(table.missed));
    make.Set(one, "droppedBatches", number(table.dropped_slabs));
    make.Set(one, "droppedRows", number(table.dropped_rows));
    napi_value costs = make.Array();
    for (const Source::Cost& cost : table.costs) {
      napi_value entry = make.Object();
      make.Set(entry, "name", make.Text(cost.name));
      make.Set(entry, "calls", number(cost.calls));
      make.Set(entry, "p50Ns", number(cost.p50_ns));
      make.Set(entry, "p99Ns", number(cost.p99_ns));
      make.Set(entry, "maxNs", number(cost.max_ns));
      make.Set(entry, "totalNs", number(cost.total_ns));
      napi_value histogram = make.Array();
      for (const auto& [up_to_ns, calls] : cost.buckets) {
        napi_value bucket = make.Object();
        make.Set(bucket, "upToNs", number(up_to_ns));
        make.Set(bucket, "calls", number(calls));
        make.Push(histogram, bucket);
      }
      make.Set(entry, "histogram", histogram);
      make.Push(costs, entry);
    }
    make.Set(one, "costs", costs);
    make.Push(tables, one);
  }
  make.Set(object, "tables", tables);
  return {env, object};
}

// TypeScript: pauseSampler(id: number, paused: boolean): void
Napi::Value PauseSampler(const Napi::CallbackInfo& info) {
  LiveSampler* sampler = Find(info);
  bool paused = false;
  if (sampler == nullptr) return info.Env().Undefined();
  if (napi_get_value_bool(info.Env(), info[1], &paused) != napi_ok) {
    return Throw(info.Env(), Status("ERR_INVALID_ARGUMENT", "pauseSampler received no boolean"));
  }
  if (sampler->core->phase() == SamplerCore::Phase::kRunning) sampler->core->SetPaused(paused);
  return info.Env().Undefined();
}

// TypeScript: flushSampler(id: number): void
Napi::Value FlushSampler(const Napi::CallbackInfo& info) {
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return info.Env().Undefined();
  if (sampler->core->phase() == SamplerCore::Phase::kRunning) sampler->core->Flush();
  return info.Env().Undefined();
}

// TypeScript: holdSampler(id: number, hold: boolean): void
//
// Whether a sampler that is running keeps the process alive.
Napi::Value HoldSampler(const Napi::CallbackInfo& info) {
  LiveSampler* sampler = Find(info);
  bool hold = false;
  if (sampler == nullptr) return info.Env().Undefined();
  if (napi_get_value_bool(info.Env(), info[1], &hold) != napi_ok) {
    return Throw(info.Env(), Status("ERR_INVALID_ARGUMENT", "holdSampler received no boolean"));
  }
  if (hold) {
    napi_ref_threadsafe_function(info.Env(), sampler->wake);
  } else {
    napi_unref_threadsafe_function(info.Env(), sampler->wake);
  }
  return info.Env().Undefined();
}

// TypeScript: stopSampler(id: number): void
Napi::Value StopSampler(const Napi::CallbackInfo& info) {
  LiveSampler* sampler = Find(info);
  if (sampler != nullptr) sampler->core->Stop();
  return info.Env().Undefined();
}

// TypeScript: releaseSampler(id: number): void
Napi::Value ReleaseSampler(const Napi::CallbackInfo& info) {
  LiveSampler* sampler = Find(info);
  if (sampler == nullptr) return info.Env().Undefined();
  const uint32_t id = sampler->id;
  Close(sampler, false);
  Samplers(info.Env()).erase(id);
  return info.Env().Undefined();
}

}  // namespace

void InitSampler(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*method)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, method, name));
  };
  add("openSampler", OpenSampler);
  add("openedSampler", OpenedSampler);
  add("startSampler", StartSampler);
  add("drainSampler", DrainSampler);
  add("detachBuffer", DetachBuffer);
  add("samplerLayout", SamplerLayout);
  add("samplerNames", SamplerNames);
  add("samplerStates", SamplerStates);
  add("samplerLatest", SamplerLatest);
  add("samplerEventCounts", SamplerEventCounts);
  add("samplerStats", SamplerStats);
  add("pauseSampler", PauseSampler);
  add("flushSampler", FlushSampler);
  add("holdSampler", HoldSampler);
  add("stopSampler", StopSampler);
  add("releaseSampler", ReleaseSampler);
}

}  // namespace warpgauge
