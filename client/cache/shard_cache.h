// Verified shards on local disk, addressed by content.
#ifndef MUSTER_CLIENT_CACHE_SHARD_CACHE_H_
#define MUSTER_CLIENT_CACHE_SHARD_CACHE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cache/cache_alter.h"
#include "client/cache/cache_check.h"
#include "client/cache/cache_contents.h"
#include "client/cache/cache_pins.h"
#include "client/cache/checked_shard.h"
#include "client/cache/memory_budget.h"
#include "client/cache/piece_sink.h"
#include "client/encoding/key_source.h"
#include "storage/files/posix_file.h"

namespace muster {

// A verified entry, held open: it is not evicted meanwhile, and what fd() reads are the verified
// bytes, also when the entry was unlinked since. Movable; not thread-safe, except for reads through
// fd().
class CachedShard {
 public:
  // `use` marks the entry as in use; see cache_use.h. `content` is what its bytes are.
  CachedShard(UniqueFd fd, UniqueFd use, std::string path,
              std::shared_ptr<const CheckedShard> content)
      : fd_(std::move(fd)),
        use_(std::move(use)),
        path_(std::move(path)),
        content_(std::move(content)) {}

  // Read-only.
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  int64_t size_bytes() const { return content_->size_bytes(); }
  // The shard, not encoded, whose bytes these are: of an encoded one that was asked for, either its
  // stored bytes or what they encode, by its ContentKey.
  const CheckedShard& content() const { return *content_; }

  // For whoever has mapped the file: saves a descriptor. The entry stays in use; fd() and Read are of no use any more.
  void CloseFile() { fd_.Reset(); }

  // Fills all of `out` from `offset`. Thread-safe.
  absl::Status Read(int64_t offset, absl::Span<char> out) const {
    return ReadAt(fd_.get(), path_, offset, out);
  }

 private:
  UniqueFd fd_;
  UniqueFd use_;
  std::string path_;
  std::shared_ptr<const CheckedShard> content_;
};

// A shard on its way into the cache: nobody else fetches it meanwhile, and nobody sees it before
// Commit. Write may run in several threads at once, the rest in one.
//
// An uncommitted one that holds whole pieces stays on disk when it is destroyed or its process
// dies. The next that acquires the shard, in this process or another, takes it over: each piece is
// hashed from disk, and those that are right are Present. What was written is synced so often that a
// power cut costs at most 256 MiB. Shards without pieces start over.
class CachePart : public PieceSink {
 public:
  bool HoldsBack() const final { return true; }

  // Called once all bytes are written and verified: syncs the file, makes it read-only and visible,
  // and records it as verified; where another writer was quicker, gives its entry. An encoded shard is decoded first, unless the cache keeps only what is
  // stored: the errors of ShardDecoder.
  virtual absl::StatusOr<CachedShard> Commit() = 0;
};

// What a cache keeps of shards that are stored encoded.
enum class CacheForm {
  // The stored bytes. They need no key, can be verified, and are of no use to an engine.
  kStored,
  // What they encode, decoded once; of encrypted shards this is plaintext on the disk.
  kPlain,
  // Both; where room runs short, the stored bytes may go first. What Lookup and Acquire give, and so
  // what READY means, is the content alone: stored bytes that went, or rotted, are fetched again only
  // together with it.
  kBoth,
};

// One cache domain of one cache directory. The directory may be shared by any number of threads,
// ShardCache objects and processes of one machine; it must be on a local file system. Thread-safe;
// calls block.
//
// Where the budget or the disk has no room for a shard, entries go, the least recently used first,
// and before them the parts that nobody writes. What is pinned stays: by a CachedShard or CachePart,
// which ends with its process at the latest, or by SetPin, which ends only when it is taken back.
class ShardCache {
 public:
  struct Options {
    // Shards are shared only within a domain. A name of at most 63 letters, digits, ".", "_" and
    // "-".
    std::string domain = "default";
    // What the domain's entries and parts may take. Unset: the disk's free space is the bound. All
    // users of a domain give the same budget.
    std::optional<int64_t> budget_bytes = std::nullopt;
    // Takes a directory on a network file system, too: slower, and its locks and file times may not
    // keep what the cache builds on.
    bool allow_network = false;
    // Permission bits of entries that are written from now on. Unset: 0444, and 0440 for what is
    // decoded of encrypted shards.
    std::optional<uint32_t> entry_mode = std::nullopt;
    // All users of a domain give the same form.
    CacheForm form = CacheForm::kPlain;
    // For encrypted shards; null: none is decoded.
    std::shared_ptr<KeySource> keys = nullptr;
    // What decoding takes of; null: there is no bound.
    std::shared_ptr<MemoryBudget> memory = nullptr;
    // How long another process may hold a shard's part and write nothing before the shard is fetched
    // beside it.
    absl::Duration writer_patience = absl::Seconds(60);
    // Gets one sentence when another process is waited for, or not any more; may be empty. From any
    // thread.
    std::function<void(const std::string& warning)> warn = {};
  };

