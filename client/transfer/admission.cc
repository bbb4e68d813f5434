#include "client/transfer/admission.h"

#include <utility>

#include "storage/base/status_macros.h"

namespace muster {

void Admission::Release() {
  if (!place_.has_value()) return;
  book_.Close(*place_);
  gate_->Release(book_.uri(*place_));
  place_.reset();
}

absl::StatusOr<bool> Admission::Take(size_t location, bool wait, const std::stop_token& stop) {
  const absl::StatusOr<bool> granted = gate_->Acquire(book_.uri(location), wait, stop);
  if (absl::IsCancelled(granted.status())) return granted;
  if (!granted.ok()) refused_ = granted.status();
  if (!granted.ok() || *granted) tried_.insert(location);
  if (!granted.ok() || !*granted) return false;
  place_ = location;
  book_.Admit(location);
  return true;
}

// The best location that can be read from at once; suspect ones come after a wait for the others.
absl::StatusOr<bool> Admission::First(const std::stop_token& stop) {
  bool full = false;
  for (size_t location = 0; location < book_.size(); ++location) {
    if (full && book_.suspect(location)) break;
    if (!book_.bounded(location)) return true;
    MUSTER_ASSIGN_OR_RETURN(const bool granted, Take(location, /*wait=*/false, stop));
    if (granted) return true;
    full = true;
  }
  return Another(stop);
}

absl::StatusOr<bool> Admission::Another(const std::stop_token& stop) {
  for (size_t location = 0; location < book_.size(); ++location) {
    if (!book_.bounded(location) || tried_.contains(location)) continue;
    MUSTER_ASSIGN_OR_RETURN(const bool granted, Take(location, /*wait=*/true, stop));
    if (granted) return true;
  }
  return false;
}

absl::StatusOr<bool> Admission::Next(const std::stop_token& stop) {
  const bool first = !std::exchange(begun_, true);
  if (gate_ == nullptr) return first;
  Release();
  MUSTER_ASSIGN_OR_RETURN(const bool opened, first ? First(stop) : Another(stop));
  // Whatever has no bound was open all the time.
  if (opened || !first) return opened;
  for (size_t location = 0; location < book_.size(); ++location) {
    if (!book_.bounded(location)) return true;
  }
  if (!refused_.ok()) return refused_;
  return true;
}

}  // namespace muster
