// Time is counted in looks at the lock, each kLookInterval after the one before or later: a process that
// was stopped itself does not wake up and find that others took too long.
#include "client/cache/part_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cache/checked_shard.h"
#include "storage/base/status_macros.h"
#include "storage/files/lock_holder.h"

namespace muster {
namespace {

// Before a person would ask.
constexpr absl::Duration kSilence = absl::Seconds(5);
// Whether something was written is looked at so often.
constexpr int kLooksPerGlance = 20;

int64_t LooksIn(absl::Duration duration) { return duration / kLookInterval; }

void Warn(const CacheDomain& domain, const std::string& warning) {
  if (domain.warn) domain.warn(warning);
}

void TellHolder(const CacheDomain& domain, int fd, const std::string& path) {
  Warn(domain, absl::StrCat(path, ": waiting for ", DescribeProcess(FlockHolder(fd)),
                            ", which has locked it"));
}

// When the writer of a part last wrote something: stored bytes, a claim, or what they encode.
class PartActivity {
 public:
  PartActivity(const CacheDomain& domain, const std::string& key, const std::string& stem)
      : domain_(domain),
        names_{stem + kPartSuffix, stem + kClaimsSuffix, DecodedKeyOf(key) + kPartSuffix} {}

  bool Moved() {
    std::array<std::pair<int64_t, int64_t>, 3> now = {};
    for (size_t i = 0; i < names_.size(); ++i) {
      struct stat state {};
      if (fstatat(domain_.dir.get(), names_[i].c_str(), &state, AT_SYMLINK_NOFOLLOW) == 0) {
        now[i] = {state.st_mtim.tv_sec, state.st_mtim.tv_nsec};
      }
    }
    return std::exchange(last_, now) != now;
  }

 private:
  const CacheDomain& domain_;
  const std::array<std::string, 3> names_;
  std::array<std::pair<int64_t, int64_t>, 3> last_ = {};
};

enum class WaitEnd { kLocked, kEntryCame, kStandsStill };

absl::StatusOr<WaitEnd> AwaitPart(const CacheDomain& domain, int fd, const std::string& key,
                                  const std::string& stem, const PartWait& wait,
                                  const std::stop_token& stop) {
  const std::string path = domain.PathOf(stem + kPartSuffix);
  PartActivity activity(domain, key, stem);
  int64_t last_move = 0;
  for (int64_t look = 0; !TryLockExclusive(fd); ++look) {
    if (errno != EWOULDBLOCK && errno != EINTR) return PathError(errno, "lock it", path);
    if (stop.stop_requested()) {
      return absl::CancelledError(absl::StrCat(path, ": cancelled while another process has it"));
    }
    if (!wait.entry.empty() && domain.Has(wait.entry)) return WaitEnd::kEntryCame;
    if (look % kLooksPerGlance == 0 && activity.Moved()) last_move = look;
    if (look == LooksIn(kSilence)) TellHolder(domain, fd, path);
    if (look - last_move >= LooksIn(wait.patience)) {
      const std::optional<pid_t> holder = FlockHolder(fd);
      if (holder != getpid()) {
        if (wait.patience > absl::ZeroDuration()) {
          Warn(domain,
               absl::StrCat(path, ": ", DescribeProcess(holder), " has locked it and wrote ",
                            "nothing for ", absl::FormatDuration(wait.patience),
                            "; the shard is fetched beside it"));
        }
        return WaitEnd::kStandsStill;
      }
      last_move = look;
    }
    PauseBetweenLooks();
  }
  return WaitEnd::kLocked;
}

// Its writer died between the change of the mode and step 7: it may be taken over all the same.
void MakeWritableIfDead(const CacheDomain& domain, const std::string& part_name) {
  const UniqueFd fd = domain.Open(part_name, O_RDONLY);
  if (!fd.valid() || !TryLockExclusive(fd.get())) return;
  if (IsSameFile(domain.dir.get(), part_name, fd.get())) fchmod(fd.get(), 0600);
}

// Unset: its writer stands still.
absl::StatusOr<std::optional<LockedPart>> LockPartOf(const CacheDomain& domain,
                                                     const std::string& key,
                                                     const std::string& stem, const PartWait& wait,
                                                     const std::stop_token& stop) {
  const std::string name = stem + kPartSuffix;
  const std::string path = domain.PathOf(name);
  for (int start = 0; start < kMaxStartsOver; ++start) {
    UniqueFd fd = domain.Open(name, O_RDWR | O_CREAT);
    if (!fd.valid() && errno == EACCES) {
      // Its writer made it read-only already, and is about to rename it or died.
      MakeWritableIfDead(domain, name);
      PauseBetweenLooks();
      continue;
    }
    if (!fd.valid()) return PathError(errno, "make it", path);
    MUSTER_ASSIGN_OR_RETURN(const WaitEnd end, AwaitPart(domain, fd.get(), key, stem, wait, stop));
    if (end == WaitEnd::kStandsStill) return std::nullopt;
    if (end == WaitEnd::kEntryCame) return LockedPart{UniqueFd(), stem};
    if (IsSameFile(domain.dir.get(), name, fd.get())) return LockedPart{std::move(fd), stem};
  }
  return absl::AbortedError(absl::StrCat(path, ": the part file keeps being replaced"));
}

}  // namespace

absl::Status AwaitLock(const CacheDomain& domain, int fd, const std::string& path,
                       const std::stop_token& stop) {
  for (int64_t look = 0; !TryLockExclusive(fd); ++look) {
    if (errno != EWOULDBLOCK && errno != EINTR) return PathError(errno, "lock it", path);
    if (stop.stop_requested()) {
      return absl::CancelledError(absl::StrCat(path, ": cancelled while another process has it"));
    }
    if (look == LooksIn(kSilence)) TellHolder(domain, fd, path);
    PauseBetweenLooks();
  }
  return absl::OkStatus();
}

absl::StatusOr<LockedPart> LockPart(const CacheDomain& domain, const std::string& key,
                                    const PartWait& wait, const std::stop_token& stop) {
  for (int writer = 1; writer <= kMaxWriters; ++writer) {
    MUSTER_ASSIGN_OR_RETURN(std::optional<LockedPart> part,
                            LockPartOf(domain, key, PartStem(key, writer), wait, stop));
    if (part.has_value()) return *std::move(part);
  }
  return absl::UnavailableError(
      absl::StrCat(domain.PathOf(key), kPartSuffix, ": ", kMaxWriters,
                   " processes hold parts of this shard and write nothing; end or resume them"));
}

}  // namespace muster
