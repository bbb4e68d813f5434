// What one pull knows about the places that it may read from.
#ifndef MUSTER_CLIENT_TRANSFER_LOCATION_BOOK_H_
#define MUSTER_CLIENT_TRANSFER_LOCATION_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cache/checked_shard.h"
#include "client/transfer/pull_failure.h"
#include "storage/base/mutex.h"
#include "storage/object/object_store.h"
#include "storage/object/object_store_registry.h"

namespace muster {

// The locations of one shard, in order of preference: those that are not suspect first, then those
// of the node's own zone, then by priority; pieces are spread over those that are equal. Those that failed sink
// behind all others; those that can't work are dropped; those that are not open are not read from.
// Thread-safe.
class LocationBook {
 public:
  // A location that was opened, found to have the registered size, and pinned to the version that
  // it had then.
  struct Source {
    std::shared_ptr<ObjectStore> store;
    std::string key;
    std::string version;
    std::string uri;
  };

  // `stores` and `shard` outlive the book.
  //
  // With `gated`, locations with a bound on their readers are closed until Admit. `spread` is another number
  // on each node, so that not all begin at the same one of several equal locations.
  LocationBook(const ObjectStoreRegistry& stores, const CheckedShard& shard, absl::string_view zone,
               bool gated, uint64_t spread);
  ~LocationBook();

  size_t size() const { return entries_.size(); }
  const std::string& uri(size_t location) const;
  // Whether there is a bound on its readers.
  bool bounded(size_t location) const;
  bool suspect(size_t location) const;

  void Admit(size_t location);
  void Close(size_t location);

  // The locations to read `piece` from, best first. Equal ones take turns from piece to piece.
  std::vector<size_t> Candidates(size_t piece) const;

  // Opens a location; the first call asks the store for size and version, and later ones wait for its
  // answer and use it. kCancelled soon after `stop` was requested; kNotFound or kDataLoss when the object
  // has another size or version than registered, otherwise the store's own error.
  absl::StatusOr<Source> Open(size_t location, const std::stop_token& stop);

  // Takes note of a failure at a location: the first one of each code is kept for the report.
  void Record(size_t location, const PullFailure& failure, bool drop);

  // A read from a location was so slow that another one overtook it. At the second time that is recorded as
  // a failure.
  void Overtaken(size_t location);

  // Bytes from a location were verified.
  void Verified(size_t location);

  // For each location that was read from, what to report to the server: wrong or absent bytes;
  // otherwise that it was verified; otherwise what kept it from being read.
  std::vector<muster::v1::LocationReport> Reports() const;

  // What was recorded, in order.
  std::vector<PullFailure> failures() const;

 private:
  struct Entry;

  absl::Status CheckSize(const Entry& entry, const ObjectInfo& info) const;
  absl::Status CheckVersion(const Entry& entry, const ObjectInfo& info) const;
  absl::StatusOr<Source> AskStore(const Entry& entry, const std::stop_token& stop) const;

  const ObjectStoreRegistry& stores_;
  const CheckedShard& shard_;
  const uint64_t spread_;
  std::vector<std::unique_ptr<Entry>> entries_;
  mutable Mutex mutex_;
  std::vector<PullFailure> failures_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_LOCATION_BOOK_H_
