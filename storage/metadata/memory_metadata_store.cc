#include "storage/metadata/memory_metadata_store.h"

#include <map>
#include <string>

#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/metadata/batch_limits.h"

namespace muster {
namespace {

// std::string compares as unsigned bytes, which is the order that the interface asks for.
using Rows = std::map<std::string, std::string>;

class MemoryMetadataStore final : public MetadataStore {
 public:
  explicit MemoryMetadataStore(const Limits& limits) : limits_(limits) {}

  Limits limits() const override { return limits_; }

  absl::StatusOr<std::string> Get(absl::string_view key) override {
    ReaderLock lock(mutex_);
    const auto row = rows_.find(std::string(key));
    if (row == rows_.end()) return absl::NotFoundError("no such row");
    return row->second;
  }

  absl::StatusOr<std::vector<Row>> Scan(absl::string_view begin, absl::string_view end,
                                        size_t limit) override {
    MUSTER_RETURN_IF_ERROR(CheckScanLimit(limit));
    std::vector<Row> found;
    ReaderLock lock(mutex_);
    for (auto row = rows_.lower_bound(std::string(begin));
         row != rows_.end() && row->first < end && found.size() < limit; ++row) {
      found.push_back({row->first, row->second});
    }
    return found;
  }

  absl::Status Commit(const MetadataBatch& batch) override {
    MUSTER_RETURN_IF_ERROR(CheckBatch(batch, limits_));
    WriterLock lock(mutex_);
    for (const MetadataBatch::Condition& condition : batch.conditions) {
      if (!Holds(condition)) return absl::AbortedError("a condition of the batch does not hold");
    }
    for (const MetadataBatch::Operation& operation : batch.operations) {
      std::visit([this](const auto& step) { Apply(step); }, operation);
    }
    return absl::OkStatus();
  }

  absl::Status CheckLeadership() override { return absl::OkStatus(); }

  absl::StatusOr<std::optional<int64_t>> FreeBytes() override { return std::nullopt; }

 private:
  bool Holds(const MetadataBatch::Condition& condition) const MUSTER_REQUIRES_SHARED(mutex_) {
    const auto row = rows_.find(condition.key);
    if (row == rows_.end()) return !condition.value.has_value();
    return condition.value.has_value() && row->second == *condition.value;
  }

  // Called from a lambda under Commit's lock, which the thread-safety analysis can't follow.
  void Apply(const MetadataBatch::Put& put) MUSTER_THREAD_ANNOTATION(no_thread_safety_analysis) {
    rows_[put.key] = put.value;
  }
  void Apply(const MetadataBatch::Delete& remove)
      MUSTER_THREAD_ANNOTATION(no_thread_safety_analysis) {
    rows_.erase(remove.key);
  }
  void Apply(const MetadataBatch::DeleteRange& range)
      MUSTER_THREAD_ANNOTATION(no_thread_safety_analysis) {
    if (range.begin >= range.end) return;
    rows_.erase(rows_.lower_bound(range.begin), rows_.lower_bound(range.end));
  }

  const Limits limits_;
  SharedMutex mutex_;
  Rows rows_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<MetadataStore> NewMemoryMetadataStore(const MetadataStore::Limits& limits) {
  return std::make_unique<MemoryMetadataStore>(limits);
}

}  // namespace muster
