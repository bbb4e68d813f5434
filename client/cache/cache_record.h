// The note beside a cache entry that says: this very file was verified.
#ifndef MUSTER_CLIENT_CACHE_CACHE_RECORD_H_
#define MUSTER_CLIENT_CACHE_CACHE_RECORD_H_

#include <sys/stat.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/files/posix_file.h"

namespace muster {

// The record of entry `name`: file "`name`.record" in the same directory. Writers hold the entry's
// flock.
class CacheRecord {
 public:
  // `dir_fd` outlives the record.
  CacheRecord(int dir_fd, const std::string& name);

  // Whether the record says that the file with this size, inode, mtime and ctime was verified. A
  // torn, foreign or absent record says nothing.
  bool Vouches(const struct stat& entry) const;

  // Returns the state of the entry that is open as `entry_fd` once no later change can leave it as
  // it is: file times advance in ticks of some milliseconds, so a change in the tick of the last
  // one would not show. Wipes the record.
  absl::StatusOr<struct stat> Settle(int entry_fd) const;

  // Records `entry`, which Settle returned and which still is the state of the verified bytes.
  absl::Status Write(const struct stat& entry) const;

  void Remove() const;

 private:
  absl::StatusOr<UniqueFd> OpenForWriting() const;
  std::string TextFor(const struct stat& entry) const;

  const int dir_fd_;
  const std::string name_;
  const std::string file_name_;
};

// Whether both describe one file in one state.
bool SameState(const struct stat& a, const struct stat& b);

}  // namespace muster

#endif  // MUSTER_CLIENT_CACHE_CACHE_RECORD_H_
