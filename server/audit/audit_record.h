// What an audit line says.
#ifndef MUSTER_SERVER_AUDIT_AUDIT_RECORD_H_
#define MUSTER_SERVER_AUDIT_AUDIT_RECORD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace muster {

// One call. Texts may hold anything that a caller sent.
struct AuditRecord {
  absl::Time time;
  // "user/alice", "node/n1", "local", "anonymous"; "" where the call showed what is nobody's.
  std::string actor;
  // "certificate", "token" or "none".
  std::string proof;
  // The certificate's serial number or the token's id.
  std::string credential;
  // As gRPC names it: "ipv4:10.0.0.7:52110".
  std::string peer;
  // "DrainNode".
  std::string method;
  // Full names.
  std::vector<std::string> resources;
  // What decided: "grants[3]: operator on nodes/**", "self".
  std::string rule;
  // False: the call was kept out, and did nothing.
  bool allowed = false;
  // "OK", "PERMISSION_DENIED", …, and the error's reason.
  std::string code;
  std::string reason;
  std::string request_id;
  // What the answer told; 0 where it told none.
  uint64_t revision = 0;
  absl::Duration took;
};

// One line of JSON with its end: {"time":"2026-12-01T00:00:00.123Z","actor":"user/alice",…}. Fields that are empty are
// left out. What is not UTF-8 is shown with U+FFFD.
std::string AuditLine(const AuditRecord& record);

}  // namespace muster

#endif  // MUSTER_SERVER_AUDIT_AUDIT_RECORD_H_
