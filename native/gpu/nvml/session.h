#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/cost_histogram.h"
#include "core/source.h"
#include "core/thread.h"
#include "gpu/nvml/device.h"
#include "gpu/nvml/gpm.h"
#include "gpu/nvml/gpu_tables.h"
#include "gpu/nvml/metrics.h"
#include "gpu/nvml/mig_reading.h"
#include "gpu/nvml/pcie_bytes.h"
#include "gpu/nvml/processes.h"
#include "gpu/nvml/sample_clock.h"
#include "gpu/nvml/schedule.h"
#include "gpu/nvml/scheme.h"

namespace warpgauge {

// What one sampler wants of the GPUs.
struct GpuRequest {
  std::string library;                            // override path of libnvidia-ml, or empty
  std::string root;                               // before /proc and /sys
  std::string table_prefix = "gpu";               // instance of the source, for `state` rows
  std::vector<std::string> devices;               // UUIDs of GPUs or MIG instances; empty: all
  std::array<int64_t, kGpuTables> interval_ns{};  // by GpuTable; 0: the table is left out
  double driver_share = 0.005;                    // of wall time, per GPU, inside NVML
  bool exact_pcie = false;
  bool wake = false;
};

struct GpuDevice;

// What is known and was last read of one kind of call to one GPU or instance.
struct MetricState {
  std::array<GpuCell, kMaxMetricCells> cells;
  CostHistogram cost;
  int64_t probed_ns = 0;    // what it cost at the start
  int64_t interval_ns = 0;  // by the schedule; 0: nobody wants it
  int64_t next_due_ns = 0;
  int64_t waiting_since_ns = 0;  // for the budget of its GPU; 0: it does not
  int64_t read_ns = 0;           // when it was last asked
  uint64_t read_count = 0;
  uint32_t dropped = 0;                // see MetricCall
  NvmlReturn given_up = kNvmlSuccess;  // not success: never asked again, this is why
  bool by_slow_thread = false;         // too dear for the thread of the fast table
  bool can_wait = false;  // for the budget of its GPU: dear, and not what was asked for
  bool exempt = false;    // outside the budget
  int64_t wanted_ns = 0;  // the shortest interval that a sampler asks for
  int64_t reported_interval_ns = 0;
};

// Where PCIe bytes come from: GPM's counters since boot (driver 595); the 32-bit fields 197 and
// 198, on GPUs with GPM with the number of wraps from GPM's rates; the call that blocks for 20 ms.
enum class PcieSource : uint8_t { kUnknown, kGpm, kFieldsAndGpm, kFields, kThroughput, kNone };
const char* PcieSourceName(PcieSource source);

// A GPU, or a MIG instance of one. Never freed while the session lives: an instance that is gone
// is marked.
struct GpuTarget {
  size_t index = 0;  // in the session
  GpuDevice* device = nullptr;
  std::string uuid;
  NvmlDevice handle = nullptr;
  uint32_t gpu_instance = kNvmlNotAvailable32, compute_instance = kNvmlNotAvailable32;
  bool is_instance = false, gone = false, probed = false;
  std::unique_ptr<MetricState[]> metrics;  // by index of GpuMetrics()
  // Of the thread that reads PCIe bytes alone.
  ByteCounter tx, rx;
  // Written with the mutex held; read without it by the threads that read PCIe bytes.
  std::atomic<PcieSource> pcie_source{PcieSource::kUnknown};
  bool pcie_has_fields = false;
  GpmPair pcie_pair;
  // Of the slow thread alone.
  GpmPair gpm_pair;
  SampleClock samples_clock, use_clock;
  std::array<uint64_t, 3> last_sample_us{};
  std::vector<MigProfileReading> mig_profiles;  // of the whole GPU, read once
};

// kYielded: let go of, because a process is about to change how the GPU is divided.
enum class GpuState : uint8_t { kOk, kAsleep, kLost, kHung, kYielded };

struct GpuDevice {
  std::string pci_address, name, uuid;
  GpuTarget* whole = nullptr;
  std::vector<GpuTarget*> instances;  // those of now
  std::string fingerprint;            // of the set of instances
  GpuState state = GpuState::kOk;
  NvmlReturn code = kNvmlSuccess;
  int64_t retry_ns = 0, backoff_ns = 0;
  double link_bytes_per_second = 0;
  CallBudget budget;
  bool mig = false;
  bool found = false;  // has a handle: asleep devices have none until they wake
  [[nodiscard]] const std::string& Key() const { return uuid.empty() ? pci_address : uuid; }
};

// Rows of the tables that are read whole, on their way to the writers.
struct PcieRow {
  const GpuTarget* target;
  int64_t time_ns, window_ns;
  uint64_t tx, rx;
  double tx_rate, rx_rate;
  PcieSource source;
  bool ambiguous;
};
struct GpmRow {
  const GpuTarget* target;
  int64_t time_ns, window_ns;
  std::array<GpuCell, kMaxGpmColumns> cells;
};
struct ProcessRow {
  const GpuTarget* target;
  GpuProcess process;
  bool known = false;
  ProcessIdentity identity;
};
struct SampleRow {
  const GpuTarget* target;
  int64_t time_ns;
  int kind;
  double value;
};

struct MigSlotRow {
  const GpuTarget* target;
  unsigned profile;
  std::string name;
  unsigned free;
};

// One sampler's part of a session. Guarded by the session's mutex once it was subscribed.
struct GpuSubscription {
  GpuRequest request;
  StateSink* states = nullptr;
  std::array<TableWriter*, kGpuTables> writers{};
  bool active = false, paused = false;
  int64_t start_ns = 0, end_ns = 0;
  struct Cadence {
    int64_t next = 0;          // k of the next tick
    int64_t last = INT64_MAX;  // number of deadlines there are
    uint64_t ticks = 0, missed = 0;
  };
  std::array<Cadence, kGpuTables> cadence;
  // What the last row of a target said, for `changed` and `read`; by table (gpu, gpu.slow) and
  // target.
  struct LastRow {
    bool any = false;
    uint64_t valid = 0;
    std::array<uint64_t, 64> bits{};
    std::array<uint64_t, 64> read_counts{};
  };
  std::array<std::vector<LastRow>, 2> last;
  std::map<std::string, uint64_t> event_counts;
  std::array<std::map<size_t, int64_t>, kGpuTables> published_ns;  // of whole-table rows, by target
};

enum class WorkerRole : uint8_t { kFast, kPcie, kSlow, kEvent, kThroughput };

// A thread that talks to NVML, with everything that it uses meanwhile: when a call hangs, both are
// left behind together.
struct NvmlWorker {
  class NvmlSession* session = nullptr;
  WorkerRole role = WorkerRole::kFast;
  GpuDevice* only = nullptr;  // kThroughput
  Thread thread;
  // Guarded by the session's mutex.
  bool abandoned = false, ended = false;
  bool in_call = false;
  GpuDevice* call_device = nullptr;
  const char* call_name = "";
  int64_t call_start_ns = 0, call_deadline_ns = 0;
  struct Late {
    int64_t retry_ns = 0;  // 0: no call was put off
    int64_t tick_ns = 0;
  };
  std::array<Late, kGpuTables> late;  // tables with calls that the budget put off
  // The worker's own.
  NvmlDevice handle = nullptr;  // of the target of BeginMetric
  std::unique_ptr<NvmlScheme> scheme;
  std::unique_ptr<NvmlGpmMetrics> gpm;
  std::vector<GpuTarget*> targets;
  std::vector<PcieRow> pcie_rows;
  std::vector<GpmRow> gpm_rows;
  std::vector<ProcessRow> process_rows;
  bool processes_read = false;  // in this tick, though there may be none
  std::vector<SampleRow> sample_rows;
  std::vector<MigSlotRow> mig_rows;
  std::vector<NvmlProcessEntry> entries[3];
  std::vector<NvmlProcessUse> use;
  std::vector<NvmlSample> samples;
};

// One loaded and initialized libnvidia-ml with its threads: a fast thread (table gpu), one for PCIe
// bytes, a slow one for the rest and for recovery, one that waits for events, one per GPU where
// only the blocking throughput call gives PCIe rates; and a supervisor that never calls NVML. It
// marks a device whose call is past its deadline as hung, leaves that thread behind with all it
// owns and starts another for the other devices.
//
// Everything shared is guarded by one mutex that is never held during a call of the driver.
class NvmlSession : public Shared {
 public:
  // Opens the library and starts threads; waits until every device was asked for everything once
  // or `wait_ns` has passed. On failure the session is stopping already.
  Status Open(const GpuRequest& request, int64_t wait_ns);
  // Asks all threads to end and NVML to be shut down; returns at once.
  void RequestStop();
  [[nodiscard]] bool WaitStopped(int64_t deadline_ns) const {
    return supervisor_.WaitEnded(deadline_ns);
  }
  // When the oldest call began that a thread is in now; 0: none is in one.
  [[nodiscard]] int64_t CallSinceNs() const;

