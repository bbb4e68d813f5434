#include "client/agent/ready_actions.h"

#include <utility>

#include "client/sdk/wait.h"
#include "client/shell/shell_command.h"
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
  ReadyLocked(assembly);
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
  v1::GetAssemblyRequest get;
  get.set_name(assembly);
  CallOptions call;
  call.stop = stop;
  MUSTER_ASSIGN_OR_RETURN(const v1::GetAssemblyResponse found, client_.GetAssembly(get, call));
  MUSTER_RETURN_IF_ERROR(AwaitAssembly(found.assembly(), stop));
  if (const std::optional<ReadyOptions::View> view = ViewOf(found.assembly())) {
    MUSTER_RETURN_IF_ERROR(ShowView(found.assembly(), *view, stop));
  }
  if (!options_.command.empty()) StartCommand(found.assembly());
  return absl::OkStatus();
}

// The node was READY when this began.
absl::Status ReadyActions::AwaitAssembly(const v1::Assembly& assembly,
                                         const std::stop_token& stop) {
  const bool node_suffices = options_.when == ReadyOptions::When::kByPolicy
                                 ? TraitsOf(PolicyOf(assembly.policy())).holds_all
                                 : options_.when == ReadyOptions::When::kNode;
  if (node_suffices || assembly.state() == v1::Assembly::READY) return absl::OkStatus();
  WaitOptions wait;
  wait.assembly = assembly.name();
  wait.retry.stop = stop;
  return WaitUntilReady(client_, clock_, random_, wait).status;
}

std::optional<ReadyOptions::View> ReadyActions::ViewOf(const v1::Assembly& assembly) {
  MutexLock lock(mutex_);
  const auto it = views_.find(assembly.name());
  return it == views_.end() ? std::nullopt : std::optional(it->second);
}

absl::Status ReadyActions::ShowView(const v1::Assembly& assembly, const ReadyOptions::View& options,
                                    const std::stop_token& stop) {
  ViewOptions view;
  view.model_version = assembly.model_version();
  view.directory = options.directory;
  view.links = options.links;
  view.file_mode = options.file_mode;
  view.allow_code = options.allow_code;
  view.stop = stop;
  if (options.partial) {
    view.only_shards.emplace();
    for (const v1::Shard& shard : shards_of_(assembly.name())) {
      view.only_shards->push_back(shard.index());
    }
  }
  MUSTER_ASSIGN_OR_RETURN(const ViewSummary summary, make_view_(view));
  observer_.OnView(assembly.name(), summary);
  return absl::OkStatus();
}

void ReadyActions::StartCommand(const v1::Assembly& assembly) {
  MutexLock lock(mutex_);
  if (ending_ || commands_.contains(assembly.model_version())) return;
  commands_.emplace(assembly.model_version(),
                    [this, assembly](const std::stop_token& stop) { RunCommand(assembly, stop); });
}

void ReadyActions::RunCommand(const v1::Assembly& assembly, const std::stop_token& stop) {
  const std::string model_version = ShortModelVersionName(assembly.model_version());
  const std::optional<ReadyOptions::View> view = ViewOf(assembly);
  const ShellCommand command{options_.command,
                             {{"MUSTER_MODEL_VERSION", model_version},
                              {"MUSTER_ASSEMBLY", ShortAssembly(assembly.name())},
                              {"MUSTER_VIEW", view.has_value() ? view->directory : ""}},
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
