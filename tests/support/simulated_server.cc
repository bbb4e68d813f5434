#include "tests/support/simulated_server.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "muster/store/rows.pb.h"
#include "server/commit/tick_thread.h"
#include "server/registry/row_keys.h"
#include "storage/base/status_macros.h"
#include "storage/metadata/memory_metadata_store.h"

namespace muster {
namespace {

// Calls a hook before each commit.
class HookedMetadataStore final : public MetadataStore {
 public:
  HookedMetadataStore(MetadataStore& wrapped, std::function<void()> hook)
      : wrapped_(wrapped), hook_(std::move(hook)) {}

  Limits limits() const override { return wrapped_.limits(); }
  absl::StatusOr<std::string> Get(absl::string_view key) override { return wrapped_.Get(key); }
  absl::StatusOr<std::vector<Row>> Scan(absl::string_view begin, absl::string_view end,
                                        size_t limit) override {
    return wrapped_.Scan(begin, end, limit);
  }
  absl::Status Commit(const MetadataBatch& batch) override {
    hook_();
    return wrapped_.Commit(batch);
  }
  absl::Status CheckLeadership() override { return wrapped_.CheckLeadership(); }
  absl::StatusOr<std::optional<int64_t>> FreeBytes() override { return wrapped_.FreeBytes(); }

 private:
  MetadataStore& wrapped_;
  const std::function<void()> hook_;
};

}  // namespace

StoreContent ContentOf(MetadataStore& store) {
  StoreContent content;
  std::string begin;
  while (true) {
    const auto rows = store.Scan(begin, std::string(64, '\xff'), 1'000);
    if (!rows.ok() || rows->empty()) return content;
    for (const MetadataStore::Row& row : *rows) content[row.key] = row.value;
    begin = rows->back().key + '\0';
  }
}

struct SimulatedServer::Process {
  Process(SimulatedServer& server, const Options& options)
      : faults(*server.inner_),
        store(
            std::make_unique<HookedMetadataStore>(faults, [&server] { server.before_commit_(); })),
        live(LiveOptions()),
        registry(RegistryOptions(), live),
        feed(options.feed),
        committer(server.clock_, *store, registry, live, feed, {},
                  [&server](AssemblyUid assembly) { server.plans_wanted_.insert(assembly); }) {}

  FaultInjectingMetadataStore faults;
  std::unique_ptr<MetadataStore> store;
  LiveTables live;
  Registry registry;
  Feed feed;
  Committer committer;
};

SimulatedServer::SimulatedServer(FakeClock& clock, const Options& options)
    : clock_(clock), options_(options), inner_(NewMemoryMetadataStore(options.limits)) {}

SimulatedServer::~SimulatedServer() = default;

Registry::Options SimulatedServer::RegistryOptions() {
  Registry::Options options;
  options.cluster_id = "simulation";
  options.history_id = "first history";
  // So short that a run gets beyond it.
  options.forget_nodes_us = 120'000'000;
  // So little that watches fall behind it.
  options.event_log.max_events = 300;
  return options;
}

LiveTables::Options SimulatedServer::LiveOptions() {
  LiveTables::Options options;
  // So short that a run gets beyond it.
  options.leases.move_grace = absl::Seconds(4);
  return options;
}

absl::Status SimulatedServer::Start() {
  plans_wanted_.clear();
  process_ = std::make_unique<Process>(*this, options_);
  MUSTER_RETURN_IF_ERROR(process_->committer.Load());
  SubmitTick();
  return Run();
}

void SimulatedServer::Stop() { process_.reset(); }

std::shared_ptr<SimulatedServer::Ticket> SimulatedServer::Submit(std::vector<Command> commands) {
  auto ticket = std::make_shared<Ticket>();
  process_->committer.Submit(
      Job{std::move(commands), [this, ticket](JobResult result) {
            if (ticket->result.has_value()) AddViolation("a job was answered twice");
            if (stored_revision() < result.revision) {
              AddViolation(absl::StrCat("a job was answered at revision ", result.revision.value,
                                        " when the store held ", stored_revision().value));
            }
            ticket->result = std::move(result);
          }});
  return ticket;
}

void SimulatedServer::SubmitTick() {
  process_->committer.SubmitInternal(
      TickThread::MakeTick(clock_, process_->live, *process_->store));
}

absl::Status SimulatedServer::Run() {
  while (true) {
    MUSTER_ASSIGN_OR_RETURN(const bool ran, process_->committer.RunOnce());
    if (!ran) return absl::OkStatus();
  }
}

void SimulatedServer::FailCommit(uint64_t n, Fault fault) { process_->faults.FailCommit(n, fault); }
bool SimulatedServer::has_failed() const { return process_->faults.has_failed(); }
const Registry& SimulatedServer::registry() const { return process_->registry; }
Feed& SimulatedServer::feed() { return process_->feed; }
Committer& SimulatedServer::committer() { return process_->committer; }
LeaseTable& SimulatedServer::leases() { return process_->live.leases; }

Revision SimulatedServer::stored_revision() const {
  const auto packed = inner_->Get(RevisionKey());
  store::RevisionRow row;
  if (!packed.ok() || !row.ParseFromString(*packed)) return Revision(0);
  return Revision(row.revision());
}

}  // namespace muster
