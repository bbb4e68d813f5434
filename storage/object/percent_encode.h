// Percent-encoding as URIs and their queries want it.
#ifndef MUSTER_STORAGE_OBJECT_PERCENT_ENCODE_H_
#define MUSTER_STORAGE_OBJECT_PERCENT_ENCODE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// `plain` with all but letters, digits and the characters in `also_plain` as "%XX".
std::string PercentEncode(absl::string_view plain, absl::string_view also_plain);

}  // namespace muster

#endif  // MUSTER_STORAGE_OBJECT_PERCENT_ENCODE_H_
