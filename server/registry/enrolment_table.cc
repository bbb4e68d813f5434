#include "server/registry/enrolment_table.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "server/registry/limits.h"
#include "server/registry/row_keys.h"
#include "server/registry/timestamps.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {

namespace v1 = muster::v1;

namespace {

constexpr absl::string_view kTokenPrefix = "joinTokens/";
constexpr size_t kDigestBytes = 32;

std::string TimeText(int64_t time_us) {
  return absl::FormatTime(absl::RFC3339_sec, absl::FromUnixMicros(time_us), absl::UTCTimeZone());
}

absl::Status Refused(absl::string_view why) {
  return MakeError(absl::StatusCode::kUnauthenticated, reasons::kJoinTokenRefused,
                   absl::StrCat("the join token is refused: ", why,
                                "; `muster tokens create` makes another one"));
}

absl::Status UsedUp(const store::JoinTokenRow& row) {
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kJoinTokenUsedUp,
                   absl::StrCat("join token ", row.id(), " is used up: it was for ", row.uses(),
                                row.uses() == 1 ? " machine" : " machines",
                                "; `muster tokens create` makes another one"),
                   {{"token", row.id()}, {"uses", absl::StrCat(row.uses())}});
}

absl::Status NotForNode(const store::JoinTokenRow& row, absl::string_view node) {
  return MakeError(
      absl::StatusCode::kPermissionDenied, reasons::kJoinTokenNotForNode,
      absl::StrCat("join token ", row.id(), " is not for ", node, " but for names that are ",
                   row.node_pattern(), ": name the node so, or `muster tokens create` one for it"),
      {{"token", row.id()}, {"node", std::string(node)}, {"node_pattern", row.node_pattern()}});
}

absl::Status NameEnrolled(const store::EnrolledNameRow& row) {
  const std::string until = TimeText(row.valid_until_us());
  return MakeError(
      absl::StatusCode::kFailedPrecondition, reasons::kNodeNameEnrolled,
      absl::StrCat("another machine holds the name ", row.node(), " by a certificate (serial ",
                   row.serial(), ") until ", until,
                   ": give each machine a name of its own, or, where that one has gone, let an "
                   "operator free the name (`muster nodes release-name`)"),
      {{"node", row.node()}, {"serial", row.serial()}, {"valid_until", until}});
}

absl::Status NotEnrolled(absl::string_view node, absl::string_view why) {
  return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kNodeNotEnrolled,
                   absl::StrCat(why, node, ": enrol it again with a join token"),
                   {{"node", std::string(node)}});
}

absl::Status TooMany(absl::string_view what, int64_t limit) {
  return MakeError(absl::StatusCode::kResourceExhausted, reasons::kTooManyItems,
                   absl::StrCat("there are ", limit, " ", what,
                                " already, as many as may be; wait until some expire"),
                   {{"limit", absl::StrCat(limit)}});
}

// In the same time wherever they differ.
bool EqualDigests(absl::string_view a, absl::string_view b) {
  if (a.size() != kDigestBytes || b.size() != kDigestBytes) return false;
  unsigned differ = 0;
  for (size_t i = 0; i < kDigestBytes; ++i) differ |= static_cast<unsigned char>(a[i] ^ b[i]);
  return differ == 0;
}

bool Matches(absl::string_view pattern, absl::string_view node) {
  absl::ConsumePrefix(&node, "nodes/");
  return absl::ConsumeSuffix(&pattern, "*") ? absl::StartsWith(node, pattern) : node == pattern;
}

// Whether this key was enrolled by this token already, so that another certificate takes no use.
bool IsRepeat(const store::EnrolledNameRow* row, const EnrolNode& command) {
  return row != nullptr && row->token_id() == command.token_id &&
         row->key_sha256() == command.key_sha256;
}

}  // namespace

const store::EnrolledNameRow* EnrolmentTable::FindName(absl::string_view node) const {
  const auto found = names_.find(node);
  return found == names_.end() ? nullptr : &found->second;
}

v1::JoinToken EnrolmentTable::Describe(const store::JoinTokenRow& row) const {
  v1::JoinToken token;
  token.set_name(absl::StrCat(kTokenPrefix, row.id()));
  token.set_node_pattern(row.node_pattern());
  token.set_uses(row.uses());
  token.set_used(row.used());
  *token.mutable_create_time() = ToTimestamp(row.create_time_us());
  *token.mutable_expire_time() = ToTimestamp(row.expire_time_us());
  return token;
}

