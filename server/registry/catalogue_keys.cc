// The content keys of model versions: made, wrapped anew, and gone with their version.

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/catalogue.h"
#include "server/registry/row_keys.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {

namespace v1 = muster::v1;

absl::Status Catalogue::Set(const SetContentKey& command, Transaction& tx) {
  MUSTER_ASSIGN_OR_RETURN(Version * version, FindDraft(command.version));
  if (version->uid != command.uid) {
    return MakeError(absl::StatusCode::kNotFound, reasons::kVersionUnknown,
                     absl::StrCat(command.version, " was deleted and made again meanwhile"),
                     {{"name", command.version}});
  }
  if (version->row.has_content_key()) return absl::OkStatus();
  version->row.set_revision(tx.MarkChanged().value);
  PutContentKey(command.key, *version, tx);
  version->draft->Touch(tx.now_us());
  return absl::OkStatus();
}

absl::Status Catalogue::Rewrap(const RewrapContentKey& command, Transaction& tx) {
  Version* version = FindByUid(command.version);
  if (version == nullptr || !version->row.has_content_key()) return absl::OkStatus();
  const store::WrappedKeyRow& present = version->row.content_key();
  if (present.key_id() != command.key.key_id() || present.master_key_id() != command.from) {
    return absl::OkStatus();
  }
  PutContentKey(command.key, *version, tx);
  return absl::OkStatus();
}

void Catalogue::PutContentKey(const store::WrappedKeyRow& key, Version& version, Transaction& tx) {
  v1::Event event;
  event.set_kind(v1::Event::VERSION_KEY);
  event.set_model_version(version.row.name());
  event.set_old_state(version.row.content_key().master_key_id());
  event.set_new_state(key.master_key_id());
  tx.Tell(std::move(event));
  content_keys_.Remove(version.row.content_key());
  content_keys_.Add(key);
  *version.row.mutable_content_key() = key;
  tx.Put(VersionKey(version.uid), version.row);
}

}  // namespace muster
