// How an object is written, since HDFS only appends:
//  1. Bytes are gathered in order. What comes before its turn is kept, so that a writer which goes through
//     its object from the front holds one append's bytes, and one that doesn't holds more.
//  2. The first of them make a file beside the object, under a name that no object has; each further
//     append adds to it. Nobody else knows the file, so that after an append which failed its size tells how
//     much of it arrived.
//  3. Commit appends the rest, compares the file's size, and renames it.
//  4. A writer that is dropped deletes the file.
//  5. A rename whose reply is lost has succeeded if the object is now the file that was written.
#include "storage/object/hdfs_object_writer.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/object/object_rules.h"

namespace muster {
namespace {

// Each append opens the last block again at all of its data nodes.
constexpr size_t kAppendBytes = 32 << 20;

std::string TemporaryKey(const std::string& key, Random& random) {
  const size_t slash = key.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : key.substr(0, slash + 1);
  return absl::StrCat(folder, kTemporaryPrefix, random.NextId());
}

class HdfsObjectWriter final : public ObjectWriter {
 public:
  HdfsObjectWriter(std::shared_ptr<HdfsCluster> cluster, const std::string& key,
                   const ObjectStore::WriteOptions& options)
      : cluster_(std::move(cluster)),
        key_(key),
        temporary_(TemporaryKey(key, cluster_->random())),
        options_(options),
        tracker_(cluster_->UriOf(key), options) {}

  ~HdfsObjectWriter() override {
    MutexLock lock(mutex_);
    if (!is_there_) return;
    // All that can be done.
    cluster_->Do(Call("DELETE", "DELETE"), {}).IgnoreError();
  }

  absl::Status Write(int64_t offset, absl::string_view bytes) override {
    MUSTER_RETURN_IF_ERROR(tracker_.Begin(offset, bytes.size()));
    const absl::Status stored = Store(offset, bytes);
    tracker_.Finish(offset, bytes.size(), stored.ok());
    return stored;
  }

  absl::StatusOr<ObjectInfo> Commit() override {
    MUSTER_RETURN_IF_ERROR(tracker_.Close());
    MutexLock lock(mutex_);
    MUSTER_RETURN_IF_ERROR(broken_);
    if (!is_there_ || !gathered_.empty()) MUSTER_RETURN_IF_ERROR(Flush());
    MUSTER_ASSIGN_OR_RETURN(const HdfsFile file, cluster_->Stat(temporary_, {}, key_));
    if (file.size_bytes != options_.size_bytes) {
      return absl::DataLossError(absl::StrCat(cluster_->UriOf(key_), ": has ", file.size_bytes,
                                              " bytes where ", options_.size_bytes,
                                              " were written"));
    }
    MUSTER_RETURN_IF_ERROR(Rename(file));
    is_there_ = false;
    return ObjectInfo{file.size_bytes, file.version()};
  }

 private:
  absl::Status Store(int64_t offset, absl::string_view bytes) {
    MutexLock lock(mutex_);
    MUSTER_RETURN_IF_ERROR(broken_);
    if (bytes.empty()) return absl::OkStatus();
    if (offset != next_) {
      early_[offset] = std::string(bytes);
      return absl::OkStatus();
    }
    MUSTER_RETURN_IF_ERROR(Gather(bytes));
    while (!early_.empty() && early_.begin()->first == next_) {
      const std::string next = std::move(early_.extract(early_.begin()).mapped());
      MUSTER_RETURN_IF_ERROR(Gather(next));
    }
    return absl::OkStatus();
  }

  absl::Status Gather(absl::string_view bytes) MUSTER_REQUIRES(mutex_) {
    absl::StrAppend(&gathered_, bytes);
    next_ += static_cast<int64_t>(bytes.size());
    return gathered_.size() < kAppendBytes ? absl::OkStatus() : Flush();
  }

  // A request about the file; its errors name the object.
  HdfsCall Call(const char* method, const char* operation) const {
    return {.method = method, .operation = operation, .key = temporary_, .object = key_};
  }

  // After an error nobody knows what the file holds.
  absl::Status Flush() MUSTER_REQUIRES(mutex_) {
    if (is_there_) {
      broken_ = cluster_->Append(Call("POST", "APPEND"), flushed_, gathered_, {});
    } else {
      is_there_ = true;
      HdfsCall call = Call("PUT", "CREATE");
      call.query = {{"overwrite", "true"}};
      call.body = gathered_;
      broken_ = cluster_->Do(call, {}).status();
    }
    flushed_ += static_cast<int64_t>(gathered_.size());
    gathered_.clear();
    return broken_;
  }

  absl::Status Rename(const HdfsFile& file) {
    HdfsCall call = Call("PUT", "RENAME");
    call.query = {{"destination", cluster_->PathOf(key_)},
                  {"renameoptions", options_.must_not_exist ? "NONE" : "OVERWRITE"}};
    const absl::Status renamed = cluster_->Do(call, {}).status();
    if (renamed.ok()) return renamed;
    const absl::StatusOr<HdfsFile> there = cluster_->Stat(key_, {});
    return there.ok() && there->id == file.id ? absl::OkStatus() : renamed;
  }

  const std::shared_ptr<HdfsCluster> cluster_;
  const std::string key_;
  const std::string temporary_;
  const ObjectStore::WriteOptions options_;
  WriteTracker tracker_;
  Mutex mutex_;
  // Whether there may be a file.
  bool is_there_ MUSTER_GUARDED_BY(mutex_) = false;
  absl::Status broken_ MUSTER_GUARDED_BY(mutex_);
  // What was written up to next_ and is in no file yet.
  std::string gathered_ MUSTER_GUARDED_BY(mutex_);
  int64_t next_ MUSTER_GUARDED_BY(mutex_) = 0;
  // What the file has.
  int64_t flushed_ MUSTER_GUARDED_BY(mutex_) = 0;
  // What came before its turn, by offset.
  std::map<int64_t, std::string> early_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<ObjectWriter> NewHdfsObjectWriter(std::shared_ptr<HdfsCluster> cluster,
                                                  const std::string& key,
                                                  const ObjectStore::WriteOptions& options) {
  return std::make_unique<HdfsObjectWriter>(std::move(cluster), key, options);
}

}  // namespace muster
