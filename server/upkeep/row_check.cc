#include "server/upkeep/row_check.h"

#include <cstddef>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "muster/store/rows.pb.h"
#include "server/registry/content_keys.h"
#include "server/registry/row_keys.h"
#include "storage/base/md5.h"
#include "storage/metadata/store_marker.h"

namespace muster {
namespace {

constexpr size_t kDigestBytes = sizeof(Md5Digest);
constexpr size_t kSha256Bytes = 32;
constexpr size_t kShownKeyBytes = 64;
constexpr size_t kNumberBytes = 8;

// Says what is wrong with a value, "" for nothing.
using CheckValue = std::string (*)(absl::string_view key, const std::string& value);

template <typename Row>
std::string CheckMessage(absl::string_view, const std::string& value) {
  Row row;
  return row.ParseFromString(value) ? "" : absl::StrCat("is no ", Row::descriptor()->name());
}

bool IsDigest(const std::string& bytes, size_t size) {
  return bytes.empty() || bytes.size() == size;
}

std::string CheckShard(absl::string_view, const std::string& value) {
  store::ShardRow row;
  if (!row.ParseFromString(value)) return "is no ShardRow";
  if (!IsDigest(row.md5(), kDigestBytes) || !IsDigest(row.root(), kDigestBytes) ||
      !IsDigest(row.sha256(), kSha256Bytes)) {
    return "has a digest of another length";
  }
  if (row.md5().empty() && row.root().empty()) return "has neither an MD5 nor a root";
  return "";
}

std::string CheckPieces(absl::string_view, const std::string& value) {
  store::PiecesRow row;
  if (!row.ParseFromString(value)) return "is no PiecesRow";
  return row.md5s().size() % kDigestBytes == 0 ? "" : "has a digest of another length";
}

std::string CheckInventory(absl::string_view, const std::string& value) {
  store::InventoryRow row;
  if (!row.ParseFromString(value)) return "is no InventoryRow";
  return row.digests().size() % kDigestBytes == 0 ? "" : "has a digest of another length";
}

std::string CheckVersion(absl::string_view key, const std::string& value) {
  store::VersionRow row;
  if (!row.ParseFromString(value)) return "is no VersionRow";
  if (VersionKey(VersionUid(row.uid())) != key) return "is of another version";
  return CheckWrappedKey(row).ok() ? "" : "has a content key that is none";
}

std::string CheckNode(absl::string_view key, const std::string& value) {
  store::NodeRow row;
  if (!row.ParseFromString(value)) return "is no NodeRow";
  return NodeKey(NodeUid(row.uid())) == key ? "" : "is of another node";
}

std::string CheckAssembly(absl::string_view key, const std::string& value) {
  store::AssemblyRow row;
  if (!row.ParseFromString(value)) return "is no AssemblyRow";
  return AssemblyKey(AssemblyUid(row.uid())) == key ? "" : "is of another assembly";
}

std::string CheckRequest(absl::string_view key, const std::string& value) {
  store::RequestRow row;
  if (!row.ParseFromString(value)) return "is no RequestRow";
  return RequestKey(row.expire_time_us(), row.request_id()) == key ? "" : "is of another request";
}

std::string CheckJoinToken(absl::string_view key, const std::string& value) {
  store::JoinTokenRow row;
  if (!row.ParseFromString(value)) return "is no JoinTokenRow";
  if (row.sha256().size() != kSha256Bytes) return "has a digest of another length";
  return JoinTokenKey(row.id()) == key ? "" : "is of another join token";
}

std::string CheckEnrolledName(absl::string_view key, const std::string& value) {
  store::EnrolledNameRow row;
  if (!row.ParseFromString(value)) return "is no EnrolledNameRow";
  if (row.key_sha256().size() != kSha256Bytes ||
      !IsDigest(row.previous_key_sha256(), kSha256Bytes)) {
    return "has a digest of another length";
  }
  return EnrolledNameKey(row.node()) == key ? "" : "is of another node";
}

std::string CheckMarker(absl::string_view, const std::string& value) {
  return std::string(CheckMarkerValue(value).message());
}

std::string CheckHistory(absl::string_view, const std::string& value) {
  return std::string(ParseHistory(value).status().message());
}

struct Kind {
  absl::string_view name;
  CheckValue check;
};

std::optional<Kind> KindOfSingleRow(absl::string_view key) {
  if (key == kStoreMarkerKey) return Kind{"marker", CheckMarker};
  if (key == kStoreHistoryKey) return Kind{"history", CheckHistory};
  if (key == RevisionKey()) return Kind{"RevisionRow", CheckMessage<store::RevisionRow>};
  if (key == EventLogKey()) return Kind{"EventLogRow", CheckMessage<store::EventLogRow>};
  return std::nullopt;
}

std::optional<Kind> KindOfAssemblyRow(absl::string_view key) {
  const std::optional<AssemblyRowKey> parsed = ParseAssemblyRowKey(key);
  if (!parsed.has_value()) return std::nullopt;
  if (parsed->kind == 'm') return Kind{"MemberRow", CheckMessage<store::MemberRow>};
  if (parsed->kind == 'p') return Kind{"AssignmentRow", CheckMessage<store::AssignmentRow>};
  return Kind{"ReadinessRow", CheckMessage<store::ReadinessRow>};
}

// By the letter of the key, where its length is that of a letter and `numbers` numbers, or more where
// a text follows.
std::optional<Kind> KindOfNumbered(absl::string_view key) {
  const auto has = [&key](size_t bytes) { return key.size() == 1 + bytes; };
  const auto has_text_behind = [&key](size_t bytes) { return key.size() > 1 + bytes; };
  constexpr size_t kHalf = kNumberBytes / 2;
  switch (key[0]) {
    case 'a':
      if (has(kNumberBytes)) return Kind{"AssemblyRow", CheckAssembly};
      break;
    case 'c':
      if (has_text_behind(kNumberBytes))
        return Kind{"CompanionRow", CheckMessage<store::CompanionRow>};
      break;
    case 'e':
      if (ParseEventsKey(key).has_value()) return Kind{"EventsRow", CheckMessage<store::EventsRow>};
      break;
    case 'h':
      if (has_text_behind(kNumberBytes + kHalf)) {
        return Kind{"LocationHealthRow", CheckMessage<store::LocationHealthRow>};
      }
      break;
    case 'i':
      if (has(kNumberBytes)) return Kind{"InventoryRow", CheckInventory};
      break;
    case 'j':
      if (has_text_behind(0)) return Kind{"JoinTokenRow", CheckJoinToken};
      break;
    case 'k':
      if (ParseEventRunKey(key).has_value())
        return Kind{"EventRunRow", CheckMessage<store::EventRunRow>};
      break;
    case 'm':
      if (has_text_behind(0)) return Kind{"EnrolledNameRow", CheckEnrolledName};
      break;
    case 'n':
      if (has(kNumberBytes)) return Kind{"NodeRow", CheckNode};
      break;
    case 'p':
      if (has(2 * kNumberBytes)) return Kind{"PiecesRow", CheckPieces};
      break;
    case 'q':
      if (has_text_behind(kNumberBytes)) return Kind{"RequestRow", CheckRequest};
      break;
    case 's':
      if (ParseShardKey(key).has_value()) return Kind{"ShardRow", CheckShard};
      break;
    case 't':
      if (ParseTensorsKey(key).has_value())
        return Kind{"TensorsRow", CheckMessage<store::TensorsRow>};
      break;
    case 'v':
      if (has(kNumberBytes)) return Kind{"VersionRow", CheckVersion};
      break;
    default:
      break;
  }
  return std::nullopt;
}

std::optional<Kind> KindOf(absl::string_view key) {
  if (key.empty()) return std::nullopt;
  if (key[0] == '!') return KindOfSingleRow(key);
  if (key[0] == 'b') return KindOfAssemblyRow(key);
  return KindOfNumbered(key);
}

}  // namespace

absl::string_view RowKind(absl::string_view key) {
  const std::optional<Kind> kind = KindOf(key);
  return kind.has_value() ? kind->name : "";
}

absl::Status CheckRow(absl::string_view key, const std::string& value) {
  const std::optional<Kind> kind = KindOf(key);
  const std::string wrong =
      kind.has_value() ? kind->check(key, value) : "has a key that no row has";
  if (wrong.empty()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("row \"", absl::CHexEscape(key.substr(0, kShownKeyBytes)), "\" ",
                   kind.has_value() ? absl::StrCat("(", kind->name, ") ") : "", wrong));
}

}  // namespace muster
