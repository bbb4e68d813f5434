#include "server/audit/audit_record.h"

#include <nlohmann/json.hpp>

namespace muster {

std::string AuditLine(const AuditRecord& record) {
  nlohmann::ordered_json line;
  const auto add = [&line](const char* key, const std::string& value) {
    if (!value.empty()) line[key] = value;
  };
  line["time"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", record.time, absl::UTCTimeZone());
  add("actor", record.actor);
  add("proof", record.proof);
  add("credential", record.credential);
  add("peer", record.peer);
  line["method"] = record.method;
  if (!record.resources.empty()) line["resources"] = record.resources;
  line["allowed"] = record.allowed;
  add("rule", record.rule);
  add("code", record.code);
  add("reason", record.reason);
  add("request_id", record.request_id);
  if (record.revision > 0) line["revision"] = record.revision;
  line["ms"] = absl::ToInt64Microseconds(record.took) / 1000.0;
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace muster
