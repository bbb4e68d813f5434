#include "client/agent/name_wait.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "storage/base/error_info.h"

namespace muster {
namespace {

// A lease that ended while the other agent was stopped by force is the common case, and the second
// renewal rules out that the agent was stopped between two looks.
constexpr int kRenewalsOfTheLiving = 2;
// A lease may end before its time, as a node is deregistered.
constexpr absl::Duration kMaxLookInterval = absl::Seconds(5);
constexpr absl::Duration kMinLookInterval = absl::Milliseconds(200);

// 0 where the server says none.
uint64_t NumberOf(const ErrorDetail& detail, const char* key) {
  const auto found = detail.metadata.find(key);
  uint64_t number = 0;
  return found != detail.metadata.end() && absl::SimpleAtoi(found->second, &number) ? number : 0;
}

}  // namespace

bool NameWait::Note(const absl::Status& refused, absl::Duration now) {
  const ErrorDetail detail = DetailOf(refused);
  const absl::Duration left = detail.retry_delay.value_or(kMaxLookInterval);
  wait_ = std::clamp(left, kMinLookInterval, kMaxLookInterval);
  if (lease_end_.has_value() && now < *lease_end_) return false;
  const uint64_t epoch = NumberOf(detail, "epoch");
  const uint64_t renewals = NumberOf(detail, "renewals");
  // A server that was overloaded or restarted gives every lease its full time, and counts no renewal.
  const bool alive = epoch != epoch_ || renewals > renewals_;
  if (lease_end_.has_value() && alive) ++renewed_;
  lease_end_ = now + left;
  epoch_ = epoch;
  renewals_ = renewals;
  return true;
}

bool NameWait::in_vain() const { return renewed_ >= kRenewalsOfTheLiving; }

}  // namespace muster