  // Adds the wishes of a sampler to the schedule. ERR_NO_DEVICE for a UUID that does not exist.
  Status Subscribe(GpuSubscription* subscription);
  void Unsubscribe(GpuSubscription* subscription);
  // The interval that a table of it really runs at.
  void SetInterval(GpuSubscription* subscription, GpuTable table, int64_t interval_ns);
  void Start(GpuSubscription* subscription,
             const std::array<TableWriter*, kGpuTables>& writers,
             int64_t start_ns,
             int64_t end_ns);
  // From its return on nothing is written; waits for nobody but short writers.
  void Stop(GpuSubscription* subscription);
  void SetPaused(GpuSubscription* subscription, bool paused);
  Source::Ticks TicksOf(const GpuSubscription& subscription, GpuTable table) const;

  // The table as this machine has it: reasons of what no device can give, intervals by the
  // schedule.
  TableSpec Describe(const GpuSubscription& subscription, GpuTable table) const;
  [[nodiscard]] bool simulated() const;
  // Every GPU that can be asked has GPM.
  [[nodiscard]] bool all_have_gpm() const;
  [[nodiscard]] std::vector<Source::Cost> Costs() const;
  [[nodiscard]] int64_t CpuNs() const;
  [[nodiscard]] const std::string& library() const { return table_.path; }

