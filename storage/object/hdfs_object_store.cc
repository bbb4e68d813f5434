#include "storage/object/hdfs_object_store.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/mutex.h"
#include "storage/base/status_macros.h"
#include "storage/object/hdfs_object_writer.h"
#include "storage/object/object_rules.h"

namespace muster {
namespace {

constexpr int kDepthMax = 64;

class Lister {
 public:
  Lister(HdfsCluster& cluster, absl::string_view prefix, const ObjectStore::ListOptions& options)
      : cluster_(cluster), prefix_(prefix), options_(options) {}

  // Adds what is in `folder`, which is "" or ends with a slash.
  absl::Status Walk(const std::string& folder, int depth) {
    if (depth > kDepthMax) {
      return absl::FailedPreconditionError(absl::StrCat(cluster_.UriOf(folder), ": is more than ",
                                                        kDepthMax,
                                                        " folders deep; list a longer prefix"));
    }
    const std::string key = folder.substr(0, folder.empty() ? 0 : folder.size() - 1);
    const auto json = cluster_.Do({.operation = "LISTSTATUS", .key = key}, {});
    // Nothing is there, or it was removed since it was read from its parent.
    if (absl::IsNotFound(json.status())) return absl::OkStatus();
    MUSTER_RETURN_IF_ERROR(json.status());
    MUSTER_ASSIGN_OR_RETURN(std::vector<HdfsFile> files,
                            ParseHdfsFiles(cluster_.UriOf(folder), *json));
    // Folders with a slash at the end, so that the order is that of the objects below them.
    for (HdfsFile& file : files) {
      if (file.is_directory) file.name.push_back('/');
    }
    std::sort(files.begin(), files.end(),
              [](const HdfsFile& a, const HdfsFile& b) { return a.name < b.name; });
    for (const HdfsFile& file : files) {
      if (listed_.size() == options_.limit) break;
      // A file that is listed itself has no name.
      if (file.name.empty() || absl::StartsWith(file.name, kTemporaryPrefix)) continue;
      MUSTER_RETURN_IF_ERROR(Add(folder + file.name, file, depth));
    }
    return absl::OkStatus();
  }

  std::vector<ObjectStore::ListedObject>& listed() { return listed_; }

 private:
  absl::Status Add(const std::string& key, const HdfsFile& file, int depth) {
    const bool may_have =
        absl::StartsWith(key, prefix_) || (file.is_directory && absl::StartsWith(prefix_, key));
    const bool is_after =
        key > options_.after || (file.is_directory && absl::StartsWith(options_.after, key));
    if (!may_have || !is_after) return absl::OkStatus();
    if (file.is_directory) return Walk(key, depth + 1);
    listed_.push_back({key, file.size_bytes});
    return absl::OkStatus();
  }

  HdfsCluster& cluster_;
  const absl::string_view prefix_;
  const ObjectStore::ListOptions& options_;
  std::vector<ObjectStore::ListedObject> listed_;
};

class HdfsObjectStore final : public ObjectStore {
 public:
  explicit HdfsObjectStore(std::shared_ptr<HdfsCluster> cluster) : cluster_(std::move(cluster)) {}

  absl::StatusOr<ObjectInfo> Stat(absl::string_view key, const std::stop_token& stop) override {
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(cluster_->UriOf(key), key));
    MUSTER_ASSIGN_OR_RETURN(const HdfsFile file, cluster_->Stat(std::string(key), stop));
    return ObjectInfo{file.size_bytes, file.version()};
  }

