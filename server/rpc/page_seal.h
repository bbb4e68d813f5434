// Page tokens of callers who do not see the whole of a list: a token may hold the name of an item that they must not
// learn, so they get it encrypted.
#ifndef MUSTER_SERVER_RPC_PAGE_SEAL_H_
#define MUSTER_SERVER_RPC_PAGE_SEAL_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace muster {

// AES-256-GCM (NIST SP 800-38D) under a random key of this process: a token ends with it. Thread-safe.
class PageSeal {
 public:
  PageSeal();

  // URL-safe base64. What `list` says has to be said again to open it.
  std::string Seal(absl::string_view list, absl::string_view plain) const;
  // Nothing for what was not sealed by this process for that list.
  std::optional<std::string> Open(absl::string_view list, absl::string_view sealed) const;

 private:
  std::array<uint8_t, 32> key_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_PAGE_SEAL_H_
