// Sizes and long text as people are shown them, by the server and by the command line alike.
//
// Pure functions; thread-safe.
#ifndef MUSTER_STORAGE_BASE_WORDING_H_
#define MUSTER_STORAGE_BASE_WORDING_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// "0 B", "12.3 MiB".
std::string FormatSize(int64_t bytes);

// `text`, or as much of it as fits into `max_bytes` with "…" at its end. Cut between words, unless
// that would take half of it; no character is cut in two.
std::string ShortText(absl::string_view text, size_t max_bytes);

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_WORDING_H_
