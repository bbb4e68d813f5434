// Steps of a build, under the view's lock; each may be the last one of a process that dies, and the
// next build, or `muster view remove`, continues from what is there.
//  1. What is half made goes.
//  2. A version that is there is looked at: whole and as it is wanted, it is kept.
//  3. Where there is no record yet, one says that the version is being made: from now on it is known
//     which cache the view needs.
//  4. The cache entries are pinned, and then looked up: what is there stays there.
//  5. Links, copies, companions and the index are made in a directory of their own, and synced.
//  6. The record is rewritten, with the state of every file. It does not fit an older directory of
//     the version.
//  7. The directory gets its name. Where there is an older one, the two are exchanged.
//  8. The pin is cut to what is linked.
//  9. DIR is switched, if it has never led to the version, and the record says that it has.
#include "client/view/view_builder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "client/assemble/model_files.h"
#include "client/assemble/output_layout.h"
#include "client/assemble/shard_copier.h"
#include "client/assemble/tensor_proof.h"
#include "client/cache/piece_check.h"
#include "client/encoding/encoding_name.h"
#include "client/hash/parallel.h"
#include "client/sdk/pages.h"
#include "client/sdk/pieces.h"
#include "client/view/view_place.h"
#include "client/view/view_versions.h"
#include "storage/base/error_info.h"
#include "storage/base/md5.h"
#include "storage/base/mutex.h"
#include "storage/base/quote.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/files/disk_room.h"
#include "storage/files/file_guard.h"
#include "storage/files/posix_file.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

// Linking waits for a tick of the file system's clock, so that several at once are worth it.
constexpr size_t kJobs = 4;
// An entry that keeps being changed means that something outside meddles with the cache.
constexpr int kMaxLooks = 10;
// Shards named in an error at most.
constexpr size_t kMaxShardsNamed = 20;

absl::Status LinksImpossible(int error, const std::string& from, const std::string& to) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, reasons::kViewLinksImpossible,
      absl::StrCat(
          QuoteForMessage(from), " can't be linked to ", QuoteForMessage(to), ": ",
          std::generic_category().message(error),
          "; hard links need cache and view on one file system, reflink one that shares "
          "bytes between files, as XFS and btrfs do: leave --view-links out, or say symlink "
          "or copy"),
      {{"from", from}, {"to", to}});
}

// Equal for model versions that make equal views.
std::string ContentOf(const std::vector<v1::Shard>& shards, const OutputLayout& layout,
                      const std::vector<v1::Companion>& companions) {
  std::string text;
  for (const v1::Shard& shard : shards) {
    const OutputLayout::Place& place = layout.shards[shard.index()];
    absl::StrAppend(&text, ContentKeyOf(shard), " ", place.offset_bytes, " ",
                    layout.files[place.file].path, "\n");
  }
  for (const v1::Companion& companion : companions) {
    absl::StrAppend(&text, companion.size_bytes(), " ", companion.md5(), " ", companion.path(),
                    "\n");
  }
  return Md5ToHex(Md5Of(text));
}

// Whether its files are others than those of the cache, whatever they share with them.
bool HasOwnFiles(ViewLinks links) {
  return links == ViewLinks::kCopy || links == ViewLinks::kReflink;
}

// One attempt to make a version with one kind of links. Used once.
class ViewBuild {
 public:
  ViewBuild(Client& client, Puller& puller, ShardCache& cache, const ViewOptions& options,
            const ViewPlace& place)
      : client_(client),
        cache_(cache),
        options_(options),
        place_(place),
        version_(ShortModelVersionName(options.model_version)),
        staging_(place.BuildingPathOf(version_)),
        copier_(client, puller, {{&cache}, Call(), options.warn}) {}

  absl::StatusOr<ViewSummary> Run() {
    MUSTER_RETURN_IF_ERROR(Describe());
    MUSTER_RETURN_IF_ERROR(LookAtOld());
    MUSTER_ASSIGN_OR_RETURN(const bool kept, Keep());
    if (!kept) {
      plan_ = Plan(options_.links.value_or(ViewLinks::kHard));
      absl::Status built = Build();
      if (ReasonOf(built) == reasons::kViewLinksImpossible && !options_.links.has_value()) {
        RemoveStaging();
        plan_ = Plan(ViewLinks::kSymlink);
        built = Build();
      }
      if (!built.ok()) {
        Undo();
        return built;
      }
      MUSTER_RETURN_IF_ERROR(Pin(plan_.Keys()));
    }
    MUSTER_RETURN_IF_ERROR(Show());
    return Summary(kept);
  }

