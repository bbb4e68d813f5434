#include "client/cli/agent_log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "client/cli/agent_screen.h"
#include "client/cli/display.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"

namespace muster {
namespace {

// A value in quotes; whatever a server sent can't break the line.
std::string Quoted(absl::string_view text) { return "\"" + absl::Utf8SafeCEscape(text) + "\""; }

// As spdlog's logger is, since warnings come from everywhere.
std::atomic<AgentScreen*> screen_of_person = nullptr;

std::string StateName(v1::ShardReport::State state) {
  return absl::AsciiStrToLower(v1::ShardReport::State_Name(state));
}

}  // namespace

void SetUpLog(const std::string& level) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("muster"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::set_level(spdlog::level::from_str(level));
  spdlog::flush_on(spdlog::level::debug);
}

void SpeakThrough(AgentScreen* screen) { screen_of_person = screen; }

void LogWarning(const std::string& message) {
  if (AgentScreen* const screen = screen_of_person) {
    return screen->Say("", absl::StrCat("warning: ", message));
  }
  spdlog::warn("event=warning message={}", Quoted(message));
}

void LogCertificate(const std::string& event, const std::string& node, absl::Time valid_until) {
  const std::string until = absl::FormatTime(absl::RFC3339_sec, valid_until, absl::UTCTimeZone());
  if (AgentScreen* const screen = screen_of_person) {
    return screen->Say("", absl::StrCat(event, ": the certificate of this node ends at ", until));
  }
  spdlog::info("event={} node={} valid_until={}", event, node, until);
}

void LogReloaded(size_t assemblies) {
  if (AgentScreen* const screen = screen_of_person) {
    return screen->Say(
        "", absl::StrCat("the configuration was read again: ",
                         assemblies == 1 ? "1 assembly" : absl::StrCat(assemblies, " assemblies")));
  }
  spdlog::info("event=reloaded assemblies={}", assemblies);
}

void AgentLog::OnRegistered(const v1::Node& node, uint64_t epoch, bool again) {
  offline_ = false;
  spdlog::info("event=registered node={} epoch={} again={}", Quoted(ShortName(node.name())), epoch,
               again);
}

void AgentLog::OnNameTaken(const absl::Status& status, int renewed) {
  ErrorDetail detail = DetailOf(status);
  const std::string about =
      absl::StrCat("node=", Quoted(ShortName(detail.metadata["node"])), " renewed=", renewed);
  if (renewed > 0) {
    spdlog::warn("event=name_taken {}", about);
    return;
  }
  spdlog::warn("event=name_taken {} address={} registered={} lease_left_ms={} message={}", about,
               Quoted(detail.metadata["address"]), Quoted(detail.metadata["registered"]),
               Quoted(detail.metadata["lease_left_ms"]),
               Quoted(absl::StrCat(status.message(), "; waiting for its end")));
}

void AgentLog::OnJoined(const v1::Assembly& assembly, bool created) {
  // The first reason is why nothing may be assigned for a while.
  const std::string why = assembly.reasons_size() == 0 ? "" : assembly.reasons(0).message();
  spdlog::info("event=joined assembly={} model_version={} created={} state={} why={}",
               Quoted(ShortName(assembly.name())), Quoted(assembly.model_version()), created,
               v1::Assembly::State_Name(assembly.state()), Quoted(why));
}

void AgentLog::OnLeft(const std::string& assembly) {
  failures_.Forget(assembly);
  spdlog::info("event=left assembly={}", Quoted(ShortName(assembly)));
  Gone(assembly);
}

void AgentReporter::Ready(const std::string& assembly) const {
  if (followers_.ready) followers_.ready(assembly);
}

void AgentReporter::Gone(const std::string& assembly) const {
  if (followers_.gone) followers_.gone(assembly);
}

void AgentLog::OnMembershipFailed(const std::string& assembly, bool leaving,
                                  const absl::Status& status) {
  spdlog::warn("event={} assembly={} code={} reason={} message={}",
               leaving ? "leave_failed" : "join_failed", Quoted(ShortName(assembly)),
               absl::StatusCodeToString(status.code()), ReasonOf(status), Quoted(status.message()));
  if (ReasonOf(status) == reasons::kAssemblyUnknown) Gone(assembly);
}

void AgentLog::OnNoRoom(const std::string& assembly, const std::string& why) {
  spdlog::warn("event=no_room assembly={} message={}", Quoted(ShortName(assembly)),
               Quoted(absl::StrCat("this node ", why,
                                   "; it gets none of them until there is room: raise --capacity, "
                                   "or free some of what other assemblies have here")));
}

void AgentLog::OnAssigned(const AssignmentChange& change) {
  if (change.total_shards == 0) {
    failures_.Forget(change.assembly);
    Gone(change.assembly);
  }
  spdlog::info("event=assigned assembly={} assigned={} unassigned={} shards={} bytes={}",
               Quoted(ShortName(change.assembly)), change.assigned, change.unassigned,
               change.total_shards, change.total_bytes);
}

void AgentLog::OnAssignmentRefused(const std::string& assembly) {
  spdlog::warn(
      "event=refused assembly={} message=\"this agent was not told to join it and fetches nothing "
      "for it; name it with "
      "--assembly, or end the membership with `muster assemblies leave`\"",
      Quoted(ShortName(assembly)));
}

void AgentLog::OnPinned(const std::string& assembly, const absl::Status& status) {
  if (status.ok()) {
    spdlog::info("event=pinned assembly={}", Quoted(ShortName(assembly)));
    return;
  }
  spdlog::warn("event=pin_failed assembly={} code={} message={}", Quoted(ShortName(assembly)),
               absl::StatusCodeToString(status.code()),
               Quoted(absl::StrCat(status.message(),
                                   "; what is in the cache is served, but others may evict it")));
}

void AgentLog::OnShard(const ShardUpdate& update) {
  const std::string assembly = Quoted(ShortName(update.assembly));
  if (update.state == v1::ShardReport::FETCHING &&
      !failures_.IsNews(update.assembly, update.shard)) {
    spdlog::debug("event=shard assembly={} shard={} state=fetching", assembly, update.shard);
    return;
  }
  if (update.state != v1::ShardReport::FAILED) {
    spdlog::info(
        "event=shard assembly={} shard={} state={} bytes={} from_cache={} fetched_bytes={}",
        assembly, update.shard, StateName(update.state), update.size_bytes, update.from_cache,
        update.fetched_bytes);
    if (update.state != v1::ShardReport::READY) return;
    const auto over = failures_.Mended(update.assembly, update.shard);
    if (over.has_value()) LogCount(update.assembly, *over);
    return;
  }
  const v1::ShardFailure& failure = update.failure;
  const RepeatedFailures::Verdict verdict =
      failures_.Failed(update.assembly, update.shard, failure);
  if (verdict.count.has_value()) LogCount(update.assembly, *verdict.count);
  if (!verdict.in_full) {
    spdlog::debug("event=shard assembly={} shard={} state=failed failures={} code={}", assembly,
                  update.shard, update.failures, v1::ShardFailure::Code_Name(failure.code()));
    return;
  }
  // What the server is not told of a file is for whoever reads this log.
  ErrorDetail detail = DetailOf(update.error);
  spdlog::warn(
      "event=shard assembly={} shard={} state=failed failures={} code={} reason={} location={} "
      "expected_md5={} found_md5={} message={}",
      assembly, update.shard, update.failures, v1::ShardFailure::Code_Name(failure.code()),
      failure.reason(), Quoted(failure.location()), Quoted(failure.expected_md5()),
      Quoted(detail.metadata["found_md5"]), Quoted(update.error.message()));
}

void AgentLog::LogCount(const std::string& assembly, const RepeatedFailures::Count& count) {
  spdlog::warn("event=shards_failed assembly={} code={} reason={} count={} shards={} message={}",
               Quoted(ShortName(assembly)), v1::ShardFailure::Code_Name(count.code), count.reason,
               count.count, count.shards,
               count.shards == 0 ? "\"it is over\"" : "\"for the same cause as before\"");
}

void AgentLog::OnWaiting(const std::string& assembly, uint32_t shard, const std::string& location) {
  spdlog::info("event=waiting assembly={} shard={} location={} message=\"waits for a place\"",
               Quoted(ShortName(assembly)), shard, Quoted(location));
}

void AgentLog::OnReady(const std::string& assembly, uint32_t shards, uint64_t bytes) {
  spdlog::info("event=ready assembly={} shards={} bytes={}", Quoted(ShortName(assembly)), shards,
               bytes);
  Ready(assembly);
}

void AgentLog::OnDisconnected(const absl::Status& status) {
  spdlog::warn("event=disconnected code={} message={}{}", absl::StatusCodeToString(status.code()),
               Quoted(status.message()), Offline());
}

void AgentLog::OnReconnected() { spdlog::info("event=reconnected"); }

void AgentLog::OnWarmed(const std::string& assembly, const WarmReport& report) {
  if (!report.status.ok()) {
    spdlog::warn("event=warmed assembly={} warm_bytes={} message={}", Quoted(ShortName(assembly)),
                 report.warm_bytes, Quoted(report.status.message()));
    return;
  }
  spdlog::info("event=warmed assembly={} warm_bytes={} left_bytes={} in_memory={}",
               Quoted(ShortName(assembly)), report.warm_bytes, report.left_bytes, report.in_memory);
}

void AgentLog::OnOffline(const NotedAssembly& noted) {
  offline_ = true;
  spdlog::warn(
      "event=offline assembly={} model_version={} shards={} message=\"no server answers: serving "
      "what this node last knew, verified, and trying on\"",
      Quoted(ShortName(noted.assembly().name())),
      Quoted(ShortModelVersionName(noted.model_version().name())), noted.held().size());
}

void AgentLog::OnNoteFailed(const std::string& assembly, const absl::Status& status) {
  spdlog::warn("event=note_failed assembly={} code={} message={}", Quoted(ShortName(assembly)),
               absl::StatusCodeToString(status.code()),
               Quoted(absl::StrCat(status.message(),
                                   "; an agent that starts without a server won't know of it")));
}

void AgentLog::OnView(const std::string& assembly, const ViewSummary& summary) {
  spdlog::info(
      "event=view assembly={} view={} path={} current={} kept={} links={} files={} bytes={}{}",
      Quoted(ShortName(assembly)), Quoted(summary.path), Quoted(summary.version_path),
      summary.current, summary.kept, std::string(ViewLinksName(summary.links)), summary.files,
      summary.size_bytes, Offline());
}

void AgentLog::OnReadyFailed(const std::string& assembly, const absl::Status& status, bool again) {
  spdlog::warn("event=ready_failed assembly={} again={} code={} reason={} message={}{}",
               Quoted(ShortName(assembly)), again, absl::StatusCodeToString(status.code()),
               ReasonOf(status), Quoted(status.message()), Offline());
}

void AgentLog::OnCommand(const std::string& assembly, const std::string& model_version,
                         const absl::StatusOr<int>& exit_code) {
  const std::string about = absl::StrCat("assembly=", Quoted(ShortName(assembly)),
                                         " model_version=", Quoted(model_version));
  if (!exit_code.ok()) {
    spdlog::warn("event=on_ready {} message={}", about, Quoted(exit_code.status().message()));
  } else if (*exit_code != 0) {
    spdlog::warn("event=on_ready {} exit_code={} message=\"the command failed\"", about,
                 *exit_code);
  } else {
    spdlog::info("event=on_ready {} exit_code=0{}", about, Offline());
  }
}

}  // namespace muster