 private:
  friend class NvmlService;
  static void RunWorker(void* argument);
  static void RunSupervisor(void* argument);

  // ---- threads (session.cc, session_ticks.cc) ----
  Status StartWorker(WorkerRole role, GpuDevice* only);  // mutex held
  void WorkerLoop(NvmlWorker& worker);
  void Supervise();
  void AbandonHung(int64_t now_ns);   // mutex held
  void StartMissing(int64_t now_ns);  // mutex held
  void LookAtSleep();
  void Wake();
  // A call that may be made now: notes it for the supervisor. False: leave it.
  bool Begin(NvmlWorker& worker, GpuDevice* device, const char* name, int64_t deadline_ns);
  // Dear calls of the slow thread hold a lock of the driver for milliseconds, and those of the fast
  // thread then wait for it: they are made just after a tick of the fast table, where they fit
  // before the next. Gives `lock` up meanwhile.
  void WaitForGap(std::unique_lock<std::mutex>& lock, int64_t cost_ns);
  bool BeginMetric(NvmlWorker& worker, GpuTarget& target, size_t metric, int64_t tick_ns);
  // False when the thread was left behind meanwhile: it must touch nothing more and end. The mutex
  // is held by `lock` when true.
  bool End(NvmlWorker& worker, std::unique_lock<std::mutex>& lock, int64_t* duration_ns);
  [[nodiscard]] bool IsWanted(GpuTable table) const;  // mutex held
  // The target can be asked and a sampler that runs and is not paused wants this table of it.
  [[nodiscard]] bool IsReadNow(const GpuTarget& target, GpuTable table) const;  // mutex held
  void ForgetEnded();                                                           // mutex held
  [[nodiscard]] int64_t NextDeadline(const NvmlWorker& worker) const;           // mutex held
  void RunDueTicks(NvmlWorker& worker, int64_t now_ns);
  void LoopEvents(NvmlWorker& worker);
  void LoopThroughput(NvmlWorker& worker);

  // ---- devices (session_devices.cc, session_plan.cc, session_states.cc, session_upkeep.cc) ----
  bool BringUp(NvmlWorker& worker);
  bool Enumerate(NvmlWorker& worker, const std::vector<NvmlFoundDevice>& found);
  bool ProbeTarget(NvmlWorker& worker, GpuTarget& target);
  bool ProbeAll(NvmlWorker& worker);
  bool Maintain(NvmlWorker& worker, int64_t now_ns);
  bool Recover(NvmlWorker& worker, GpuDevice& device);
  bool Reinitialize(NvmlWorker& worker);
  bool LookAtInstances(NvmlWorker& worker, GpuDevice& device);
  // ---- changes of MIG by other processes (session_yield.cc) ----
  void LookAtIntents();                   // the supervisor's
  bool FollowIntent(NvmlWorker& worker);  // the slow thread's
  bool Yield(NvmlWorker& worker);

