// Secrets on the command line: better not there but in a file.
#ifndef MUSTER_CLIENT_CLI_SECRET_TEXT_H_
#define MUSTER_CLIENT_CLI_SECRET_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// What `value` of the flag is: the text itself, or for "@FILE" what the file holds, without the spaces around it. "" for
// "". kInvalidArgument USAGE: the file can't be read, or holds more than 256 bytes. Never quotes what it read.
absl::StatusOr<std::string> ReadSecretText(absl::string_view flag, const std::string& value);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_SECRET_TEXT_H_
