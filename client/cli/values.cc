#include "client/cli/values.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/placement_policy.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

constexpr absl::string_view kSizeExample = "write a size such as 80GiB, 1.5GB or 4096";
constexpr absl::string_view kDurationExample = "write a duration such as 10s, 500ms or 1h30m";
constexpr absl::string_view kShardsExample = "write shards such as 0,3-5";
constexpr absl::string_view kClaimExample =
    "write any, all, shards such as 0,3-5, or ranks such as ranks:0-7";
constexpr absl::string_view kRanksPrefix = "ranks:";
// Beyond it a sum of two sizes would not fit.
constexpr double kMaxSize = 0x1.0p62;
constexpr absl::Duration kMaxDuration = absl::Hours(24 * 366);

absl::Status RefuseValue(absl::string_view text, absl::string_view what,
                         absl::string_view example) {
  return UsageError(
      absl::StrCat("\"", Printable(text.substr(0, 100)), "\" is ", what, "; ", example));
}

// The factor of a unit in lower case; 0 for an unknown one.
double UnitFactor(absl::string_view unit) {
  if (unit.empty() || unit == "b") return 1;
  constexpr absl::string_view kPrefixes = "kmgtp";
  const size_t power = kPrefixes.find(unit[0]);
  if (power == absl::string_view::npos) return 0;
  const absl::string_view rest = unit.substr(1);
  if (rest.empty() || rest == "i" || rest == "ib") {
    return std::pow(1024.0, static_cast<double>(power + 1));
  }
  return rest == "b" ? std::pow(1000.0, static_cast<double>(power + 1)) : 0;
}

// Digits only: no sign and no spaces.
template <typename Number>
bool ParseIndex(absl::string_view text, Number& index) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }) &&
         absl::SimpleAtoi(text, &index);
}

std::vector<uint32_t> Sorted(const google::protobuf::RepeatedField<uint32_t>& indices) {
  std::vector<uint32_t> sorted(indices.begin(), indices.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}  // namespace

absl::Status UsageError(absl::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, reasons::kUsage, message);
}

absl::StatusOr<int64_t> ParseSize(absl::string_view text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
  const size_t split = std::min(trimmed.find_first_not_of("0123456789."), trimmed.size());
  const std::string unit = absl::AsciiStrToLower(absl::StripAsciiWhitespace(trimmed.substr(split)));
  const double factor = UnitFactor(unit);
  double number = 0;
  if (split == 0 || factor == 0 || !absl::SimpleAtod(trimmed.substr(0, split), &number)) {
    return RefuseValue(text, "no size", kSizeExample);
  }
  const double bytes = std::round(number * factor);
  if (bytes >= kMaxSize) return RefuseValue(text, "more than is possible", kSizeExample);
  // Plain numbers are exact, also where a double is not.
  int64_t exact = 0;
  if (factor == 1 && absl::SimpleAtoi(trimmed.substr(0, split), &exact)) return exact;
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<int64_t> ParsePieceSize(absl::string_view text) {
  MUSTER_ASSIGN_OR_RETURN(const int64_t bytes, ParseSize(text));
  if (bytes >= kMinPieceSizeBytes && bytes <= kMaxPieceSizeBytes && (bytes & (bytes - 1)) == 0) {
    return bytes;
  }
  return UsageError(absl::StrCat("piece size ", text,
                                 " is not one of 1MiB, 2MiB, 4MiB, 8MiB, 16MiB, 32MiB or 64MiB"));
}

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
  absl::Duration duration;
  double seconds = 0;
  const bool starts_well =
      !trimmed.empty() &&
      (absl::ascii_isdigit(static_cast<unsigned char>(trimmed[0])) || trimmed[0] == '.');
  if (starts_well && absl::SimpleAtod(trimmed, &seconds)) {
    duration = absl::Seconds(seconds);
  } else if (!starts_well || !absl::ParseDuration(std::string(trimmed), &duration)) {
    return RefuseValue(text, "no duration", kDurationExample);
  }
  if (duration <= absl::ZeroDuration()) return RefuseValue(text, "not positive", kDurationExample);
  if (duration > kMaxDuration) return RefuseValue(text, "longer than a year", kDurationExample);
  return duration;
}

absl::StatusOr<std::vector<uint32_t>> ParseShardList(absl::string_view text) {
  std::vector<uint32_t> shards;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> ends = absl::StrSplit(part, '-');
    uint32_t first = 0;
    if (ends.size() > 2 || !ParseIndex(ends[0], first)) {
      return RefuseValue(text, "not a list of shards", kShardsExample);
    }
    uint32_t last = first;
    if (ends.size() == 2 && !ParseIndex(ends[1], last)) {
      return RefuseValue(text, "not a list of shards", kShardsExample);
    }
    if (last < first)
      return RefuseValue(part, "a range that ends before it begins", kShardsExample);
    if (last >= kMaxShardsPerVersion) {
      return RefuseValue(part,
                         absl::StrCat("beyond the last possible shard, ", kMaxShardsPerVersion - 1),
                         kShardsExample);
    }
    if (shards.size() + (last - first) > 2 * size_t{kMaxShardsPerVersion}) {
      return RefuseValue(text, "a list with too many repeats", kShardsExample);
    }
    for (uint32_t shard = first; shard <= last; ++shard) shards.push_back(shard);
  }
  std::sort(shards.begin(), shards.end());
  shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
  return shards;
}

