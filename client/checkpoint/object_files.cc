#include "client/checkpoint/object_files.h"

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/format/file_names.h"
#include "client/format/index_json.h"
#include "storage/base/quote.h"
#include "storage/base/status_macros.h"
#include "storage/object/object_listing.h"
#include "storage/object/uri.h"

namespace muster {
namespace {

// What a web server is asked for; a diffusers pipeline's folders can't be guessed.
constexpr absl::string_view kUsualFiles[] = {"model.safetensors", "adapter_model.safetensors",
                                             "diffusion_pytorch_model.safetensors"};
// Of use where there is none of the others.
constexpr absl::string_view kUsualTorchFiles[] = {"pytorch_model.bin", "adapter_model.bin",
                                                  "diffusion_pytorch_model.bin"};
constexpr absl::string_view kIndexSuffix = ".index.json";
constexpr absl::string_view kUsualCompanions[] = {
    "LICENSE",
    "README.md",
    "added_tokens.json",
    "adapter_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "configuration.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
};

class ObjectByteSource final : public ByteSource {
 public:
  ObjectByteSource(std::string uri, ObjectRef object, ObjectInfo info)
      : uri_(std::move(uri)), object_(std::move(object)), info_(std::move(info)) {}

  const std::string& name() const override { return uri_; }
  int64_t size_bytes() const override { return info_.size_bytes; }
  const std::string& fingerprint() const override { return info_.version; }

  absl::Status Read(int64_t offset, absl::Span<char> out) const override {
    if (offset < 0 || offset > info_.size_bytes ||
        static_cast<int64_t>(out.size()) > info_.size_bytes - offset) {
      return absl::OutOfRangeError(absl::StrCat(uri_, ": ", out.size(), " bytes from ", offset,
                                                " are not inside its ", info_.size_bytes));
    }
    if (out.empty()) return absl::OkStatus();
    return object_.store->Read(object_.key, offset, out, {.if_version = info_.version});
  }

  absl::Status CheckUnchanged() const override {
    const absl::StatusOr<ObjectInfo> now = object_.store->Stat(object_.key, {});
    if (absl::IsNotFound(now.status())) {
      return absl::AbortedError(absl::StrCat(uri_, ": was deleted while it was being published"));
    }
    MUSTER_RETURN_IF_ERROR(now.status());
    if (now->size_bytes == info_.size_bytes && now->version == info_.version) {
      return absl::OkStatus();
    }
    return absl::AbortedError(absl::StrCat(uri_, ": changed while it was being published"));
  }

 private:
  const std::string uri_;
  const ObjectRef object_;
  const ObjectInfo info_;
};

std::string AsFolder(absl::string_view src) {
  return absl::EndsWith(src, "/") ? std::string(src) : absl::StrCat(src, "/");
}

class ObjectSourceFiles final : public SourceFiles {
 public:
  explicit ObjectSourceFiles(const ObjectStoreRegistry& stores) : stores_(stores) {}

  absl::StatusOr<Kind> Look(absl::string_view src) const override {
    MUSTER_ASSIGN_OR_RETURN(const Uri uri, ParseUri(src));
    Kind kind;
    kind.name = std::string(BaseNameOf(uri.path));
    kind.is_folder = uri.path.empty() || absl::EndsWith(uri.path, "/");
    if (kind.is_folder) return kind;
    MUSTER_ASSIGN_OR_RETURN(const ObjectRef object, stores_.Open(src));
    const absl::StatusOr<ObjectInfo> info = object.store->Stat(object.key, {});
    // A directory of a file system is not an object.
    kind.is_folder = absl::IsNotFound(info.status()) || absl::IsInvalidArgument(info.status()) ||
                     absl::IsFailedPrecondition(info.status());
    if (!kind.is_folder) MUSTER_RETURN_IF_ERROR(info.status());
    return kind;
  }

  absl::StatusOr<DirectoryContent> List(absl::string_view src,
                                        const WalkOptions& options) const override {
    const std::string folder = AsFolder(src);
    absl::StatusOr<std::vector<StoredObject>> objects = ListObjectsBelow(stores_, folder);
    if (absl::IsUnimplemented(objects.status())) objects = AskForUsualFiles(folder);
    MUSTER_RETURN_IF_ERROR(objects.status());
    if (objects->empty()) {
      return absl::NotFoundError(
          absl::StrCat(QuoteForMessage(src), ": no object or folder has this name"));
    }
    if (objects->size() > kMaxDirectoryEntries) {
      return absl::InvalidArgumentError(absl::StrCat(QuoteForMessage(src), ": has more than ",
                                                     kMaxDirectoryEntries,
                                                     " objects; is it a checkpoint?"));
    }
    MUSTER_ASSIGN_OR_RETURN(const Uri root, ParseUri(folder));
    DirectoryContent content;
    for (StoredObject& object : *objects) {
      MUSTER_ASSIGN_OR_RETURN(const Uri uri, ParseUri(object.uri));
      FoundFile file{uri.path.substr(root.path.size()), std::move(object.uri), object.size_bytes,
                     ""};
      SortInto(std::move(file), options, content);
    }
    OrderLists(content);
    return content;
  }

