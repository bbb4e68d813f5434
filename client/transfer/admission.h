// Which of a shard's locations a pull may read from just now.
#ifndef MUSTER_CLIENT_TRANSFER_ADMISSION_H_
#define MUSTER_CLIENT_TRANSFER_ADMISSION_H_

#include <cstddef>
#include <optional>
#include <set>
#include <stop_token>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/transfer/location_book.h"
#include "client/transfer/read_gate.h"

namespace muster {

// Takes places at bounded locations for one pull, one at a time, so that no two pulls wait for each
// other's. Locations without a bound are always open. Not thread-safe; no step of the pull may run
// during a call.
class Admission {
 public:
  // `gate` may be null: then nobody counts readers. Both outlive the admission.
  Admission(LocationBook& book, ReadGate* gate) : book_(book), gate_(gate) {}
  ~Admission() { Release(); }
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  // Opens locations to read from; blocks while all that are to be trusted are bounded and full.
  // Called again when those have failed, it opens another one; false when there is none.
  // kCancelled; or the gate's error, where nothing at all could be opened.
  absl::StatusOr<bool> Next(const std::stop_token& stop);

 private:
  absl::StatusOr<bool> First(const std::stop_token& stop);
  absl::StatusOr<bool> Another(const std::stop_token& stop);
  absl::StatusOr<bool> Take(size_t location, bool wait, const std::stop_token& stop);
  void Release();

  LocationBook& book_;
  ReadGate* const gate_;
  bool begun_ = false;
  std::set<size_t> tried_;
  std::optional<size_t> place_;
  // Why a location could not be opened.
  absl::Status refused_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_ADMISSION_H_
