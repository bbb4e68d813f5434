// Colour on terminals that have it.
#ifndef MUSTER_CLIENT_CLI_COLOUR_H_
#define MUSTER_CLIENT_CLI_COLOUR_H_

#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// `text` with its words for states in colour: green for what is as it should be, yellow for what is on its way there, red
// for what is not. Titles of tables stay as they are. Takes texts that were made for people, so that tables, lists and
// sentences needn't know of colour, and whoever prints asks once whether there is any.
std::string WithColours(absl::string_view text);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_COLOUR_H_
