// What one pull knows about the places that it may read from.
#ifndef MUSTER_CLIENT_TRANSFER_LOCATION_BOOK_H_
#define MUSTER_CLIENT_TRANSFER_LOCATION_BOOK_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/transfer/pull_failure.h"
#include "client/transfer/pull_shard.h"
#include "storage/base/mutex.h"
#include "storage/object/object_store.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// The locations of one shard, in order of preference: those of the node's own zone first, then by
// priority, then as the server listed them. Those that failed sink behind all others; those that
// can't work are dropped. Thread-safe.
class LocationBook {
 public:
  // A location that was opened, found to have the registered size, and pinned to the version that
  // it had then.
  struct Source {
    std::shared_ptr<ObjectStore> store;
    std::string key;
    std::string version;
  };

  // `stores` and `shard` outlive the book.
  LocationBook(const ObjectStoreRegistry& stores, const CheckedShard& shard,
               absl::string_view zone);
  ~LocationBook();

  size_t size() const { return entries_.size(); }
  const std::string& uri(size_t location) const;

  // The locations to read `piece` from, best first. The piece is what a later rule may spread the
  // load by.
  std::vector<size_t> Candidates(size_t piece) const;

  // Opens a location; the first call asks the store for size and version, and later ones use its
  // answer. kNotFound or kDataLoss when the object has another size than registered, else the
  // store's own error.
  absl::StatusOr<Source> Open(size_t location);

  // Takes note of a failure at a location: the first one of each code is kept for the report.
  void Record(size_t location, const PullFailure& failure, bool drop);

  // What was recorded, in order.
  std::vector<PullFailure> failures() const;

 private:
  struct Entry;

  absl::Status CheckSize(const Entry& entry, const ObjectInfo& info) const;

  const ObjectStoreRegistry& stores_;
  const CheckedShard& shard_;
  std::vector<std::unique_ptr<Entry>> entries_;
  mutable Mutex mutex_;
  std::vector<PullFailure> failures_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_LOCATION_BOOK_H_
