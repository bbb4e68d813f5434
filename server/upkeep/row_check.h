// Whether a row of the store is what its key says.
#ifndef MUSTER_SERVER_UPKEEP_ROW_CHECK_H_
#define MUSTER_SERVER_UPKEEP_ROW_CHECK_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace muster {

// What a row of that key holds, such as "ShardRow"; "" where no row has such a key. Thread-safe.
absl::string_view RowKind(absl::string_view key);

// kDataLoss, with the key and what is wrong, unless `value` can be read as the row of `key`.
// Thread-safe.
absl::Status CheckRow(absl::string_view key, const std::string& value);

}  // namespace muster

#endif  // MUSTER_SERVER_UPKEEP_ROW_CHECK_H_