absl::StatusOr<uint64_t> ParseRevision(absl::string_view text) {
  uint64_t revision = 0;
  if (!ParseIndex(text, revision)) return RefuseValue(text, "no revision", "write one such as 412");
  return revision;
}

absl::StatusOr<v1::Claim> ParseClaim(absl::string_view text) {
  v1::Claim claim;
  if (text == "any") {
    claim.set_kind(v1::Claim::ANY);
    return claim;
  }
  if (text == "all") {
    claim.set_kind(v1::Claim::ALL);
    return claim;
  }
  const bool ranks = absl::StartsWith(text, kRanksPrefix);
  // Each rank has a shard of its own at least, so that the bound of shards will do for both.
  const auto list = ParseShardList(ranks ? text.substr(kRanksPrefix.size()) : text);
  if (!list.ok()) return RefuseValue(text, "no claim", kClaimExample);
  claim.set_kind(ranks ? v1::Claim::RANKS : v1::Claim::SHARDS);
  (ranks ? claim.mutable_ranks() : claim.mutable_shards())->Add(list->begin(), list->end());
  return claim;
}

namespace {

// "full, balanced … or ranked".
std::string PolicyNames() {
  std::string names;
  const absl::Span<const PolicyTraits> policies = PlacementPolicies();
  for (size_t i = 0; i < policies.size(); ++i) {
    const absl::string_view before = i == 0 ? "" : i + 1 == policies.size() ? " or " : ", ";
    absl::StrAppend(&names, before, absl::AsciiStrToLower(policies[i].name));
  }
  return names;
}

}  // namespace

absl::StatusOr<v1::Assembly::Policy> ParsePolicy(absl::string_view text) {
  v1::Assembly::Policy policy = v1::Assembly::POLICY_UNSPECIFIED;
  if (!v1::Assembly::Policy_Parse(absl::AsciiStrToUpper(text), &policy) ||
      policy == v1::Assembly::POLICY_UNSPECIFIED) {
    return RefuseValue(text, "no policy", absl::StrCat("write ", PolicyNames()));
  }
  return policy;
}

absl::StatusOr<std::map<std::string, std::string>> ParseLabels(
    const std::vector<std::string>& texts) {
  std::map<std::string, std::string> labels;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return RefuseValue(text, "no label", "write a label such as rack=r12");
    }
    const std::string value = text.substr(equals + 1);
    const auto [it, added] = labels.emplace(text.substr(0, equals), value);
    if (!added && it->second != value) {
      return RefuseValue(text, absl::StrCat("a second value of label ", Printable(it->first)),
                         "a label has one value");
    }
  }
  return labels;
}

absl::StatusOr<std::string> ParseDestination(absl::string_view text,
                                             absl::string_view working_directory) {
  if (text.empty()) return UsageError("the destination is empty; write file:///DIR");
  if (absl::StrContains(text, "://")) {
    MUSTER_RETURN_IF_ERROR(ParseUri(text).status());
    return std::string(text);
  }
  const std::filesystem::path path =
      std::filesystem::path(std::string(working_directory)) / std::string(text);
  std::string uri = FileUri(path.lexically_normal().string());
  MUSTER_RETURN_IF_ERROR(ParseUri(uri).status());
  return uri;
}

std::string CountOf(uint64_t count, absl::string_view singular) {
  return absl::StrCat(count, " ", singular, count == 1 ? "" : "s");
}

std::string HumanDuration(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration + absl::Milliseconds(500));
  if (seconds < 60) return absl::StrCat(std::max<int64_t>(seconds, 0), " s");
  if (seconds < 3600) return absl::StrCat(seconds / 60, " min ", seconds % 60, " s");
  if (seconds < 48 * 3600) {
    return absl::StrCat(seconds / 3600, " h ", seconds % 3600 / 60, " min");
  }
  return absl::StrCat(seconds / (24 * 3600), " d");
}

std::string FormatShardList(const std::vector<uint32_t>& shards) {
  std::vector<std::string> runs;
  for (size_t i = 0; i < shards.size();) {
    size_t end = i + 1;
    while (end < shards.size() && shards[end] == shards[end - 1] + 1) ++end;
    runs.push_back(end == i + 1 ? absl::StrCat(shards[i])
                                : absl::StrCat(shards[i], "-", shards[end - 1]));
    i = end;
  }
  return absl::StrJoin(runs, ",");
}

std::string FormatClaim(const v1::Claim& claim) {
  switch (claim.kind()) {
    case v1::Claim::ANY:
      return "any";
    case v1::Claim::ALL:
      return "all";
    case v1::Claim::SHARDS:
      return FormatShardList(Sorted(claim.shards()));
    case v1::Claim::RANKS:
      return absl::StrCat(kRanksPrefix, FormatShardList(Sorted(claim.ranks())));
    default:
      return "-";
  }
}

std::string Printable(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    // U+0080 to U+009F are controls that some terminals obey.
    const bool upper_control = byte == 0xC2 && next >= 0x80 && next <= 0x9F;
    if (byte < 0x20 || byte == 0x7F || upper_control) {
      out.push_back('?');
      if (upper_control) ++i;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

}  // namespace muster