  absl::StatusOr<std::shared_ptr<const ByteSource>> Open(const std::string& path) const override {
    MUSTER_ASSIGN_OR_RETURN(ObjectRef object, stores_.Open(path));
    MUSTER_ASSIGN_OR_RETURN(ObjectInfo info, object.store->Stat(object.key, {}));
    return std::make_shared<const ObjectByteSource>(path, std::move(object), std::move(info));
  }

  absl::Status CheckReadable(const std::string&) const override { return absl::OkStatus(); }

  absl::StatusOr<Place> Locate(const ByteSource& file) const override {
    return Place{file.name(), file.fingerprint()};
  }

 private:
  // The object's size; nothing where it is not there.
  absl::StatusOr<bool> Ask(const std::string& folder, absl::string_view name,
                           std::vector<StoredObject>& found) const {
    MUSTER_ASSIGN_OR_RETURN(std::string uri, JoinUri(folder, name));
    MUSTER_ASSIGN_OR_RETURN(const ObjectRef object, stores_.Open(uri));
    const absl::StatusOr<ObjectInfo> info = object.store->Stat(object.key, {});
    if (absl::IsNotFound(info.status())) return false;
    MUSTER_RETURN_IF_ERROR(info.status());
    found.push_back({std::move(uri), info->size_bytes});
    return true;
  }

  absl::StatusOr<std::vector<StoredObject>> AskForUsualFiles(const std::string& folder) const {
    std::vector<StoredObject> found;
    for (const absl::string_view file : kUsualFiles) {
      MUSTER_RETURN_IF_ERROR(AskForSet(folder, file, found));
    }
    if (found.empty()) {
      for (const absl::string_view file : kUsualTorchFiles) {
        MUSTER_RETURN_IF_ERROR(AskForSet(folder, file, found));
      }
    }
    if (found.empty()) {
      return absl::NotFoundError(absl::StrCat(
          QuoteForMessage(folder), ": has none of ", kUsualFiles[0], kIndexSuffix, ", ",
          kUsualFiles[0], ", ", kUsualTorchFiles[0], kIndexSuffix, " and ", kUsualTorchFiles[0],
          ", and a web server can't be asked what else there is; name the file itself"));
    }
    for (const absl::string_view name : kUsualCompanions) {
      MUSTER_RETURN_IF_ERROR(Ask(folder, name, found).status());
    }
    return found;
  }

  // The files that an index lists, or where there is none the file that would have one.
  absl::Status AskForSet(const std::string& folder, absl::string_view file,
                         std::vector<StoredObject>& found) const {
    MUSTER_ASSIGN_OR_RETURN(const bool indexed,
                            Ask(folder, absl::StrCat(file, kIndexSuffix), found));
    if (indexed) return AskForIndexed(folder, found.back().uri, found);
    return Ask(folder, file, found).status();
  }

  // What the index names and is not there is found missing when the set is chosen.
  absl::Status AskForIndexed(const std::string& folder, const std::string& index_uri,
                             std::vector<StoredObject>& found) const {
    MUSTER_ASSIGN_OR_RETURN(const auto bytes, Open(index_uri));
    MUSTER_ASSIGN_OR_RETURN(const IndexJson index, ReadIndexJson(*bytes));
    const std::set<std::string> names(index.files().begin(), index.files().end());
    for (const std::string& name : names) {
      MUSTER_RETURN_IF_ERROR(Ask(folder, name, found).status());
    }
    return absl::OkStatus();
  }

  const ObjectStoreRegistry& stores_;
};

}  // namespace

std::shared_ptr<const SourceFiles> NewObjectFiles(const ObjectStoreRegistry& stores) {
  return std::make_shared<const ObjectSourceFiles>(stores);
}

std::shared_ptr<const SourceFiles> FilesOf(absl::string_view src,
                                           const ObjectStoreRegistry& stores) {
  if (absl::StrContains(src, "://")) return NewObjectFiles(stores);
  // It lives as long as the process.
  return std::shared_ptr<const SourceFiles>(std::shared_ptr<void>(), &LocalFiles());
}

}  // namespace muster
