#include "client/agent/ready_actions.h"

#include <utility>

#include "client/sdk/wait.h"
#include "client/shell/shell_command.h"
#include "storage/base/error_info.h"
#include "storage/base/placement_policy.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Whether a later attempt may succeed though nothing that people can set is another thing.
bool MayPass(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kInternal:
      return true;
    default:
      return false;
  }
}

// "demo" of "assemblies/demo".
std::string ShortAssembly(const std::string& name) {
  const absl::StatusOr<std::string> parsed = ParseAssemblyName(name);
  return parsed.ok() ? *parsed : name;
}

}  // namespace

ReadyActions::ReadyActions(Client& client, Clock& clock, Random& random, ReadyObserver& observer,
                           MakeView make_view, ShardsOf shards_of, ReadyOptions options)
    : client_(client),
      clock_(clock),
      random_(random),
      observer_(observer),
      make_view_(std::move(make_view)),
      shards_of_(std::move(shards_of)),
      options_(std::move(options)),
      views_(options_.views) {}

ReadyActions::~ReadyActions() {
  std::map<std::string, std::jthread> threads;
  {
    MutexLock lock(mutex_);
    ending_ = true;
    changed_.NotifyAll();
    threads = std::move(workers_);
    for (auto& [model_version, thread] : commands_) thread.request_stop();
  }
  for (auto& [assembly, thread] : threads) thread.request_stop();
  // Joined here, and the commands by their own end: the workers start no more of them.
  threads.clear();
}

void ReadyActions::Ready(const std::string& assembly) {
  MutexLock lock(mutex_);
  offline_.erase(assembly);
  ReadyLocked(assembly);
}

void ReadyActions::ReadyOffline(std::shared_ptr<const NotedAssembly> noted) {
  MutexLock lock(mutex_);
  const std::string assembly = noted->assembly().name();
  offline_[assembly] = std::move(noted);
  ReadyLocked(assembly);
}

std::shared_ptr<const NotedAssembly> ReadyActions::OfflineOf(const std::string& assembly) {
  MutexLock lock(mutex_);
  const auto it = offline_.find(assembly);
  return it == offline_.end() ? nullptr : it->second;
}

void ReadyActions::SetViews(const ReadyOptions::Views& views) {
  MutexLock lock(mutex_);
  const ReadyOptions::Views before = std::exchange(views_, views);
  for (const auto& [assembly, view] : views_) {
    const auto old = before.find(assembly);
    const bool is_new = old == before.end() || old->second != view;
    // It has a worker once it was READY.
    if (is_new && workers_.contains(assembly)) ReadyLocked(assembly);
  }
}

void ReadyActions::ReadyLocked(const std::string& assembly) {
  if (ending_) return;
  waiting_.insert(assembly);
  changed_.NotifyAll();
  if (workers_.contains(assembly)) return;
  workers_.emplace(assembly, [this, assembly](const std::stop_token& stop) {
    while (AwaitTurn(assembly, stop)) Serve(assembly, stop);
  });
}

// False at the end.
bool ReadyActions::AwaitTurn(const std::string& assembly, const std::stop_token& stop) {
  MutexLock lock(mutex_);
  while (!ending_ && !stop.stop_requested()) {
    if (waiting_.erase(assembly) > 0) return true;
    changed_.Wait(mutex_);
  }
  return false;
}

void ReadyActions::Serve(const std::string& assembly, const std::stop_token& stop) {
  Backoff backoff(random_, options_.retry);
  while (!stop.stop_requested()) {
    const absl::Status status = Act(assembly, stop);
    if (status.ok() || stop.stop_requested()) return;
    const bool again = MayPass(status);
    observer_.OnReadyFailed(assembly, status, again);
    if (!again || !SleepUnlessStopped(clock_, backoff.Next(), stop)) return;
  }
}

absl::Status ReadyActions::Act(const std::string& assembly, const std::stop_token& stop) {
  if (const auto noted = OfflineOf(assembly)) return ActOffline(*noted, stop);
  v1::GetAssemblyRequest get;
  get.set_name(assembly);
  CallOptions call;
  call.stop = stop;
  MUSTER_ASSIGN_OR_RETURN(v1::GetAssemblyResponse found, client_.GetAssembly(get, call));
  const bool holds_all = TraitsOf(PolicyOf(found.assembly().policy())).holds_all;
  const std::optional<ReadyOptions::View> view = ViewOf(found.assembly());
  if (!view.has_value() && options_.command.empty() && !holds_all) return absl::OkStatus();
  MUSTER_RETURN_IF_ERROR(AwaitAssembly(*found.mutable_assembly(), stop));
  if (view.has_value()) {
    MUSTER_RETURN_IF_ERROR(ShowView(client_, found.assembly(), *view, HeldOf(assembly), stop));
  }
  if (!options_.command.empty()) StartCommand(found.assembly(), /*offline=*/false);
  return Note(found.assembly(), view.has_value() || holds_all, stop);
}

