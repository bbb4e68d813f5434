#include "storage/object/memory_object_store.h"

#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/object/object_rules.h"
#include "storage/object/rate_limit.h"

namespace muster {
namespace {

constexpr absl::string_view kMemoryScheme = "memory";

struct MemoryObject {
  // Never changed, so that a read continues while the object is replaced.
  std::shared_ptr<const std::string> bytes;
  std::string version;
};

// The objects of one bucket. Shared with the writers, which may outlive the store.
class Bucket {
 public:
  explicit Bucket(absl::string_view name) : name_(name) {}

  std::string UriOf(absl::string_view key) const {
    return Uri{std::string(kMemoryScheme), name_, std::string(key)}.ToString();
  }

  absl::StatusOr<MemoryObject> Find(absl::string_view key) {
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(UriOf(key), key));
    MutexLock lock(mutex_);
    const auto object = objects_.find(std::string(key));
    if (object == objects_.end()) {
      return absl::NotFoundError(absl::StrCat(UriOf(key), ": no such object"));
    }
    return object->second;
  }

  absl::StatusOr<ObjectInfo> Store(const std::string& key, std::string bytes, bool must_not_exist) {
    MutexLock lock(mutex_);
    if (must_not_exist && objects_.count(key) > 0) {
      return absl::AlreadyExistsError(absl::StrCat(UriOf(key), ": the object exists"));
    }
    MemoryObject object{std::make_shared<const std::string>(std::move(bytes)),
                        absl::StrCat("v", ++last_version_)};
    const ObjectInfo info{static_cast<int64_t>(object.bytes->size()), object.version};
    objects_[key] = std::move(object);
    return info;
  }

  std::vector<ObjectStore::ListedObject> List(absl::string_view prefix,
                                              const ObjectStore::ListOptions& options) {
    std::vector<ObjectStore::ListedObject> listed;
    MutexLock lock(mutex_);
    auto object = options.after < prefix ? objects_.lower_bound(std::string(prefix))
                                         : objects_.upper_bound(options.after);
    for (; object != objects_.end() && absl::StartsWith(object->first, prefix) &&
           listed.size() < options.limit;
         ++object) {
      listed.push_back({object->first, static_cast<int64_t>(object->second.bytes->size())});
    }
    return listed;
  }

  void Delete(absl::string_view key) {
    MutexLock lock(mutex_);
    objects_.erase(std::string(key));
  }

 private:
  const std::string name_;
  Mutex mutex_;
  uint64_t last_version_ MUSTER_GUARDED_BY(mutex_) = 0;
  // std::string compares as unsigned bytes, which is the order that the interface asks for.
  std::map<std::string, MemoryObject> objects_ MUSTER_GUARDED_BY(mutex_);
};

class MemoryObjectWriter final : public ObjectWriter {
 public:
  MemoryObjectWriter(std::shared_ptr<Bucket> bucket, absl::string_view key,
                     const ObjectStore::WriteOptions& options)
      : bucket_(std::move(bucket)),
        key_(key),
        must_not_exist_(options.must_not_exist),
        tracker_(bucket_->UriOf(key), options) {}

  absl::Status Write(int64_t offset, absl::string_view bytes) override {
    MUSTER_RETURN_IF_ERROR(tracker_.Begin(offset, bytes.size()));
    if (bytes.empty()) return absl::OkStatus();
    {
      MutexLock lock(mutex_);
      parts_[offset] = std::string(bytes);
    }
    tracker_.Finish(offset, bytes.size(), true);
    return absl::OkStatus();
  }

  absl::StatusOr<ObjectInfo> Commit() override {
    MUSTER_RETURN_IF_ERROR(tracker_.Close());
    std::string whole;
    MutexLock lock(mutex_);
    for (const auto& [offset, bytes] : parts_) whole += bytes;
    parts_.clear();
    return bucket_->Store(key_, std::move(whole), must_not_exist_);
  }

