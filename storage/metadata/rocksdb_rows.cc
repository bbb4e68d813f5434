#include "storage/metadata/rocksdb_rows.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "rocksdb/write_batch.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/files/disk_room.h"
#include "storage/metadata/batch_limits.h"
#include "storage/metadata/rocksdb_options.h"

namespace muster {
namespace {

constexpr MetadataStore::Limits kLimits = {
    .batch_operations_max = 10'000,
    .batch_bytes_max = 32 << 20,
    .value_bytes_max = kRowValueBytesMax,
};

rocksdb::Slice ToSlice(absl::string_view bytes) { return {bytes.data(), bytes.size()}; }

std::string ToString(const rocksdb::Slice& slice) {
  return std::string(slice.data(), slice.size());
}

const std::string& KeyOf(const MetadataBatch::Operation& operation) {
  const auto* put = std::get_if<MetadataBatch::Put>(&operation);
  return put != nullptr ? put->key : std::get<MetadataBatch::Delete>(operation).key;
}

// The operations in key order, as the search for a place in the memtable is short where the last one
// went in just before; those of one key stay as they were. (RocksDB's hints for that would do without
// sorting, but mix up rows and range deletes.) A batch that deletes ranges keeps its order.
std::vector<const MetadataBatch::Operation*> InWritingOrder(const MetadataBatch& batch) {
  std::vector<const MetadataBatch::Operation*> order;
  order.reserve(batch.operations.size());
  bool ranges = false;
  for (const MetadataBatch::Operation& operation : batch.operations) {
    order.push_back(&operation);
    ranges = ranges || std::holds_alternative<MetadataBatch::DeleteRange>(operation);
  }
  if (ranges) return order;
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return KeyOf(*a) < KeyOf(*b); });
  return order;
}

// Turns the operations of a batch into RocksDB's form.
class BatchBuilder {
 public:
  explicit BatchBuilder(const MetadataBatch& batch)
      : batch_(batch.SizeBytes() + kRecordBytes * batch.operations.size()) {}

  rocksdb::Status operator()(const MetadataBatch::Put& put) {
    return batch_.Put(put.key, put.value);
  }
  rocksdb::Status operator()(const MetadataBatch::Delete& remove) {
    return batch_.Delete(remove.key);
  }
  // RocksDB refuses a range that ends before it begins; it is an empty one here.
  rocksdb::Status operator()(const MetadataBatch::DeleteRange& range) {
    if (range.begin >= range.end) return rocksdb::Status::OK();
    return batch_.DeleteRange(range.begin, range.end);
  }

  rocksdb::WriteBatch& batch() { return batch_; }

 private:
  // What RocksDB adds to the bytes of an operation, at most.
  static constexpr size_t kRecordBytes = 16;

  rocksdb::WriteBatch batch_;
};

class RocksdbMetadataStore final : public MetadataStore {
 public:
  RocksdbMetadataStore(std::string directory, std::unique_ptr<rocksdb::DB> db,
                       std::shared_ptr<Witness> witness, std::shared_ptr<StoreLock> lock)
      : directory_(std::move(directory)),
        witness_(std::move(witness)),
        lock_(std::move(lock)),
        db_(std::move(db)) {
    read_options_.verify_checksums = true;
  }

  Limits limits() const override { return kLimits; }

  absl::StatusOr<std::string> Get(absl::string_view key) override {
    std::string value;
    const rocksdb::Status status = db_->Get(read_options_, ToSlice(key), &value);
    if (status.IsNotFound()) return absl::NotFoundError("no such row");
    if (!status.ok()) return FromRocksdb(status, directory_);
    return value;
  }

  absl::StatusOr<std::vector<Row>> Scan(absl::string_view begin, absl::string_view end,
                                        size_t limit) override {
    MUSTER_RETURN_IF_ERROR(CheckScanLimit(limit));
    std::vector<Row> found;
    if (begin >= end) return found;
    const rocksdb::Slice upper = ToSlice(end);
    rocksdb::ReadOptions options = read_options_;
    options.iterate_upper_bound = &upper;
    const std::unique_ptr<rocksdb::Iterator> row(db_->NewIterator(options));
    for (row->Seek(ToSlice(begin)); row->Valid() && found.size() < limit; row->Next()) {
      found.push_back({ToString(row->key()), ToString(row->value())});
    }
    if (!row->status().ok()) return FromRocksdb(row->status(), directory_);
    return found;
  }

  absl::Status Commit(const MetadataBatch& batch) override {
    MUSTER_RETURN_IF_ERROR(CheckBatch(batch, kLimits));
    BatchBuilder builder(batch);
    for (const MetadataBatch::Operation* operation : InWritingOrder(batch)) {
      const rocksdb::Status added = std::visit(builder, *operation);
      if (!added.ok()) return FromRocksdb(added, directory_);
    }
    MutexLock lock(commit_mutex_);
    if (!failed_.ok()) return failed_;
    for (const MetadataBatch::Condition& condition : batch.conditions) {
      MUSTER_RETURN_IF_ERROR(CheckCondition(condition));
    }
    rocksdb::WriteOptions options;
    options.sync = true;
    const rocksdb::Status written = db_->Write(options, &builder.batch());
    if (!written.ok()) failed_ = FromRocksdb(written, directory_);
    if (failed_.ok() && witness_ != nullptr) {
      failed_ = witness_->NoteBatch(db_->GetLatestSequenceNumber(), batch.revision);
    }
    return failed_;
  }

  absl::Status CheckLeadership() override { return absl::OkStatus(); }

  absl::StatusOr<std::optional<int64_t>> FreeBytes() override {
    MUSTER_ASSIGN_OR_RETURN(const int64_t free, FreeBytesOf(directory_));
    return std::optional<int64_t>(free);
  }

 private:
  absl::Status CheckCondition(const MetadataBatch::Condition& condition) {
    const absl::StatusOr<std::string> value = Get(condition.key);
    if (!value.ok() && !absl::IsNotFound(value.status())) return value.status();
    const bool holds = value.ok() ? condition.value.has_value() && *condition.value == *value
                                  : !condition.value.has_value();
    if (!holds) return absl::AbortedError("a condition of the batch does not hold");
    return absl::OkStatus();
  }

  const std::string directory_;
  // None for a store that is only read.
  const std::shared_ptr<Witness> witness_;
  // Of a store that is only read; otherwise RocksDB holds it.
  const std::shared_ptr<StoreLock> lock_;
  const std::unique_ptr<rocksdb::DB> db_;
  rocksdb::ReadOptions read_options_;
  // Held from the look at the conditions to the end of the write, so that nothing comes between
  // them.
  Mutex commit_mutex_;
  // Number 3 of the list in rocksdb_metadata_store.cc.
  absl::Status failed_ MUSTER_GUARDED_BY(commit_mutex_);
};

}  // namespace

std::unique_ptr<MetadataStore> RocksdbRows(const std::string& directory,
                                           std::unique_ptr<rocksdb::DB> db,
                                           std::shared_ptr<Witness> witness) {
  return std::make_unique<RocksdbMetadataStore>(directory, std::move(db), std::move(witness),
                                                nullptr);
}

std::unique_ptr<MetadataStore> ReadOnlyRows(const std::string& directory,
                                            std::unique_ptr<rocksdb::DB> db,
                                            std::shared_ptr<StoreLock> lock) {
  return std::make_unique<RocksdbMetadataStore>(directory, std::move(db), nullptr, std::move(lock));
}

}  // namespace muster
