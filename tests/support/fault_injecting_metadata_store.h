// A metadata store whose writes fail when a test says so.
#ifndef MUSTER_TESTS_SUPPORT_FAULT_INJECTING_METADATA_STORE_H_
#define MUSTER_TESTS_SUPPORT_FAULT_INJECTING_METADATA_STORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/mutex.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// Passes every call on to another store, which must outlive it, but for the faults that were asked
// for. To simulate a restart, drop this and wrap the same store again: what it holds is what
// survived. Thread-safe.
class FaultInjectingMetadataStore final : public MetadataStore {
 public:
  enum class Fault {
    // The batch is not written.
    kBeforeApply,
    // The batch is written, but the caller learns that it failed: an unknown outcome.
    kAfterApply,
    // The batch is written and the caller learns so, but the process ends before it can answer
    // anybody: the next CheckLeadership fails.
    kBeforeReplies,
  };

  explicit FaultInjectingMetadataStore(MetadataStore& wrapped);

  // The n-th Commit from here on (1 is the next) fails with kInternal (or as the fault says), and
  // so does every later one, which is not written. Replaces a fault that has not struck yet.
  void FailCommit(uint64_t n, Fault fault);
  // CheckLeadership and every later Commit return kAborted; nothing is written any more.
  void LoseLeadership();
  void SetFreeBytes(int64_t bytes);

  // Commits that returned OK.
  uint64_t commits() const;
  // Whether the fault of FailCommit has struck.
  bool has_failed() const;

  Limits limits() const override;
  absl::StatusOr<std::string> Get(absl::string_view key) override;
  absl::StatusOr<std::vector<Row>> Scan(absl::string_view begin, absl::string_view end,
                                        size_t limit) override;
  absl::Status Commit(const MetadataBatch& batch) override;
  absl::Status CheckLeadership() override;
  absl::StatusOr<std::optional<int64_t>> FreeBytes() override;

 private:
  MetadataStore& wrapped_;
  mutable Mutex mutex_;
  uint64_t commits_ MUSTER_GUARDED_BY(mutex_) = 0;
  // Commits until the fault strikes; 0 when none is due.
  uint64_t until_fault_ MUSTER_GUARDED_BY(mutex_) = 0;
  Fault fault_ MUSTER_GUARDED_BY(mutex_) = Fault::kBeforeApply;
  bool has_failed_ MUSTER_GUARDED_BY(mutex_) = false;
  bool leads_ MUSTER_GUARDED_BY(mutex_) = true;
  std::optional<int64_t> free_bytes_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_FAULT_INJECTING_METADATA_STORE_H_
