#include "client/cli/agent_screen.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/display.h"
#include "client/cli/values.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"

namespace muster {
namespace {

std::string SizeOf(uint64_t bytes) { return FormatSize(static_cast<int64_t>(bytes)); }

}  // namespace

AgentScreen::AgentScreen(Clock& clock, NewBar new_bar, Followers followers)
    : AgentReporter(std::move(followers)),
      new_bar_(std::move(new_bar)),
      failures_(clock),
      bar_(new_bar_("")) {
  SpeakThrough(this);
}

AgentScreen::~AgentScreen() { SpeakThrough(nullptr); }

void AgentScreen::Say(const std::string& assembly, absl::string_view sentence) {
  const std::string about =
      assembly.empty() ? std::string() : absl::StrCat(ShortName(assembly), ": ");
  MutexLock lock(mutex_);
  bar_->Say(absl::StrCat(about, sentence));
}

void AgentScreen::NewBarOfModels() {
  std::string label;
  int64_t total_bytes = 0, done_bytes = 0;
  size_t count = 0;
  for (const auto& [assembly, model] : models_) {
    if (model.ready) continue;
    label = ShortName(assembly);
    ++count;
    int64_t done = 0;
    for (const auto& [shard, bytes] : model.done_bytes) done += bytes;
    total_bytes += model.total_bytes;
    done_bytes += std::min(done, model.total_bytes);
  }
  if (count > 1) label = CountOf(count, "model");
  // The old one is wiped before the new one draws.
  bar_.reset();
  bar_ = new_bar_(label);
  bar_->SetTotal(total_bytes);
  if (count > 0) bar_->Add(done_bytes);
}

void AgentScreen::SetDone(const std::string& assembly, uint32_t shard, uint64_t done_bytes) {
  MutexLock lock(mutex_);
  const auto found = models_.find(assembly);
  if (found == models_.end()) return;
  int64_t& done = found->second.done_bytes[shard];
  const int64_t more = static_cast<int64_t>(done_bytes) - done;
  done += more;
  if (!found->second.ready && more != 0) bar_->Add(more);
}

void AgentScreen::OnRegistered(const v1::Node& node, uint64_t, bool again) {
  Say("", absl::StrCat("node ", ShortName(node.name()), " is registered",
                       again ? " again, as the server had forgotten it" : ""));
}

void AgentScreen::OnNameTaken(const absl::Status& status, int) {
  Say("", absl::StrCat("waiting for the node's name: ", status.message()));
}

void AgentScreen::OnJoined(const v1::Assembly& assembly, bool created) {
  const std::string why =
      assembly.reasons_size() == 0 ? "" : absl::StrCat(": ", assembly.reasons(0).message());
  Say(assembly.name(), absl::StrCat(created ? "created and joined; " : "joined; ",
                                    ShortModelVersionName(assembly.model_version()), " is ",
                                    v1::Assembly::State_Name(assembly.state()), why));
}

void AgentScreen::OnLeft(const std::string& assembly) {
  failures_.Forget(assembly);
  {
    MutexLock lock(mutex_);
    if (models_.erase(assembly) > 0) NewBarOfModels();
  }
  Say(assembly, "left");
  Gone(assembly);
}

void AgentScreen::OnMembershipFailed(const std::string& assembly, bool leaving,
                                     const absl::Status& status) {
  Say(assembly,
      absl::StrCat(leaving ? "can't leave" : "can't join", ", trying again: ", status.message()));
  if (ReasonOf(status) == reasons::kAssemblyUnknown) Gone(assembly);
}

void AgentScreen::OnNoRoom(const std::string& assembly, const std::string& why) {
  Say(assembly, absl::StrCat("gives this node no shards until there is room: it ", why));
}

void AgentScreen::OnAssigned(const AssignmentChange& change) {
  {
    MutexLock lock(mutex_);
    if (change.total_shards == 0) {
      models_.erase(change.assembly);
    } else {
      Model& model = models_[change.assembly];
      model.total_bytes = static_cast<int64_t>(change.total_bytes);
      if (change.assigned > 0) model.ready = false;
    }
    NewBarOfModels();
  }
  if (change.total_shards == 0) {
    failures_.Forget(change.assembly);
    Gone(change.assembly);
  }
  Say(change.assembly, change.total_shards == 0
                           ? std::string("no shards are this node's now")
                           : absl::StrCat(CountOf(change.total_shards, "shard"),
                                          change.total_shards == 1 ? " is" : " are",
                                          " this node's, ", SizeOf(change.total_bytes)));
}

void AgentScreen::OnAssignmentRefused(const std::string& assembly) {
  Say(assembly,
      "this agent was not told to join it and fetches nothing for it; name it with "
      "--assembly, or end the membership with `muster assemblies leave`");
}

void AgentScreen::OnPinned(const std::string& assembly, const absl::Status& status) {
  if (status.ok()) return Say(assembly, "what it needs is pinned in the cache again");
  Say(assembly, absl::StrCat("what it needs can't be pinned in the cache, so that others may "
                             "evict it: ",
                             status.message()));
}

void AgentScreen::OnShard(const ShardUpdate& update) {
  if (update.state == v1::ShardReport::READY) {
    SetDone(update.assembly, update.shard, update.size_bytes);
    const auto over = failures_.Mended(update.assembly, update.shard);
    if (over.has_value()) SayCount(update.assembly, *over);
    return;
  }
  if (update.state != v1::ShardReport::FAILED) return;
  const RepeatedFailures::Verdict verdict =
      failures_.Failed(update.assembly, update.shard, update.failure);
  if (verdict.count.has_value()) SayCount(update.assembly, *verdict.count);
  if (!verdict.in_full) return;
  Say(update.assembly, absl::StrCat("shard ", update.shard, " failed and is tried again: ",
                                    v1::ShardFailure::Code_Name(update.failure.code()), ": ",
                                    update.error.message()));
}

void AgentScreen::SayCount(const std::string& assembly, const RepeatedFailures::Count& count) {
  Say(assembly,
      absl::StrCat(v1::ShardFailure::Code_Name(count.code), " as before, ",
                   CountOf(count.count, "more time"),
                   count.shards == 0 ? "; it is over"
                                     : absl::StrCat("; of ", CountOf(count.shards, "shard"))));
}

void AgentScreen::OnProgress(const std::string& assembly, uint32_t shard, uint64_t done_bytes,
                             uint64_t) {
  SetDone(assembly, shard, done_bytes);
}

void AgentScreen::OnReady(const std::string& assembly, uint32_t shards, uint64_t bytes) {
  {
    MutexLock lock(mutex_);
    models_[assembly].ready = true;
    NewBarOfModels();
  }
  Say(assembly,
      absl::StrCat("READY on this node: ", CountOf(shards, "shard"), ", ", SizeOf(bytes)));
  Ready(assembly);
}

void AgentScreen::OnDisconnected(const absl::Status& status) {
  Say("", absl::StrCat("the server can't be reached, trying again: ", status.message()));
}

void AgentScreen::OnReconnected() { Say("", "the server answers again"); }

void AgentScreen::OnWarmed(const std::string& assembly, const WarmReport& report) {
  if (!report.status.ok()) {
    return Say(assembly, absl::StrCat("can't be read into memory: ", report.status.message()));
  }
  Say(assembly, absl::StrCat(SizeOf(report.warm_bytes), " are in the page cache"));
}

void AgentScreen::OnOffline(const NotedAssembly& noted) {
  Say(noted.assembly().name(),
      absl::StrCat("offline: no server answers; serving ",
                   ShortModelVersionName(noted.model_version().name()), ", ",
                   CountOf(noted.held().size(), "shard"),
                   ", as this node last knew it, verified; still trying to reach the server"));
}

void AgentScreen::OnNoteFailed(const std::string& assembly, const absl::Status& status) {
  Say(assembly, absl::StrCat("can't be noted for a start without a server: ", status.message()));
}

void AgentScreen::OnView(const std::string& assembly, const ViewSummary& summary) {
  Say(assembly, absl::StrCat("view at ", summary.path, ", ", CountOf(summary.files, "file"),
                             summary.current ? "" : "; it is not the current one"));
}

void AgentScreen::OnReadyFailed(const std::string& assembly, const absl::Status& status,
                                bool again) {
  Say(assembly, absl::StrCat("READY, but no view could be made", again ? ", trying again: " : ": ",
                             status.message()));
}

void AgentScreen::OnCommand(const std::string& assembly, const std::string&,
                            const absl::StatusOr<int>& exit_code) {
  if (!exit_code.ok()) {
    return Say(assembly, absl::StrCat("--on-ready: ", exit_code.status().message()));
  }
  Say(assembly, *exit_code == 0
                    ? std::string("--on-ready: done")
                    : absl::StrCat("--on-ready: the command failed with exit code ", *exit_code));
}

}  // namespace muster