  GpuTarget* AddTarget(GpuDevice* device, const std::string& uuid);   // mutex held
  void SetState(GpuDevice& device, GpuState state, NvmlReturn code);  // mutex held
  void PlanAll();                                                     // mutex held
  void Plan(GpuDevice& device);                                       // mutex held
  // Tells every sampler that wants the target.
  void Report(const GpuTarget& target, GpuTable table, const StateChange& change);   // mutex held
  void ReportUnavailable(const GpuTarget& target, GpuTable table, NvmlReturn code);  // mutex held
  void ReportNulls(GpuSubscription& subscription);                                   // mutex held
  [[nodiscard]] static bool Wants(const GpuSubscription& subscription, const GpuTarget& target);

  // ---- reading (session_read.cc, session_pcie.cc, session_events.cc); false: the thread was left
  // behind ----
  void CollectTargets(NvmlWorker& worker, GpuTable table);
  bool ReadTable(NvmlWorker& worker, GpuTable table, int64_t tick_ns);
  bool ReadMetric(NvmlWorker& worker, GpuTarget& target, size_t metric, int64_t tick_ns);
  bool ReadPcie(NvmlWorker& worker, GpuTarget& target, int64_t tick_ns);
  bool ReadGpm(NvmlWorker& worker, GpuTarget& target, int64_t tick_ns);
  bool ReadProcesses(NvmlWorker& worker, GpuTarget& target, int64_t tick_ns);
  bool ReadSamples(NvmlWorker& worker, GpuTarget& target, size_t metric, int64_t tick_ns);
  bool ReadMigSlots(NvmlWorker& worker, GpuTarget& target, int64_t tick_ns);
  // What follows a whole-table call: cost, loss, giving up. Mutex held.
  void Account(GpuTarget& target, size_t metric, NvmlReturn code, int64_t duration_ns);

  // ---- rows (session_rows.cc); mutex held ----
  void WriteValueRows(GpuSubscription& subscription, GpuTable table, int64_t time_ns);
  void PublishRows(NvmlWorker& worker, GpuTable table, int64_t tick_ns);
  void WriteEvent(const NvmlEventData& data, int64_t time_ns);

  mutable std::mutex mutex_;
  NvmlTable table_;
  MigTable mig_;
  std::string override_, root_;
  std::atomic<bool> wake_devices_{false};
  std::atomic<uint32_t> wake_{0};
  bool stop_ = false, quiet_ = false;
  bool fast_reading_ = false;  // a tick of the fast table is under way
  bool ready_ = false;
  std::atomic<uint32_t> ready_word_{0};
  Status failure_;
  bool initialized_ = false, simulated_ = false;
  std::string driver_;
  std::vector<std::unique_ptr<GpuDevice>> devices_;
  std::vector<std::unique_ptr<GpuTarget>> targets_;
  std::vector<std::unique_ptr<NvmlWorker>> workers_;
  int64_t ended_cpu_ns_ = 0;  // of workers that were forgotten
  std::vector<GpuSubscription*> subscriptions_;
  std::array<int64_t, 5> restart_ns_{}, restart_backoff_ns_{};  // by WorkerRole
  int64_t next_maintenance_ns_ = 0, next_plan_ns_ = 0, reinit_ns_ = 0, reinit_backoff_ns_ = 0;
  bool instances_changed_ = false;
  std::vector<std::string> lock_folders_;  // written before there are threads
  bool yield_wanted_ = false, yielded_ = false;
  uint64_t generation_ = 0;  // changes when events must be registered anew
  uint64_t init_count_ = 0;  // of nvmlInit: event sets of an older one are dead
  std::unique_ptr<ProcessLookup> processes_;
  Thread supervisor_;
};

// The one NVML of the process, shared by all samplers and workers. Never destroyed.
class NvmlService {
 public:
  static NvmlService& Get();
  // A running session of this library, opened when it is the first user; every success needs a
  // Release. Blocks for as long as the driver takes to start, at most 15 s.
  Result<NvmlSession*> Acquire(const GpuRequest& request);
  // The last user's ends the threads: returns within 400 ms even while a call hangs.
  void Release(NvmlSession* session);

 private:
  static void End(NvmlSession* session);
  struct Entry {
    std::string key;
    NvmlSession* session;
    unsigned users;
  };
  std::mutex mutex_, opening_;
  std::vector<Entry> entries_;
};

}  // namespace warpgauge
