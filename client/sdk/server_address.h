// The address of a server, as people write it.
//
// Pure functions; thread-safe.
#ifndef MUSTER_CLIENT_SDK_SERVER_ADDRESS_H_
#define MUSTER_CLIENT_SDK_SERVER_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace muster {

// "host:port" of "host:port", "host", "http://host:port/" and "[::1]:7070"; the port is 7070 where
// none is named. kInvalidArgument INVALID_SERVER says what is wrong.
absl::StatusOr<std::string> ParseServerAddress(absl::string_view text);

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_SERVER_ADDRESS_H_
