// Microseconds since 1970, as the rows keep them, and the well-known types of the wire.
#ifndef MUSTER_SERVER_REGISTRY_TIMESTAMPS_H_
#define MUSTER_SERVER_REGISTRY_TIMESTAMPS_H_

#include <cstdint>

#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace muster {

inline google::protobuf::Timestamp ToTimestamp(int64_t time_us) {
  google::protobuf::Timestamp out;
  out.set_seconds(time_us / 1'000'000);
  out.set_nanos(static_cast<int32_t>(time_us % 1'000'000 * 1'000));
  return out;
}

inline google::protobuf::Duration ToDuration(int64_t us) {
  google::protobuf::Duration out;
  out.set_seconds(us / 1'000'000);
  out.set_nanos(static_cast<int32_t>(us % 1'000'000 * 1'000));
  return out;
}

inline int64_t FromDuration(const google::protobuf::Duration& duration) {
  return duration.seconds() * 1'000'000 + duration.nanos() / 1'000;
}

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_TIMESTAMPS_H_