  absl::Status Read(absl::string_view key, int64_t offset, absl::Span<char> out,
                    const ReadOptions& options) override {
    const std::string uri = cluster_->UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(uri, key));
    size_t done = 0;
    if (offset >= 0 && !out.empty()) {
      const absl::StatusOr<size_t> read = cluster_->Read(std::string(key), offset, out, options);
      if (!read.ok() && !absl::IsOutOfRange(read.status())) return read.status();
      done = read.value_or(0);
    }
    // Files are only appended to and replaced: what is the same afterwards was so all the time.
    if (done == out.size() && !out.empty() && options.if_version.empty()) return absl::OkStatus();
    MUSTER_ASSIGN_OR_RETURN(const ObjectInfo info, Stat(key, options.stop));
    MUSTER_RETURN_IF_ERROR(CheckVersion(uri, options.if_version, info.version));
    MUSTER_RETURN_IF_ERROR(CheckReadRange(uri, info.size_bytes, offset, out.size()));
    if (done == out.size()) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat(uri, ": the server sent ", done, " of ", out.size(), " bytes"));
  }

  absl::StatusOr<std::unique_ptr<ObjectWriter>> Create(absl::string_view key,
                                                       const WriteOptions& options) override {
    const std::string uri = cluster_->UriOf(key);
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(uri, key));
    MUSTER_RETURN_IF_ERROR(CheckWriteOptions(uri, options));
    return NewHdfsObjectWriter(cluster_, std::string(key), options);
  }

  absl::StatusOr<ObjectInfo> Put(absl::string_view key, absl::string_view bytes,
                                 const WriteOptions& options) override {
    MUSTER_RETURN_IF_ERROR(CheckObjectKey(cluster_->UriOf(key), key));
    WriteOptions whole = options;
    whole.size_bytes = static_cast<int64_t>(bytes.size());
    const auto writer = NewHdfsObjectWriter(cluster_, std::string(key), whole);
    MUSTER_RETURN_IF_ERROR(writer->Write(0, bytes));
    return writer->Commit();
  }

  absl::StatusOr<std::vector<ListedObject>> List(absl::string_view prefix,
                                                 const ListOptions& options) override {
    const std::string uri = cluster_->UriOf(prefix);
    MUSTER_RETURN_IF_ERROR(CheckObjectPrefix(uri, prefix));
    MUSTER_RETURN_IF_ERROR(CheckListOptions(uri, options));
    const size_t slash = prefix.rfind('/');
    Lister lister(*cluster_, prefix, options);
    MUSTER_RETURN_IF_ERROR(lister.Walk(
        std::string(slash == absl::string_view::npos ? "" : prefix.substr(0, slash + 1)), 1));
    return std::move(lister.listed());
  }

  absl::Status Delete(absl::string_view key) override {
    // HDFS would delete an empty folder, too.
    const absl::Status found = Stat(key, {}).status();
    if (absl::IsNotFound(found)) return absl::OkStatus();
    MUSTER_RETURN_IF_ERROR(found);
    return cluster_->Do({.method = "DELETE", .operation = "DELETE", .key = std::string(key)}, {})
        .status();
  }

 private:
  const std::shared_ptr<HdfsCluster> cluster_;
};

// How long a cluster with several name nodes is asked while none of them answers: it takes Hadoop about so
// long to find out that the active one is gone, to keep it from coming back, and to start the other.
constexpr absl::Duration kFailoverMax = absl::Minutes(1);

// What the clusters of one registration share.
struct Clusters {
  EnvironmentLookup environment;
  Clock& clock;
  Random& random;
  HttpStoreOptions options;
  LocationRules rules;
  Mutex mutex;
  // By scheme and authority.
  std::map<std::string, std::shared_ptr<ObjectStore>> stores MUSTER_GUARDED_BY(mutex) = {};

  absl::StatusOr<ObjectRef> Open(const Uri& uri) {
    MutexLock lock(mutex);
    std::shared_ptr<ObjectStore>& store = stores[absl::StrCat(uri.scheme, "://", uri.authority)];
    if (store == nullptr) {
      absl::StatusOr<HdfsAddress> address =
          HdfsAddressFor(uri.scheme, uri.authority, environment, ReadHadoopSettings(environment));
      if (!address.ok()) return Annotate(address.status(), uri.ToString());
      HttpStoreOptions patient = options;
      // The user's own cluster may be on this machine, with all of its data nodes.
      if (address->configured || rules.MayBeLocal(uri.ToString())) {
        patient.connection.may_be_local = nullptr;
      }
      if (address->name_nodes.size() > 1) {
        patient.retry_for = std::max(options.retry_for, kFailoverMax);
      }
      store = NewHdfsObjectStore(std::make_shared<HdfsCluster>(
          Uri{.scheme = uri.scheme, .authority = uri.authority, .path = ""}, *std::move(address),
          std::make_shared<HttpClient>(clock, random, patient), random));
    }
    return ObjectRef{store, uri.path};
  }
};

}  // namespace

std::unique_ptr<ObjectStore> NewHdfsObjectStore(std::shared_ptr<HdfsCluster> cluster) {
  return std::make_unique<HdfsObjectStore>(std::move(cluster));
}

absl::Status RegisterHdfsObjectStore(ObjectStoreRegistry& registry, EnvironmentLookup environment,
                                     Clock& clock, Random& random,
                                     const HttpStoreOptions& options) {
  auto clusters =
      std::make_shared<Clusters>(std::move(environment), clock, random, options, registry.rules());
  const auto open = [clusters](const Uri& uri) { return clusters->Open(uri); };
  MUSTER_RETURN_IF_ERROR(registry.Register("hdfs", open));
  return registry.Register("swebhdfs", open);
}

}  // namespace muster