 private:
  // A file of the layout and the shards that are ranges of it, by index.
  struct File {
    size_t index = 0;
    std::vector<uint32_t> shards;
  };

  CallOptions Call() const { return {.timeout = std::nullopt, .stop = options_.stop}; }

  absl::Status Describe() {
    v1::GetModelVersionRequest request;
    request.set_name(options_.model_version);
    MUSTER_ASSIGN_OR_RETURN(const auto response, client_.GetModelVersion(request, Call()));
    MUSTER_ASSIGN_OR_RETURN(shards_, ListAllShards(client_, options_.model_version, Call()));
    MUSTER_ASSIGN_OR_RETURN(layout_, LayOutModel(response.model_version(), shards_));
    MUSTER_ASSIGN_OR_RETURN(companions_,
                            ListAllCompanions(client_, options_.model_version, Call()));
    MUSTER_RETURN_IF_ERROR(CheckCompanionPaths(layout_, companions_));
    if (!options_.allow_code) MUSTER_RETURN_IF_ERROR(CheckNoCode(layout_, companions_));
    MUSTER_RETURN_IF_ERROR(PlaceCache());
    return ChooseFiles();
  }

  // As other processes find it.
  absl::Status PlaceCache() {
    cache_place_ = cache_.place();
    std::error_code error;
    cache_place_.path = fs::canonical(cache_place_.path, error).string();
    if (error) return PathError(error.value(), "find it", cache_.place().path);
    if (!HasControlCharacter(cache_place_.path)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "the cache's path has control characters: ", QuoteForMessage(cache_place_.path),
        "; a view can't record it"));
  }

  // The files all of whose shards are wanted.
  absl::Status ChooseFiles() {
    std::set<uint32_t> wanted;
    if (options_.only_shards.has_value()) {
      wanted.insert(options_.only_shards->begin(), options_.only_shards->end());
    }
    std::vector<File> files(layout_.files.size());
    std::vector<bool> whole(files.size(), true);
    for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
      const size_t file = layout_.shards[shard].file;
      files[file].index = file;
      files[file].shards.push_back(shard);
      if (options_.only_shards.has_value() && !wanted.contains(shard)) whole[file] = false;
    }
    for (File& file : files) {
      if (whole[file.index]) files_.push_back(std::move(file));
    }
    if (!files_.empty()) return absl::OkStatus();
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kViewIncomplete,
                     absl::StrCat(version_,
                                  ": this node holds no whole file of it, so there is "
                                  "nothing to make a view of"));
  }

  ViewRecord Plan(ViewLinks links) const {
    ViewRecord plan;
    plan.model_version = options_.model_version;
    plan.content = ContentOf(shards_, layout_, companions_);
    plan.cache = cache_place_;
    plan.links = links;
    plan.partial = files_.size() < layout_.files.size();
    for (const File& file : files_) {
      ViewFile& planned = plan.files.emplace_back();
      planned.path = layout_.files[file.index].path;
      planned.size_bytes = layout_.files[file.index].size_bytes;
      if (HasOwnFiles(links) || file.shards.size() > 1) continue;
      planned.kind =
          links == ViewLinks::kHard ? ViewFile::Kind::kHardLink : ViewFile::Kind::kSymlink;
      planned.key = ContentKeyOf(shards_[file.shards.front()]);
    }
    for (const v1::Companion& companion : companions_) {
      ViewFile& planned = plan.files.emplace_back();
      planned.path = companion.path();
      planned.size_bytes = static_cast<int64_t>(companion.size_bytes());
    }
    for (const OutputLayout::Index& index : layout_.indexes) {
      if (HoldsAnyOf(index)) plan.files.emplace_back().path = index.path;
    }
    return plan;
  }

  // A part of the model has the indexes of what it holds.
  bool HoldsAnyOf(const OutputLayout::Index& index) const {
    return std::any_of(files_.begin(), files_.end(), [&index](const File& file) {
      return std::count(index.files.begin(), index.files.end(), file.index) > 0;
    });
  }

  absl::Status LookAtOld() {
    std::error_code error;
    old_is_there_ = fs::exists(fs::symlink_status(place_.PathOf(version_), error));
    absl::StatusOr<ViewRecord> old = ReadViewRecord(place_, version_);
    if (old.ok()) {
      old_ = *std::move(old);
      const ViewRecord plan = Plan(old_->links);
      if (!old_is_there_ || old_->content == plan.content) return absl::OkStatus();
      return MakeError(
          absl::StatusCode::kFailedPrecondition, reasons::kViewVersionDiffers,
          absl::StrCat(QuoteForMessage(place_.PathOf(version_)), ": holds another ", version_,
                       " than the server has now, which engines may have open; publish under "
                       "another version, or remove this one with `muster view remove`"),
          {{"path", place_.PathOf(version_)}, {"version", version_}});
    }
    if (!absl::IsNotFound(old.status())) return old.status();
    if (!old_is_there_) return absl::OkStatus();
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kViewNotOurs,
                     absl::StrCat(QuoteForMessage(place_.PathOf(version_)),
                                  ": no view made it; move it away, or name another directory for "
                                  "the view"),
                     {{"path", place_.PathOf(version_)}});
  }

  // Step 2.
  absl::StatusOr<bool> Keep() {
    if (!old_.has_value() || !old_is_there_) return false;
    if (old_->state == ViewRecord::State::kBuilding) return false;
    const bool links_fit = options_.links.has_value() ? old_->links == *options_.links
                                                      : old_->links != ViewLinks::kCopy;
    if (!links_fit) return false;
    plan_ = Plan(old_->links);
    // What comes behind them are the files of tied names, which are known from the shards only.
    const auto planned_end = old_->files.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                       plan_.files.size(), old_->files.size()));
    const auto same_file = [](const ViewFile& a, const ViewFile& b) {
      return a.path == b.path && a.kind == b.kind && a.key == b.key;
    };
    if (old_->cache.path != plan_.cache.path || old_->cache.domain != plan_.cache.domain ||
        !std::equal(plan_.files.begin(), plan_.files.end(), old_->files.begin(), planned_end,
                    same_file) ||
        !CheckViewFiles(place_, version_, *old_).ok()) {
      return false;
    }
    MUSTER_RETURN_IF_ERROR(Pin(plan_.Keys()));
    MUSTER_ASSIGN_OR_RETURN(const bool linked, LinksTheEntries());
    if (linked) plan_ = *old_;
    return linked;
  }

  // An entry that rotted was fetched again and is another file now.
  absl::StatusOr<bool> LinksTheEntries() {
    std::atomic<bool> same = true;
    MUSTER_RETURN_IF_ERROR(ForEachFile(
        [&](const File& file, size_t planned, const std::stop_token& stop) -> absl::Status {
          if (plan_.files[planned].key.empty()) return absl::OkStatus();
          const absl::StatusOr<CachedShard> entry = LookUp(file.shards.front(), stop);
          if (absl::IsNotFound(entry.status()) || absl::IsDataLoss(entry.status())) {
            same = false;
            return absl::OkStatus();
          }
          if (!entry.ok()) return entry.status();
          const std::string path =
              absl::StrCat(place_.PathOf(version_), "/", plan_.files[planned].path);
          struct stat found {};
          struct stat cached {};
          if (stat(path.c_str(), &found) != 0 || fstat(entry->fd(), &cached) != 0 ||
              found.st_ino != cached.st_ino || found.st_dev != cached.st_dev) {
            same = false;
          }
          return absl::OkStatus();
        }));
    return same.load();
  }

  // For each chosen file, with its place in the plan. Several at once.
  absl::Status ForEachFile(
      absl::FunctionRef<absl::Status(const File& file, size_t planned, const std::stop_token& stop)>
          on_file) {
    return RunInParallel(
        files_.size(), kJobs, options_.stop,
        [&](size_t i, const std::stop_token& stop) { return on_file(files_[i], i, stop); });
  }

  absl::Status Build() {
    plan_.state = ViewRecord::State::kBuilding;
    if (!old_is_there_) MUSTER_RETURN_IF_ERROR(WriteViewRecord(place_, version_, plan_));
    MUSTER_RETURN_IF_ERROR(Pin(AllKeys()));
    MUSTER_RETURN_IF_ERROR(CheckShardsAreThere());
    MUSTER_RETURN_IF_ERROR(CheckRoom());
    RemoveStaging();
    if (mkdir(staging_.c_str(), 0755) != 0) return PathError(errno, "make it", staging_);
    proof_.emplace(client_, options_.model_version, Call());
    MUSTER_RETURN_IF_ERROR(ForEachFile(
        [this](const File& file, size_t planned, const std::stop_token& stop) -> absl::Status {
          const absl::Status made = MakeFile(file, plan_.files[planned], stop);
          return Annotate(made, QuoteForMessage(plan_.files[planned].path));
        }));
    MUSTER_RETURN_IF_ERROR(
        CopyCompanions(copier_, companions_, options_.kept_companions, staging_, options_.stop));
    MUSTER_RETURN_IF_ERROR(WriteIndexes());
    MUSTER_RETURN_IF_ERROR(FinishFiles());
    if (options_.stop.stop_requested()) return absl::CancelledError("interrupted");
    // DIR leads to the old one, or was switched away from it.
    plan_.state = old_is_there_ && old_->state == ViewRecord::State::kShown
                      ? ViewRecord::State::kShown
                      : ViewRecord::State::kBuilt;
    MUSTER_RETURN_IF_ERROR(WriteViewRecord(place_, version_, plan_));
    return GiveName();
  }

  std::vector<std::string> AllKeys() const {
    std::set<std::string> keys;
    for (const File& file : files_) {
      for (const uint32_t shard : file.shards) keys.insert(ContentKeyOf(shards_[shard]));
    }
    return std::vector<std::string>(keys.begin(), keys.end());
  }

  absl::Status Pin(const std::vector<std::string>& keys) {
    return cache_.SetPin({place_.OwnerOf(version_), keys}, options_.stop);
  }

  absl::StatusOr<CachedShard> LookUp(uint32_t shard, const std::stop_token& stop) {
    PullShard pull{shards_[shard], {}};
    CallOptions call = Call();
    call.stop = stop;
    MUSTER_ASSIGN_OR_RETURN(pull.pieces, FetchPieces(client_, pull.shard, call));
    MUSTER_ASSIGN_OR_RETURN(const CheckedShard checked, CheckedShard::Make(pull));
    MUSTER_ASSIGN_OR_RETURN(CachedShard entry, cache_.Lookup(checked, stop));
    if (entry.content().ContentKey() == checked.ContentKey()) return entry;
    return MakeError(absl::StatusCode::kFailedPrecondition, reasons::kCacheKeepsStored,
                     absl::StrCat(cache_place_.path,
                                  ": keeps encoded shards as they are stored, which no engine can "
                                  "read; use --cache-form plain or both"),
                     {{"cache", cache_place_.path}});
  }

  absl::Status CheckShardsAreThere() {
    Mutex mutex;
    std::vector<uint32_t> missing;
    MUSTER_RETURN_IF_ERROR(ForEachFile(
        [&](const File& file, size_t /*planned*/, const std::stop_token& stop) -> absl::Status {
          for (const uint32_t shard : file.shards) {
            const absl::Status found = LookUp(shard, stop).status();
            if (found.ok()) continue;
            // One that rotted was removed just now.
            if (!absl::IsNotFound(found) && !absl::IsDataLoss(found)) return found;
            MutexLock lock(mutex);
            missing.push_back(shard);
          }
          return absl::OkStatus();
        }));
    if (missing.empty()) return absl::OkStatus();
    std::sort(missing.begin(), missing.end());
    std::string named;
    for (size_t i = 0; i < std::min(missing.size(), kMaxShardsNamed); ++i) {
      absl::StrAppend(&named, i == 0 ? "" : ",", missing[i]);
    }
    if (missing.size() > kMaxShardsNamed) absl::StrAppend(&named, ",…");
    return MakeError(
        absl::StatusCode::kFailedPrecondition, reasons::kViewIncomplete,
        absl::StrCat(
            version_, ": the cache lacks ", missing.size(), " of ", shards_.size(), " shards (",
            named,
            "); a view needs a node that holds every shard (policy full, or claim all), or "
            "--view-partial for one of what it holds"),
        {{"shards", named}, {"missing", absl::StrCat(missing.size())}});
  }

  // Of what is copied; what shares bytes with the cache takes none.
  absl::Status CheckRoom() {
    DiskRoom room{0, FreeBytesAt(place_.versions())};
    for (size_t i = 0; i < plan_.files.size(); ++i) {
      if (!plan_.files[i].key.empty()) continue;
      if (i < files_.size() && IsCloned(files_[i])) continue;
      room.needed_bytes += plan_.files[i].size_bytes;
    }
    return CheckDiskRoom(room, place_.versions());
  }

  bool IsCloned(const File& file) const {
    return plan_.links == ViewLinks::kReflink && file.shards.size() == 1;
  }

  absl::Status MakeFile(const File& file, ViewFile& planned, const std::stop_token& stop) {
    const std::string path = absl::StrCat(staging_, "/", planned.path);
    MUSTER_RETURN_IF_ERROR(MakeFolderOf(path));
    if (planned.key.empty()) {
      MUSTER_RETURN_IF_ERROR(IsCloned(file) ? CloneShard(file.shards.front(), path, stop)
                                            : CopyShards(file, path, stop));
    } else {
      MUSTER_RETURN_IF_ERROR(LinkShard(file.shards.front(), planned, path, stop));
    }
    if (layout_.raw) return absl::OkStatus();
    // A link that leads to where the version will be leads nowhere yet.
    const std::string readable =
        planned.kind == ViewFile::Kind::kSymlink
            ? absl::StrCat(cache_place_.path, "/", cache_place_.domain, "/", planned.key)
            : path;
    return proof_->CheckFile(shards_[file.shards.front()], readable, planned.path);
  }

  // The file is verified at the moment that it gets its further name.
  absl::Status LinkShard(uint32_t shard, const ViewFile& planned, const std::string& path,
                         const std::stop_token& stop) {
    for (int look = 0; look < kMaxLooks; ++look) {
      bool verified = false;
      MUSTER_RETURN_IF_ERROR(cache_.Alter(
          planned.key,
          [&](const LockedEntry& entry) {
            verified = entry.verified;
            return verified ? LinkEntry(entry, planned, path) : absl::OkStatus();
          },
          stop));
      if (verified) return absl::OkStatus();
      MUSTER_RETURN_IF_ERROR(LookUp(shard, stop).status());
    }
    return absl::AbortedError(
        absl::StrCat("cache entry ", planned.key, " keeps being changed by another program"));
  }

  absl::Status LinkEntry(const LockedEntry& entry, const ViewFile& planned,
                         const std::string& path) {
    MUSTER_ASSIGN_OR_RETURN(const struct stat state, StatOf(entry.fd, entry.path));
    const auto mode = static_cast<mode_t>(options_.file_mode.value_or(state.st_mode & 07777));
    if ((state.st_mode & 07777) != mode && fchmod(entry.fd, mode) != 0) {
      return PathError(errno, "set its mode", entry.path);
    }
    // From now on others can open it. Where that is not possible, the entry is watched.
    SealFile(entry.fd, entry.path).IgnoreError();
    if (planned.kind == ViewFile::Kind::kSymlink) {
      const std::string target =
          LinkTargetOf(place_, version_, planned.path, cache_place_, planned.key);
      if (symlink(target.c_str(), path.c_str()) == 0) return absl::OkStatus();
      return PathError(errno, "make it", path);
    }
    if (link(entry.path.c_str(), path.c_str()) == 0) return absl::OkStatus();
    if (errno == EXDEV || errno == EPERM || errno == EMLINK || errno == EOPNOTSUPP) {
      return LinksImpossible(errno, entry.path, path);
    }
    return PathError(errno, "link it", path);
  }

  // The bytes are those of the entry, which counts as verified, until one of both is written to.
  absl::Status CloneShard(uint32_t shard, const std::string& path, const std::stop_token& stop) {
    MUSTER_ASSIGN_OR_RETURN(const CachedShard entry, LookUp(shard, stop));
    const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd.valid()) return PathError(errno, "make it", path);
    if (ioctl(fd.get(), FICLONE, entry.fd()) == 0) return absl::OkStatus();
    if (IsNoSpace(errno) || errno == EIO) return PathError(errno, "write it", path);
    return LinksImpossible(errno, entry.path(), path);
  }

  // The entry is in use while it is copied. What came of it is hashed, so that rot that nobody has
  // noticed yet is not copied along.
  absl::Status CopyShards(const File& file, const std::string& path, const std::stop_token& stop) {
    const UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd.valid()) return PathError(errno, "make it", path);
    for (const uint32_t shard : file.shards) {
      MUSTER_ASSIGN_OR_RETURN(const CachedShard entry, LookUp(shard, stop));
      const int64_t begin = layout_.shards[shard].offset_bytes;
      MUSTER_RETURN_IF_ERROR(CopyBytes({entry.fd(), entry.path(), 0}, {fd.get(), path, begin},
                                       entry.size_bytes(), stop));
      const absl::Status right = CheckFile(entry.content(),
                                           {fd.get(), entry.path(),
                                            [&](int64_t offset, absl::Span<char> out) {
                                              return ReadAt(fd.get(), path, begin + offset, out);
                                            }},
                                           stop);
      // Removes the entry, so that it is fetched again.
      if (absl::IsDataLoss(right)) {
        MUSTER_RETURN_IF_ERROR(cache_.Check(entry.content().ContentKey(), {}, stop));
      }
      MUSTER_RETURN_IF_ERROR(right);
    }
    return absl::OkStatus();
  }

  absl::Status WriteIndexes() {
    if (layout_.raw) return absl::OkStatus();
    // Of a part of the model, that no name is in two files.
    const uint64_t count = proof_->tensor_count();
    MUSTER_RETURN_IF_ERROR(proof_->CheckWhole(count));
    OutputLayout layout = layout_;
    MUSTER_ASSIGN_OR_RETURN(const std::vector<TiedFile> tied,
                            proof_->WriteTied(companions_, staging_, layout));
    for (const TiedFile& file : tied) plan_.files.emplace_back().path = file.path;
    for (size_t i = layout_.indexes.size(); i < layout.indexes.size(); ++i) {
      plan_.files.emplace_back().path = layout.indexes[i].path;
    }
    for (const OutputLayout::Index& index : layout.indexes) {
      if (!HoldsAnyOf(index)) continue;
      MUSTER_RETURN_IF_ERROR(WriteWholeFile(absl::StrCat(staging_, "/", index.path),
                                            proof_->IndexJsonFor(layout, index)));
    }
    return absl::OkStatus();
  }

  bool HoldsSecrets(const File& file) const {
    return std::any_of(file.shards.begin(), file.shards.end(), [this](uint32_t shard) {
      const absl::StatusOr<Encoding> encoding = ParseEncoding(shards_[shard].encoding());
      return !shards_[shard].encoding().empty() && (!encoding.ok() || encoding->encrypted);
    });
  }

  // Modes, durability, and how every file is found from now on.
  absl::Status FinishFiles() {
    for (size_t i = 0; i < plan_.files.size(); ++i) {
      ViewFile& file = plan_.files[i];
      if (file.kind == ViewFile::Kind::kWritten) {
        const bool secret = i < files_.size() && HoldsSecrets(files_[i]);
        const mode_t mode = options_.file_mode.value_or(secret ? 0440 : 0444);
        const std::string path = absl::StrCat(staging_, "/", file.path);
        const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
        if (!fd.valid()) return PathError(errno, "open it", path);
        if (fchmod(fd.get(), mode) != 0) {
          return PathError(errno, "set its mode", path);
        }
        MUSTER_RETURN_IF_ERROR(SyncFile(fd.get(), path));
      }
      MUSTER_RETURN_IF_ERROR(NoteState(staging_, file));
    }
    std::error_code error;
    const auto open_up = [](const fs::path& path) {
      return chmod(path.c_str(), 0755) == 0 ? absl::OkStatus()
                                            : PathError(errno, "open it up", path.string());
    };
    MUSTER_RETURN_IF_ERROR(open_up(staging_));
    for (fs::recursive_directory_iterator it(staging_, error), end; !error && it != end;
         it.increment(error)) {
      if (it->symlink_status(error).type() == fs::file_type::directory) {
        MUSTER_RETURN_IF_ERROR(open_up(it->path()));
      }
    }
    if (error) return PathError(error.value(), "list it", staging_);
    return SyncTree(staging_);
  }

  // Step 7.
  absl::Status GiveName() {
    const std::string path = place_.PathOf(version_);
    if (!old_is_there_) {
      if (rename(staging_.c_str(), path.c_str()) != 0) return PathError(errno, "make it", path);
      return place_.SyncVersions();
    }
    if (renameat2(AT_FDCWD, staging_.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) != 0) {
      if (errno != EINVAL && errno != ENOSYS) return PathError(errno, "replace it", path);
      return absl::UnimplementedError(
          absl::StrCat(QuoteForMessage(path),
                       ": is no longer whole, and its file system can't exchange directories; "
                       "remove it with `muster view remove`"));
    }
    MUSTER_RETURN_IF_ERROR(place_.SyncVersions());
    // Best effort: what stays of it is half made, as the next build finds it.
    if (old_->cache.path != cache_place_.path || old_->cache.domain != cache_place_.domain) {
      DropViewPin(place_, version_, *old_).IgnoreError();
      RemoveViewFiles(staging_, *old_, nullptr).IgnoreError();
    } else {
      RemoveViewFiles(staging_, *old_, &cache_).IgnoreError();
    }
    return absl::OkStatus();
  }

  absl::Status Show() {
    if (plan_.state == ViewRecord::State::kShown && place_.Current().has_value()) {
      return absl::OkStatus();
    }
    MUSTER_RETURN_IF_ERROR(place_.Switch(version_));
    plan_.state = ViewRecord::State::kShown;
    return WriteViewRecord(place_, version_, plan_);
  }

  void RemoveStaging() { RemoveViewFiles(staging_, plan_, &cache_).IgnoreError(); }

  // Best effort: what stays is half made, and known from the record.
  void Undo() {
    RemoveStaging();
    if (old_is_there_) {
      WriteViewRecord(place_, version_, *old_).IgnoreError();
      cache_.SetPin({place_.OwnerOf(version_), old_->Keys()}, {}).IgnoreError();
      return;
    }
    if (!cache_.SetPin({place_.OwnerOf(version_), {}}, {}).ok()) return;
    unlink(place_.RecordPathOf(version_).c_str());
    place_.RemoveIfUnused();
  }

  ViewSummary Summary(bool kept) const {
    return {.path = place_.link(),
            .version_path = place_.PathOf(version_),
            .kept = kept,
            .current = place_.Current() == version_,
            .links = plan_.links,
            .files = plan_.files.size(),
            .size_bytes = plan_.SizeBytes()};
  }

  Client& client_;
  ShardCache& cache_;
  const ViewOptions& options_;
  const ViewPlace& place_;
  const std::string version_;
  const std::string staging_;
  ShardCopier copier_;
  // Of the attempt under way.
  std::optional<TensorProof> proof_;
  ShardCache::Place cache_place_;
  std::vector<v1::Shard> shards_;
  std::vector<v1::Companion> companions_;
  OutputLayout layout_;
  std::vector<File> files_;
  // The first ones of its files are those of `files_`, in the same order.
  ViewRecord plan_;
  std::optional<ViewRecord> old_;
  bool old_is_there_ = false;
};

}  // namespace

absl::StatusOr<ViewSummary> BuildView(Client& client, Puller& puller, ShardCache& cache,
                                      const ViewOptions& options) {
  MUSTER_ASSIGN_OR_RETURN(const ViewPlace place, ViewPlace::At(options.directory));
  MUSTER_ASSIGN_OR_RETURN(const UniqueFd lock, place.Lock(options.stop));
  MUSTER_RETURN_IF_ERROR(RemoveHalfMade(place));
  absl::StatusOr<ViewSummary> summary = ViewBuild(client, puller, cache, options, place).Run();
  if (!summary.ok()) place.RemoveIfUnused();
  return summary;
}

}  // namespace muster
