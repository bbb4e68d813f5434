#include "server/registry/failure_reasons.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/limits.h"
#include "storage/base/wording.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

// A reason is read at a glance; the whole message stands beside the shard (GetShardStatus).
constexpr size_t kMaxShownMessageBytes = 300;

// Shards that failed on one node for one cause.
struct Cause {
  v1::ShardFailure::Code code = v1::ShardFailure::CODE_UNSPECIFIED;
  std::string reason;
  // The one that says most, and its shard.
  const v1::ShardFailure* told = nullptr;
  uint32_t told_shard = 0;
  // Not all of them say the same.
  bool differ = false;
  uint32_t attempts = 0;
  std::vector<uint32_t> shards;
  // Of those that were given up: on another node; here, or nowhere.
  uint32_t elsewhere = 0;
  uint32_t stuck = 0;
};

// What a failure is about is told beside it; the two numbers say it in the same units everywhere.
std::string TextOf(const v1::ShardFailure& failure) {
  if (failure.code() == v1::ShardFailure::NO_SPACE && failure.needed_bytes() > 0) {
    std::string needed = FormatSize(static_cast<int64_t>(failure.needed_bytes()));
    std::string free = FormatSize(static_cast<int64_t>(failure.free_bytes()));
    if (needed == free) {
      needed = absl::StrCat(failure.needed_bytes(), " bytes");
      free = absl::StrCat(failure.free_bytes(), " bytes");
    }
    return absl::StrCat("needs ", needed, " for this model, ", free, " free in its cache");
  }
  std::string text = v1::ShardFailure::Code_Name(failure.code());
  if (!failure.message().empty()) {
    absl::StrAppend(&text, " ", ShortText(failure.message(), kMaxShownMessageBytes));
  }
  return text;
}

class Causes {
 public:
  void Add(uint32_t shard, const v1::ShardFailure& failure, uint32_t elsewhere, uint32_t stuck) {
    Cause& cause = CauseOf(failure);
    if (cause.told == nullptr || failure.message().size() > cause.told->message().size()) {
      if (cause.told != nullptr) NoteDifference(cause, failure);
      cause.told = &failure;
      cause.told_shard = shard;
    } else {
      NoteDifference(cause, failure);
    }
    cause.attempts = std::max(cause.attempts, failure.attempts());
    cause.shards.push_back(shard);
    cause.elsewhere += elsewhere;
    cause.stuck += stuck;
  }

  // Those without a reason join the first of their code that has one.
  std::vector<Cause> Take() {
    std::vector<Cause> causes;
    std::stable_sort(found_.begin(), found_.end(), [](const Cause& a, const Cause& b) {
      return a.reason.empty() < b.reason.empty();
    });
    for (Cause& cause : found_) {
      const auto home = std::find_if(causes.begin(), causes.end(), [&](const Cause& other) {
        return other.code == cause.code && cause.told->message().empty();
      });
      if (home == causes.end()) {
        causes.push_back(std::move(cause));
        continue;
      }
      home->shards.insert(home->shards.end(), cause.shards.begin(), cause.shards.end());
      home->elsewhere += cause.elsewhere;
      home->stuck += cause.stuck;
    }
    for (Cause& cause : causes) std::sort(cause.shards.begin(), cause.shards.end());
    std::sort(causes.begin(), causes.end(),
              [](const Cause& a, const Cause& b) { return a.shards.front() < b.shards.front(); });
    return causes;
  }

 private:
  Cause& CauseOf(const v1::ShardFailure& failure) {
    for (Cause& cause : found_) {
      if (cause.code == failure.code() && cause.reason == failure.reason()) return cause;
    }
    Cause& cause = found_.emplace_back();
    cause.code = failure.code();
    cause.reason = failure.reason();
    return cause;
  }

