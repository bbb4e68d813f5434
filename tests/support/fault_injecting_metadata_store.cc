#include "tests/support/fault_injecting_metadata_store.h"

namespace muster {
namespace {

absl::Status InjectedFault() { return absl::InternalError("injected fault: commit failed"); }

absl::Status LostLeadership() {
  return absl::AbortedError("injected fault: this process no longer leads the store");
}

}  // namespace

FaultInjectingMetadataStore::FaultInjectingMetadataStore(MetadataStore& wrapped)
    : wrapped_(wrapped) {}

void FaultInjectingMetadataStore::FailCommit(uint64_t n, Fault fault) {
  MutexLock lock(mutex_);
  until_fault_ = n;
  fault_ = fault;
}

void FaultInjectingMetadataStore::LoseLeadership() {
  MutexLock lock(mutex_);
  leads_ = false;
}

void FaultInjectingMetadataStore::SetFreeBytes(int64_t bytes) {
  MutexLock lock(mutex_);
  free_bytes_ = bytes;
}

uint64_t FaultInjectingMetadataStore::commits() const {
  MutexLock lock(mutex_);
  return commits_;
}

bool FaultInjectingMetadataStore::has_failed() const {
  MutexLock lock(mutex_);
  return has_failed_;
}

MetadataStore::Limits FaultInjectingMetadataStore::limits() const { return wrapped_.limits(); }

absl::StatusOr<std::string> FaultInjectingMetadataStore::Get(absl::string_view key) {
  return wrapped_.Get(key);
}

absl::StatusOr<std::vector<MetadataStore::Row>> FaultInjectingMetadataStore::Scan(
    absl::string_view begin, absl::string_view end, size_t limit) {
  return wrapped_.Scan(begin, end, limit);
}

// Holds the lock over the wrapped store's Commit, so that the n-th one is the same in every run.
absl::Status FaultInjectingMetadataStore::Commit(const MetadataBatch& batch) {
  MutexLock lock(mutex_);
  if (has_failed_) return InjectedFault();
  if (!leads_) return LostLeadership();
  if (until_fault_ == 1) {
    until_fault_ = 0;
    has_failed_ = true;
    if (fault_ == Fault::kBeforeReplies) return wrapped_.Commit(batch);
    // Whatever the wrapped store says, the caller gets the same.
    if (fault_ == Fault::kAfterApply) wrapped_.Commit(batch).IgnoreError();
    return InjectedFault();
  }
  if (until_fault_ > 0) --until_fault_;
  const absl::Status status = wrapped_.Commit(batch);
  if (status.ok()) ++commits_;
  return status;
}

absl::Status FaultInjectingMetadataStore::CheckLeadership() {
  MutexLock lock(mutex_);
  if (has_failed_) return InjectedFault();
  return leads_ ? absl::OkStatus() : LostLeadership();
}

absl::StatusOr<std::optional<int64_t>> FaultInjectingMetadataStore::FreeBytes() {
  {
    MutexLock lock(mutex_);
    if (free_bytes_.has_value()) return free_bytes_;
  }
  return wrapped_.FreeBytes();
}

}  // namespace muster