  // Where the domain is, as given to Open.
  struct Place {
    std::string path;
    std::string domain;
  };

  // What Acquire gives: exactly one of both.
  struct Acquired {
    std::optional<CachedShard> entry;
    std::unique_ptr<CachePart> part;
    // Set when an entry was found whose bytes were wrong; it was removed. kDataLoss with the
    // digests as ErrorDetail metadata expected_md5 and found_md5.
    absl::Status rotted;
  };

  virtual ~ShardCache() = default;

  // Opens the cache in directory `path`, which is made if it is absent. kFailedPrecondition: not a
  // directory, or one with other content, or of an unknown format; kPermissionDenied: not writable;
  // kInvalidArgument: a bad domain. kFailedPrecondition CACHE_ON_NETWORK: see Options.
  static absl::StatusOr<std::unique_ptr<ShardCache>> Open(const std::string& path,
                                                          const Options& options);

  virtual Place place() const = 0;

  // The entry of `shard`: of an encoded one its content, or with form kStored its stored bytes. The
  // content of an encrypted one is given to those who have its key: kFailedPrecondition KEY_MISSING,
  // WRONG_KEY, or the errors of the key source. One whose record does not match its file is hashed in full first, and removed if it is bad;
  // so is one that anybody has open for writing. kNotFound: no entry; kDataLoss: there was such a one;
  // kCancelled.
  virtual absl::StatusOr<CachedShard> Lookup(const CheckedShard& shard,
                                             const std::stop_token& stop) = 0;

  // The entry as Lookup gives it, or else the right to write it. While another thread or process
  // writes the shard, this waits for it; see Options::writer_patience. Evicts where there is no room. kResourceExhausted
  // CACHE_FULL: what is pinned leaves too little room, as NoRoomError says; also when the disk
  // refuses; kCancelled. An encoded shard whose stored bytes are there is decoded, with the errors of
  // ShardDecoder; KEY_MISSING and UNKNOWN_ENCODING come before anything is written. Until Commit, it
  // takes room for its stored bytes and for its content.
  virtual absl::StatusOr<Acquired> Acquire(const CheckedShard& shard,
                                           const std::stop_token& stop) = 0;

  // What counts as verified without being hashed, at most `limit` entries in no order: the root of
  // each, or its MD5 where it has no pieces; of what was decoded, that of the stored bytes.
  virtual std::vector<Md5Digest> Inventory(size_t limit) = 0;

  // Replaces what the owner needs; an empty list takes the pin back. Pinned entries are not
  // evicted, whether they are there already or come later. Durable. kCancelled.
  virtual absl::Status SetPin(const CachePin& pin, const std::stop_token& stop) = 0;
  virtual absl::StatusOr<std::vector<CachePin>> Pins() = 0;
  // Takes the owner's pin back unless it is for another assembly than `uid` by now; see EndPin.
  virtual absl::StatusOr<bool> EndPin(const std::string& owner, const std::string& uid,
                                      const std::stop_token& stop) = 0;

  // All entries and parts, in the order in which they may go.
  virtual absl::StatusOr<std::vector<CacheItem>> List() = 0;

  // Hashes the entry as it is on the disk; see CheckEntry.
  virtual absl::Status Check(const std::string& key, const ReadPace& pace,
                             const std::stop_token& stop) = 0;

  // Whether the entry still is what was verified; see ConfirmEntry.
  virtual absl::Status Confirm(const std::string& key, const std::stop_token& stop) = 0;

  // Links the entry's file, or changes its mode, while it stays verified; see AlterEntry.
  virtual absl::Status Alter(const std::string& key,
                             absl::FunctionRef<absl::Status(const LockedEntry& entry)> alter,
                             const std::stop_token& stop) = 0;

  // Brings the entry into the page cache; see WarmEntry. In vain where InMemory.
  virtual absl::StatusOr<int64_t> Warm(const std::string& key,
                                       absl::FunctionRef<bool(int64_t bytes)> may_read,
                                       const std::stop_token& stop) = 0;
  virtual bool InMemory() = 0;

  // What it would take to have all of `wanted`; changes nothing. CheckRoom: NoRoomError where they
  // don't fit.
  virtual absl::StatusOr<CacheRoom> Room(absl::Span<const WantedShard> wanted) = 0;
  virtual absl::Status CheckRoom(absl::Span<const WantedShard> wanted) = 0;

  // Evicts unpinned entries and parts in List's order until they take at most `target_bytes`, or
  // those of `keys` alone where it is not empty. `force` takes pinned ones too, but never what is
  // in use. Returns what went.
  struct Eviction {
    int64_t target_bytes = 0;
    std::vector<std::string> keys = {};
    bool force = false;
  };
  virtual absl::StatusOr<std::vector<CacheItem>> Evict(const Eviction& eviction,
                                                       const std::stop_token& stop) = 0;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_SHARD_CACHE_H_