  // One that was cut, or of which nothing but the code is kept, may say the same.
  static void NoteDifference(Cause& cause, const v1::ShardFailure& failure) {
    if (failure.message().empty() || failure.needed_bytes() > 0) return;
    absl::string_view one = failure.message(), other = cause.told->message();
    const bool cut = absl::ConsumeSuffix(&one, "…") || absl::ConsumeSuffix(&other, "…");
    cause.differ |=
        cut ? !absl::StartsWith(one, other) && !absl::StartsWith(other, one) : one != other;
  }

  std::vector<Cause> found_;
};

// "shard 3, 3 times", "16 shards", "shard 3, and 4 more shards".
std::string WhichShards(const Cause& cause, bool cut) {
  const size_t count = cause.shards.size();
  if (count == 1) {
    const std::string times =
        cause.attempts > 1 ? absl::StrCat(", ", cause.attempts, " times") : std::string();
    return absl::StrCat("shard ", cause.shards.front(), times);
  }
  const char* over = cut ? "over " : "";
  if (!cause.differ) return absl::StrCat(over, count, " shards");
  return absl::StrCat("shard ", cause.told_shard, ", and ", over, count - 1, " more shard",
                      count == 2 ? "" : "s");
}

std::string Fate(const Cause& cause) {
  const auto of_all = [&](uint32_t count) {
    return count == cause.shards.size() ? std::string() : absl::StrCat(count, " of them ");
  };
  std::string text;
  if (cause.elsewhere > 0) {
    absl::StrAppend(&text, "; ", of_all(cause.elsewhere), "given to ",
                    cause.elsewhere == 1 ? "another node" : "other nodes");
  }
  if (cause.stuck > 0) {
    absl::StrAppend(&text, "; no other node has been found that can take ",
                    cause.shards.size() == 1             ? "it"
                    : cause.stuck == cause.shards.size() ? "them"
                                                         : absl::StrCat(cause.stuck, " of them"));
  }
  return text;
}

v1::AssemblyReason ReasonOfCause(const std::string& node, const Cause& cause, bool cut) {
  v1::AssemblyReason reason;
  reason.set_code(v1::AssemblyReason::SHARD_FAILED);
  reason.set_node(node);
  reason.set_failure_code(cause.code);
  reason.set_failure_reason(cause.reason);
  reason.set_needed_bytes(cause.told->needed_bytes());
  reason.set_free_bytes(cause.told->free_bytes());
  reason.set_shard_count(static_cast<uint32_t>(cause.shards.size()));
  reason.mutable_shards()->Add(cause.shards.begin(), cause.shards.end());
  reason.set_message(absl::StrCat(absl::StripPrefix(node, "nodes/"), ": ", TextOf(*cause.told),
                                  " (", WhichShards(cause, cut), ")", Fate(cause)));
  return reason;
}

}  // namespace

std::vector<v1::AssemblyReason> FailureReasons(
    const std::string& node, const Assembly::Member& member,
    const std::function<bool(uint32_t shard)>& held_elsewhere) {
  // Where every node holds all shards, nobody else is looked for.
  const bool movable = member.meaning != ClaimKind::kAll;
  Causes causes;
  size_t looked_at = 0;
  for (const auto& [shard, given_up] : member.given_up) {
    const auto now = member.failures.find(shard);
    const bool here = member.PositionOf(shard) < member.assignments.size();
    const bool elsewhere = !here && held_elsewhere(shard);
    const bool told = now != member.failures.end() && !now->second.message().empty();
    causes.Add(shard, told ? now->second : given_up.failure(), elsewhere ? 1 : 0,
               movable && !elsewhere ? 1 : 0);
    ++looked_at;
  }
  bool cut = false;
  for (const auto& [shard, failure] : member.failures) {
    if (member.given_up.contains(shard)) continue;
    cut = looked_at == kMaxReasonShards;
    if (cut) break;
    causes.Add(shard, failure, 0, 0);
    ++looked_at;
  }
  std::vector<v1::AssemblyReason> reasons;
  for (const Cause& cause : causes.Take()) reasons.push_back(ReasonOfCause(node, cause, cut));
  return reasons;
}

}  // namespace muster
