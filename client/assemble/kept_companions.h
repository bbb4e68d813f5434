// Copies of companions on this machine, for times when their storage does not answer.
#ifndef MUSTER_CLIENT_ASSEMBLE_KEPT_COMPANIONS_H_
#define MUSTER_CLIENT_ASSEMBLE_KEPT_COMPANIONS_H_

#include <cstdint>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/assemble/shard_copier.h"
#include "muster/v1/model.pb.h"

namespace muster {

// Of one model version. What is beyond is not kept: the largest go without.
inline constexpr int64_t kMaxKeptCompanionBytes = int64_t{64} << 20;

// A folder with a file for each content, named by its MD5. Nothing in it is trusted: it is hashed when it is used. A
// value; thread-safe, also where two keep the same.
class KeptCompanions {
 public:
  // Need not be there.
  explicit KeptCompanions(std::string folder) : folder_(std::move(folder)) {}

  // Fetches those that are not there. The errors are those of ShardCopier::CopyCompanion and of files; what was kept before
  // an error stays.
  absl::Status Keep(ShardCopier& copier, const std::vector<v1::Companion>& companions,
                    const std::stop_token& stop) const;

  // Removes what is of none of these, by MD5.
  void RemoveOthers(const std::set<std::string>& md5s) const;

  // All bytes of the companion, verified; empty where they are not kept, or not right.
  std::optional<std::string> BytesOf(const v1::Companion& companion) const;

 private:
  std::string PathOf(const v1::Companion& companion) const;

  std::string folder_;
};

}  // namespace muster

#endif  // MUSTER_CLIENT_ASSEMBLE_KEPT_COMPANIONS_H_