 private:
  const std::shared_ptr<Bucket> bucket_;
  const std::string key_;
  const bool must_not_exist_;
  WriteTracker tracker_;
  Mutex mutex_;
  std::map<int64_t, std::string> parts_ MUSTER_GUARDED_BY(mutex_);
};

class MemoryObjectStore final : public ObjectStore {
 public:
  explicit MemoryObjectStore(absl::string_view bucket)
      : bucket_(std::make_shared<Bucket>(bucket)) {}

  absl::StatusOr<ObjectInfo> Stat(absl::string_view key, const std::stop_token&) override {
    MUSTER_ASSIGN_OR_RETURN(const MemoryObject object, bucket_->Find(key));
    return ObjectInfo{static_cast<int64_t>(object.bytes->size()), object.version};
  }

  absl::Status Read(absl::string_view key, int64_t offset, absl::Span<char> out,
                    const ReadOptions& options) override {
    MUSTER_ASSIGN_OR_RETURN(const MemoryObject object, bucket_->Find(key));
    const std::string uri = bucket_->UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckVersion(uri, options.if_version, object.version));
    MUSTER_RETURN_IF_ERROR(
        CheckReadRange(uri, static_cast<int64_t>(object.bytes->size()), offset, out.size()));
    if (options.limit != nullptr) {
      options.limit->Take(static_cast<int64_t>(out.size()), options.stop);
    }
    if (options.stop.stop_requested()) {
      return absl::CancelledError(absl::StrCat(uri, ": the read was cancelled"));
    }
    if (!out.empty()) std::memcpy(out.data(), object.bytes->data() + offset, out.size());
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(absl::string_view key,
                                                       const WriteOptions& options) override {
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(bucket_->UriOf(key), key));
    MUSTER_RETURN_IF_ERROR(CheckWriteOptions(bucket_->UriOf(key), options));
    return std::make_unique<MemoryObjectWriter>(bucket_, key, options);
  }

  absl::StatusOr<ObjectInfo> Put(absl::string_view key, absl::string_view bytes,
                                 const WriteOptions& options) override {
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(bucket_->UriOf(key), key));
    return bucket_->Store(std::string(key), std::string(bytes), options.must_not_exist);
  }

  absl::StatusOr<std::vector<ListedObject>> List(absl::string_view prefix,
                                                 const ListOptions& options) override {
    MUSTER_RETURN_IF_ERROR(CheckObjectPrefix(bucket_->UriOf(prefix), prefix));
    MUSTER_RETURN_IF_ERROR(CheckListOptions(bucket_->UriOf(prefix), options));
    return bucket_->List(prefix, options);
  }

  absl::Status Delete(absl::string_view key) override {
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(bucket_->UriOf(key), key));
    bucket_->Delete(key);
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<Bucket> bucket_;
};

// The buckets of one registration.
struct Buckets {
  Mutex mutex;
  std::map<std::string, std::shared_ptr<ObjectStore>> stores MUSTER_GUARDED_BY(mutex);
};

}  // namespace

std::unique_ptr<ObjectStore> NewMemoryObjectStore() {
  return std::make_unique<MemoryObjectStore>("");
}

absl::Status RegisterMemoryObjectStore(ObjectStoreRegistry& registry) {
  auto open = [buckets = std::make_shared<Buckets>()](const Uri& uri) -> absl::StatusOr<ObjectRef> {
    if (uri.authority.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(uri.ToString(), ": needs a bucket: memory://BUCKET/KEY"));
    }
    MutexLock lock(buckets->mutex);
    std::shared_ptr<ObjectStore>& store = buckets->stores[uri.authority];
    if (store == nullptr) store = std::make_shared<MemoryObjectStore>(uri.authority);
    return ObjectRef{store, uri.path};
  };
  return registry.Register(kMemoryScheme, std::move(open));
}

}  // namespace muster