bool EnrolmentTable::HasEnded(const store::JoinTokenRow& row) const {
  return now_us_ >= row.due_us() || wall_us_ >= row.expire_time_us();
}

bool EnrolmentTable::Holds(const store::EnrolledNameRow& row) const {
  return wall_us_ < row.valid_until_us();
}

absl::Status EnrolmentTable::CheckEnrol(const EnrolNode& command) const {
  // What nothing is the digest of: an id that is not there is compared all the same.
  static const auto* const nobody = new std::string(kDigestBytes, '\0');
  const auto found = tokens_.find(command.token_id);
  const bool known = found != tokens_.end();
  const bool equal = EqualDigests(command.token_sha256, known ? found->second.sha256() : *nobody);
  if (!known || !equal) return Refused("there is no such token: it was mistyped, deleted or ended");
  const store::JoinTokenRow& token = found->second;
  if (HasEnded(token))
    return Refused(absl::StrCat("it ended at ", TimeText(token.expire_time_us())));
  if (!Matches(token.node_pattern(), command.node)) return NotForNode(token, command.node);
  // Who asks before the key is known learns of the rest when it is.
  if (command.key_sha256.empty()) return absl::OkStatus();
  const store::EnrolledNameRow* held = FindName(command.node);
  if (held != nullptr && Holds(*held) && held->key_sha256() != command.key_sha256) {
    return NameEnrolled(*held);
  }
  if (IsRepeat(held, command)) return absl::OkStatus();
  if (token.used() >= token.uses()) return UsedUp(token);
  if (held == nullptr && names_.size() >= static_cast<size_t>(kMaxEnrolledNames)) {
    return TooMany("names that certificates hold", kMaxEnrolledNames);
  }
  return absl::OkStatus();
}

absl::Status EnrolmentTable::CheckRenew(const RenewNode& command) const {
  const store::EnrolledNameRow* held = FindName(command.node);
  if (held == nullptr) return NotEnrolled(command.node, "no certificate of this server holds ");
  // A connection that shows no certificate has no digest, and neither has a name that was never renewed.
  const std::string& shown = command.shown_key_sha256;
  if (EqualDigests(shown, held->key_sha256()) || EqualDigests(shown, held->previous_key_sha256())) {
    return absl::OkStatus();
  }
  return NotEnrolled(command.node, "the certificate that was shown is not the one that holds ");
}

absl::Status EnrolmentTable::Add(const AddJoinToken& command, Transaction& tx) {
  if (tokens_.size() >= static_cast<size_t>(kMaxJoinTokens)) {
    return TooMany("join tokens", kMaxJoinTokens);
  }
  if (tokens_.contains(command.id)) {
    return absl::InternalError(absl::StrCat("the id ", command.id, " was drawn twice; try again"));
  }
  tx.MarkChanged();
  store::JoinTokenRow row;
  row.set_id(command.id);
  row.set_sha256(command.sha256);
  row.set_node_pattern(command.node_pattern);
  row.set_uses(command.uses);
  row.set_create_time_us(command.create_time_us);
  row.set_expire_time_us(command.create_time_us + command.ttl_us);
  row.set_due_us(tx.now_us() + command.ttl_us);
  tx.Put(JoinTokenKey(row.id()), row);
  Load(std::move(row));
  return absl::OkStatus();
}

absl::Status EnrolmentTable::Delete(const v1::DeleteJoinTokenRequest& request, Transaction& tx) {
  absl::string_view id = request.name();
  const bool named = absl::ConsumePrefix(&id, kTokenPrefix);
  const auto found = named ? tokens_.find(std::string(id)) : tokens_.end();
  if (found == tokens_.end()) {
    return MakeError(absl::StatusCode::kNotFound, reasons::kJoinTokenUnknown,
                     absl::StrCat("there is no ", kTokenPrefix,
                                  named && id.size() <= kMaxNameLength ? id : "{id} of that name",
                                  "; `muster tokens list` shows those there are"));
  }
  if (request.validate_only()) return absl::OkStatus();
  tx.MarkChanged();
  tx.Delete(JoinTokenKey(found->first));
  tokens_.erase(found);
  return absl::OkStatus();
}