// Nothing here asks the server, or tells it anything.
absl::Status ReadyActions::ActOffline(const NotedAssembly& noted, const std::stop_token& stop) {
  const v1::Assembly& assembly = noted.assembly();
  if (!NodeSuffices(assembly) && assembly.state() != v1::Assembly::READY) {
    return absl::FailedPreconditionError(
        "the assembly was not READY when this node last knew of it, and no server says more");
  }
  MUSTER_RETURN_IF_ERROR(options_.verify(noted, stop));
  observer_.OnOffline(noted);
  if (const std::optional<ReadyOptions::View> view = ViewOf(assembly)) {
    MUSTER_RETURN_IF_ERROR(ShowView(noted.client(), assembly, *view, noted.held(), stop));
  }
  if (!options_.command.empty()) StartCommand(assembly, /*offline=*/true);
  return absl::OkStatus();
}

// Only what a later attempt may mend is an error: the view is there, and the command has run.
absl::Status ReadyActions::Note(const v1::Assembly& assembly, bool whole,
                                const std::stop_token& stop) {
  if (!options_.note) return absl::OkStatus();
  const absl::Status noted = options_.note(assembly, whole, stop);
  if (absl::IsUnavailable(noted) || absl::IsDeadlineExceeded(noted)) {
    return Annotate(noted, "noting it for times without a server");
  }
  if (!noted.ok() && !stop.stop_requested()) observer_.OnNoteFailed(assembly.name(), noted);
  return absl::OkStatus();
}

bool ReadyActions::NodeSuffices(const v1::Assembly& assembly) const {
  return options_.when == ReadyOptions::When::kByPolicy
             ? TraitsOf(PolicyOf(assembly.policy())).holds_all
             : options_.when == ReadyOptions::When::kNode;
}

// The node was READY when this began.
absl::Status ReadyActions::AwaitAssembly(v1::Assembly& assembly, const std::stop_token& stop) {
  if (NodeSuffices(assembly) || assembly.state() == v1::Assembly::READY) return absl::OkStatus();
  WaitOptions wait;
  wait.assembly = assembly.name();
  wait.retry.stop = stop;
  MUSTER_RETURN_IF_ERROR(WaitUntilReady(client_, clock_, random_, wait).status);
  assembly.set_state(v1::Assembly::READY);
  return absl::OkStatus();
}

std::optional<ReadyOptions::View> ReadyActions::ViewOf(const v1::Assembly& assembly) {
  MutexLock lock(mutex_);
  const auto it = views_.find(assembly.name());
  return it == views_.end() ? std::nullopt : std::optional(it->second);
}

std::vector<uint32_t> ReadyActions::HeldOf(const std::string& assembly) const {
  std::vector<uint32_t> held;
  for (const v1::Shard& shard : shards_of_(assembly)) held.push_back(shard.index());
  return held;
}

absl::Status ReadyActions::ShowView(Client& client, const v1::Assembly& assembly,
                                    const ReadyOptions::View& options,
                                    const std::vector<uint32_t>& held,
                                    const std::stop_token& stop) {
  ViewOptions view;
  view.model_version = assembly.model_version();
  view.directory = options.directory;
  view.links = options.links;
  view.file_mode = options.file_mode;
  view.allow_code = options.allow_code;
  view.stop = stop;
  if (options.partial) view.only_shards = held;
  MUSTER_ASSIGN_OR_RETURN(const ViewSummary summary, make_view_(client, view));
  observer_.OnView(assembly.name(), summary);
  return absl::OkStatus();
}

void ReadyActions::StartCommand(const v1::Assembly& assembly, bool offline) {
  MutexLock lock(mutex_);
  if (ending_ || commands_.contains(assembly.model_version())) return;
  commands_.emplace(assembly.model_version(),
                    [this, assembly, offline](const std::stop_token& stop) {
                      RunCommand(assembly, offline, stop);
                    });
}

void ReadyActions::RunCommand(const v1::Assembly& assembly, bool offline,
                              const std::stop_token& stop) {
  const std::string model_version = ShortModelVersionName(assembly.model_version());
  const std::optional<ReadyOptions::View> view = ViewOf(assembly);
  const ShellCommand command{options_.command,
                             {{"MUSTER_MODEL_VERSION", model_version},
                              {"MUSTER_ASSEMBLY", ShortAssembly(assembly.name())},
                              {"MUSTER_VIEW", view.has_value() ? view->directory : ""},
                              {"MUSTER_OFFLINE", offline ? "1" : ""}},
                             options_.withheld_variables};
  Backoff backoff(random_, options_.retry);
  for (int attempt = 0; attempt <= options_.command_retries; ++attempt) {
    if (attempt > 0 && !SleepUnlessStopped(clock_, backoff.Next(), stop)) return;
    const absl::StatusOr<int> exit_code = RunShell(command, stop);
    observer_.OnCommand(assembly.name(), model_version, exit_code);
    if (stop.stop_requested() || (exit_code.ok() && *exit_code == 0)) return;
  }
}

}  // namespace muster
