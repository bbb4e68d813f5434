// What Muster's own words mean, in a line, for those who meet them in a help text.
//
// Pure functions; thread-safe.
#ifndef MUSTER_CLIENT_CLI_TERMS_H_
#define MUSTER_CLIENT_CLI_TERMS_H_

#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// A line for each word of ours that `text` uses, in docs/README.md's words; "" where it uses none.
std::string ExplainTerms(absl::string_view text);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_TERMS_H_
