#include "server/registry/content_keys.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/registry/limits.h"
#include "server/registry/validation.h"
#include "storage/base/limits.h"

namespace muster {

void ContentKeyCounts::Add(const store::WrappedKeyRow& key) {
  if (!key.key_id().empty()) ++by_master_key_[key.master_key_id()];
}

void ContentKeyCounts::Remove(const store::WrappedKeyRow& key) {
  const auto found = by_master_key_.find(key.master_key_id());
  if (key.key_id().empty() || found == by_master_key_.end()) return;
  if (--found->second == 0) by_master_key_.erase(found);
}

absl::Status CheckKeyOfShard(const store::VersionRow& version, absl::string_view key_id) {
  if (!absl::StartsWith(key_id, kContentKeyIdPrefix)) return absl::OkStatus();
  const std::string& present = version.content_key().key_id();
  if (key_id == present) return absl::OkStatus();
  return InvalidField("key_id", key_id,
                      present.empty()
                          ? absl::StrCat("not one that begins with \"", kContentKeyIdPrefix,
                                         "\", as the model version has no content key")
                          : absl::StrCat("\"", present, "\", the model version's content key"));
}

absl::Status CheckWrappedKey(const store::VersionRow& version) {
  if (!version.has_content_key()) return absl::OkStatus();
  const store::WrappedKeyRow& key = version.content_key();
  if (absl::StartsWith(key.key_id(), kContentKeyIdPrefix) &&
      key.key_id().size() <= kMaxKeyIdBytes && !key.master_key_id().empty() &&
      key.master_key_id().size() <= kMaxKeyIdBytes && !key.wrapped().empty() &&
      key.wrapped().size() <= kMaxWrappedKeyBytes) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrCat("the row of ", version.name(), " is damaged: its content key is none"));
}

}  // namespace muster
