#include "storage/metadata/store_marker.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// The value is "muster format=1 cluster=<id>". Every later format keeps the first two words, so
// that a build can distinguish a newer store from a damaged one.
constexpr absl::string_view kMagic = "muster";
constexpr absl::string_view kFormatPrefix = "format=";
constexpr absl::string_view kClusterPrefix = "cluster=";
// The value of the history's row is "muster history=<id>".
constexpr absl::string_view kHistoryPrefix = "muster history=";
constexpr size_t kHistoryIdBytes = 32;

// A condition that fails twice in a row means a store that contradicts itself.
constexpr int kAttemptsMax = 3;

bool IsClusterId(absl::string_view id) {
  return !id.empty() && id.size() <= kClusterIdBytesMax &&
         std::all_of(id.begin(), id.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
         });
}

std::string MarkerValue(absl::string_view cluster_id) {
  return absl::StrCat(kMagic, " ", kFormatPrefix, kStoreFormatVersion, " ", kClusterPrefix,
                      cluster_id);
}

absl::Status DamagedMarker(absl::string_view value) {
  return absl::DataLossError(absl::StrCat("the store's marker row is damaged: \"",
                                          absl::CHexEscape(value.substr(0, 128)),
                                          "\"; restore the store from a backup"));
}

// Gives the cluster id of a marker that this build can read.
absl::StatusOr<std::string> ParseMarker(absl::string_view value) {
  const std::vector<absl::string_view> words = absl::StrSplit(value, ' ');
  uint32_t format = 0;
  if (words.size() < 2 || words[0] != kMagic ||
      words[1].substr(0, kFormatPrefix.size()) != kFormatPrefix ||
      !absl::SimpleAtoi(words[1].substr(kFormatPrefix.size()), &format) || format == 0) {
    return DamagedMarker(value);
  }
  if (format > kStoreFormatVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the store has format version ", format, ", this build reads up to ", kStoreFormatVersion,
        "; run a newer release on it, or use another data directory"));
  }
  if (words.size() != 3 || words[2].substr(0, kClusterPrefix.size()) != kClusterPrefix ||
      !IsClusterId(words[2].substr(kClusterPrefix.size()))) {
    return DamagedMarker(value);
  }
  return std::string(words[2].substr(kClusterPrefix.size()));
}

// kAborted when another process marked the store meanwhile.
absl::StatusOr<std::string> MarkEmptyStore(Random& random, MetadataStore& store,
                                           absl::string_view cluster_id) {
  // No row's key begins with this many 0xff bytes, so this scan looks at all of them.
  MUSTER_ASSIGN_OR_RETURN(std::vector<MetadataStore::Row> rows,
                          store.Scan("", std::string(64, '\xff'), 2));
  // All that a store has which lost everything, and was opened all the same.
  if (!rows.empty() && rows[0].key == kStoreHistoryKey) rows.erase(rows.begin());
  if (!rows.empty() && rows[0].key == kStoreMarkerKey)
    return absl::AbortedError("marked meanwhile");
  if (!rows.empty()) {
    return absl::FailedPreconditionError(
        "the store has rows but no marker, so it is not Muster's; use another data directory");
  }
  const std::string id = cluster_id.empty() ? random.NextId() : std::string(cluster_id);
  MetadataBatch batch;
  batch.conditions.push_back({std::string(kStoreMarkerKey), std::nullopt});
  batch.operations.push_back(MetadataBatch::Put{std::string(kStoreMarkerKey), MarkerValue(id)});
  MUSTER_RETURN_IF_ERROR(store.Commit(batch));
  return id;
}

absl::Status WriteHistory(MetadataStore& store, const std::string& id, bool first) {
  MetadataBatch batch;
  if (first) batch.conditions.push_back({std::string(kStoreHistoryKey), std::nullopt});
  batch.operations.push_back(MetadataBatch::Put{std::string(kStoreHistoryKey), HistoryValue(id)});
  return store.Commit(batch);
}

absl::StatusOr<std::string> CheckCluster(Random& random, MetadataStore& store,
                                         absl::string_view cluster_id) {
  if (!cluster_id.empty() && !IsClusterId(cluster_id)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cluster id \"", absl::CHexEscape(cluster_id.substr(0, 128)),
                     "\" is not 1 to 63 letters, digits, '.', '_' and '-'"));
  }
  for (int attempt = 1;; ++attempt) {
    const absl::StatusOr<std::string> value = store.Get(kStoreMarkerKey);
    if (absl::IsNotFound(value.status())) {
      absl::StatusOr<std::string> marked = MarkEmptyStore(random, store, cluster_id);
      if (absl::IsAborted(marked.status()) && attempt < kAttemptsMax) continue;
      return marked;
    }
    if (!value.ok()) return value.status();
    MUSTER_ASSIGN_OR_RETURN(std::string found, ParseMarker(*value));
    if (!cluster_id.empty() && found != cluster_id) {
      return absl::FailedPreconditionError(
          absl::StrCat("the store belongs to cluster \"", found, "\", not to \"", cluster_id,
                       "\"; ask for cluster \"", found, "\", or use another data directory"));
    }
    return found;
  }
}

}  // namespace

absl::StatusOr<StoreIdentity> CheckStoreMarker(Random& random, MetadataStore& store,
                                               absl::string_view cluster_id) {
  StoreIdentity identity;
  MUSTER_ASSIGN_OR_RETURN(identity.cluster_id, CheckCluster(random, store, cluster_id));
  for (int attempt = 1;; ++attempt) {
    const absl::StatusOr<std::string> value = store.Get(kStoreHistoryKey);
    if (value.ok()) {
      MUSTER_ASSIGN_OR_RETURN(identity.history_id, ParseHistory(*value));
      return identity;
    }
    if (!absl::IsNotFound(value.status())) return value.status();
    const absl::Status begun = WriteHistory(store, random.NextId(), /*first=*/true);
    if (!begun.ok() && !(absl::IsAborted(begun) && attempt < kAttemptsMax)) return begun;
  }
}

absl::StatusOr<std::string> BeginHistory(Random& random, MetadataStore& store) {
  const std::string id = random.NextId();
  MUSTER_RETURN_IF_ERROR(WriteHistory(store, id, /*first=*/false));
  return id;
}

std::string HistoryValue(absl::string_view history_id) {
  return absl::StrCat(kHistoryPrefix, history_id);
}

absl::StatusOr<std::string> ParseHistory(absl::string_view value) {
  absl::string_view id = value;
  if (!absl::ConsumePrefix(&id, kHistoryPrefix) || id.size() != kHistoryIdBytes ||
      id.find_first_not_of("0123456789abcdef") != absl::string_view::npos) {
    return absl::DataLossError(absl::StrCat("the store's history row is damaged: \"",
                                            absl::CHexEscape(value.substr(0, 128)),
                                            "\"; restore the store from a backup"));
  }
  return std::string(id);
}

absl::Status CheckMarkerValue(absl::string_view value) { return ParseMarker(value).status(); }

}  // namespace muster
