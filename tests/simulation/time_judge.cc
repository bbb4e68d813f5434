#include "tests/simulation/time_judge.h"

#include <set>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "server/registry/row_keys.h"
#include "storage/base/limits.h"

namespace muster {
namespace {

constexpr absl::Duration kRequestIdLife = absl::Microseconds(kRequestIdTtlUs);
constexpr absl::Duration kDraftLife = absl::Microseconds(kDraftTtlUs);

std::set<std::string> RequestRows(MetadataStore& store) {
  std::set<std::string> keys;
  const auto rows = store.Scan("q", PrefixEnd("q"), 100'000);
  if (!rows.ok()) return keys;
  for (const MetadataStore::Row& row : *rows) keys.insert(row.key);
  return keys;
}

// Of all that an addition changes.
size_t ContentHashOf(const Version& version) {
  size_t hash = absl::HashOf(version.companions.size(), version.draft->tensors_added(),
                             version.row.content_key().key_id());
  for (const Version::Shard& shard : version.shards) hash = absl::HashOf(hash, shard.row.view());
  return hash;
}

}  // namespace

void TimeJudge::BeforeTick(const Registry& registry, MetadataStore& store, absl::Time now) {
  // The server's time has not moved since the last tick, so what is new is as old as that.
  std::map<std::string, absl::Time> requests;
  for (const std::string& key : RequestRows(store)) {
    const auto known = requests_.find(key);
    requests[key] = known == requests_.end() ? now : known->second;
  }
  requests_ = std::move(requests);
  std::map<VersionUid, KnownDraft> drafts;
  for (const auto& [name, version] : registry.catalogue().by_name()) {
    if (version->draft == nullptr) continue;
    const size_t content = ContentHashOf(*version);
    const auto known = drafts_.find(version->uid);
    const bool same = known != drafts_.end() && known->second.content == content;
    drafts[version->uid] = {same ? known->second.since : now, content};
  }
  drafts_ = std::move(drafts);
}

std::string TimeJudge::AfterTick(const Registry& registry, MetadataStore& store, absl::Time now) {
  const std::set<std::string> left = RequestRows(store);
  for (const auto& [key, since] : requests_) {
    const absl::Duration age = now - since;
    if (left.contains(key) && age >= kRequestIdLife) {
      return absl::StrCat("a request id is kept after ", absl::FormatDuration(age));
    }
    if (!left.contains(key) && age < kRequestIdLife) {
      return absl::StrCat("a request id is forgotten after ", absl::FormatDuration(age));
    }
  }
  for (const auto& [uid, draft] : drafts_) {
    const absl::Duration age = now - draft.since;
    const bool there = registry.catalogue().FindByUid(uid) != nullptr;
    if (there == (age > kDraftLife)) {
      return absl::StrCat("a draft is ", there ? "there" : "gone", " ", absl::FormatDuration(age),
                          " after its last addition");
    }
  }
  return "";
}

}  // namespace muster