absl::Status EnrolmentTable::Enrol(const EnrolNode& command, Transaction& tx) {
  MUSTER_RETURN_IF_ERROR(CheckEnrol(command));
  const store::EnrolledNameRow* held = FindName(command.node);
  tx.MarkChanged();
  if (!IsRepeat(held, command)) {
    store::JoinTokenRow& token = tokens_.find(command.token_id)->second;
    token.set_used(token.used() + 1);
    tx.Put(JoinTokenKey(token.id()), token);
  }
  store::EnrolledNameRow row;
  row.set_node(command.node);
  row.set_key_sha256(command.key_sha256);
  row.set_serial(command.serial);
  row.set_token_id(command.token_id);
  row.set_valid_until_us(command.valid_until_us);
  Put(std::move(row), tx);
  return absl::OkStatus();
}

absl::Status EnrolmentTable::Renew(const RenewNode& command, Transaction& tx) {
  MUSTER_RETURN_IF_ERROR(CheckRenew(command));
  tx.MarkChanged();
  store::EnrolledNameRow row = *FindName(command.node);
  // The one that was shown stays good for a repeat: its owner may never have seen the answer.
  row.set_previous_key_sha256(command.shown_key_sha256);
  row.set_key_sha256(command.key_sha256);
  row.set_serial(command.serial);
  row.set_valid_until_us(command.valid_until_us);
  Put(std::move(row), tx);
  return absl::OkStatus();
}

absl::Status EnrolmentTable::Release(const v1::ReleaseNameRequest& request, Transaction& tx,
                                     v1::ReleaseNameResponse& reply) {
  MUSTER_RETURN_IF_ERROR(ParseNodeName(request.node()).status());
  const store::EnrolledNameRow* held = FindName(request.node());
  if (held == nullptr) {
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kNodeNotEnrolled,
                     absl::StrCat("no certificate of this server holds ", request.node(),
                                  ": there is nothing to free"),
                     {{"node", request.node()}});
  }
  reply.set_serial(held->serial());
  *reply.mutable_valid_until() = ToTimestamp(held->valid_until_us());
  if (request.validate_only()) return absl::OkStatus();
  tx.MarkChanged();
  ForgetName(request.node(), tx);
  return absl::OkStatus();
}

void EnrolmentTable::Tick(Transaction& tx) {
  now_us_ = tx.now_us();
  wall_us_ = tx.wall_us();
  std::vector<std::string> ended;
  for (const auto& [id, row] : tokens_) {
    if (now_us_ >= row.due_us() && ended.size() < kMaxForgottenEnrolments) ended.push_back(id);
  }
  for (const std::string& id : ended) {
    tx.MarkChanged();
    tx.Delete(JoinTokenKey(id));
    tokens_.erase(id);
  }
  ended.clear();
  size_t seen = 0;
  for (const auto& [due_us, node] : name_dues_) {
    if (due_us > now_us_ || ++seen > kMaxForgottenEnrolments) break;
    // A clock that was set back: the certificate counts again.
    if (!Holds(names_.find(node)->second)) ended.push_back(node);
  }
  for (const std::string& node : ended) {
    tx.MarkChanged();
    ForgetName(node, tx);
  }
}

void EnrolmentTable::Put(store::EnrolledNameRow row, Transaction& tx) {
  row.set_due_us(tx.now_us() + std::max<int64_t>(row.valid_until_us() - tx.wall_us(), 0));
  tx.Put(EnrolledNameKey(row.node()), row);
  if (const store::EnrolledNameRow* before = FindName(row.node())) {
    name_dues_.erase({before->due_us(), before->node()});
  }
  Load(std::move(row));
}

void EnrolmentTable::ForgetName(absl::string_view node, Transaction& tx) {
  const auto found = names_.find(node);
  tx.Delete(EnrolledNameKey(node));
  name_dues_.erase({found->second.due_us(), found->second.node()});
  names_.erase(found);
}

void EnrolmentTable::Load(store::JoinTokenRow row) {
  std::string id = row.id();
  tokens_[std::move(id)] = std::move(row);
}

void EnrolmentTable::Load(store::EnrolledNameRow row) {
  name_dues_.emplace(row.due_us(), row.node());
  std::string node = row.node();
  names_[std::move(node)] = std::move(row);
}

}  // namespace muster
