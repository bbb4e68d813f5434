// The files of one cache domain: where they are and how they are named.
#ifndef MUSTER_CLIENT_CACHE_CACHE_FILES_H_
#define MUSTER_CLIENT_CACHE_CACHE_FILES_H_

#include <sys/types.h>

#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/files/directories.h"
#include "storage/files/posix_file.h"

namespace muster {

// Behind an entry's name; see the layout on top of shard_cache.cc.
inline constexpr char kPartSuffix[] = ".part";
inline constexpr char kClaimsSuffix[] = ".claims";
inline constexpr char kRecordSuffix[] = ".record";
inline constexpr char kPiecesSuffix[] = ".pieces";
inline constexpr char kUseSuffix[] = ".use";
inline constexpr char kNamesSuffix[] = ".names";

// A shard has one writer. Only beside one that holds its part file and writes nothing may others
// begin, each with files of its own: so many writers in all.
inline constexpr int kMaxWriters = 4;
// What the names of a writer's part and claims begin with: KEY, and KEY.2 and so on beside others.
std::string PartStem(const std::string& key, int writer);

// Names that keep changing between open and lock mean that something outside meddles with the
// cache.
inline constexpr int kMaxStartsOver = 1000;

// An open directory. Thread-safe: nothing changes after it was filled in.
struct CacheDomain {
  UniqueFd dir;
  std::string path;
  // Permission bits of entries; unset: see ModeOf.
  std::optional<mode_t> entry_mode = std::nullopt;
  // See ShardCache::Options.
  absl::Duration writer_patience = absl::Seconds(60);
  std::function<void(const std::string& warning)> warn = {};

  // Of an entry: what was decrypted is not for all users of the machine, unless somebody says so.
  mode_t ModeOf(bool secret) const { return entry_mode.value_or(secret ? 0440 : 0444); }

  std::string PathOf(absl::string_view name) const { return absl::StrCat(path, "/", name); }

  // Calls `on_name` for every file that belongs to an entry or a part, in no order.
  absl::Status ForEachName(absl::FunctionRef<void(const std::string& name)> on_name) const;
  bool Has(const std::string& name) const;
  // Whether any writer's part of `key` is there.
  bool HasPart(const std::string& key) const;
  // Opens a file of it, never a link and without waiting for anything; invalid, with errno set,
  // where that fails. `mode` is of a file that is made.
  UniqueFd Open(const std::string& name, int flags, mode_t mode = 0600) const;
  // The same for one that is there, to read it; the error names it.
  absl::StatusOr<UniqueFd> OpenToRead(const std::string& name) const;
  // The domain's own lock, until the descriptor is closed: whoever counts, evicts or pins holds it.
  // kCancelled.
  absl::StatusOr<UniqueFd> Lock(const std::stop_token& stop) const;
  // Missing files are fine.
  void Remove(const std::string& name) const;
  // A part with all that lies beside it and is of no use to others. The caller holds its lock.
  void RemovePart(const std::string& key, const std::string& stem) const;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_FILES_H_
