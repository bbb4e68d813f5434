// A note is a line that says the format, a line with the MD5 of what follows, and the message.
#include "client/agent/assembly_notes.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cache/checked_shard.h"
#include "client/sdk/pages.h"
#include "client/sdk/pieces.h"
#include "storage/base/md5.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"
#include "storage/files/directories.h"
#include "storage/files/file_error.h"
#include "storage/files/posix_file.h"
#include "storage/files/staged_file.h"

namespace muster {
namespace {

constexpr absl::string_view kNoteFormat = "Muster note of an assembly, format 1\n";
constexpr size_t kMd5Line = 33;
// A model of 100,000 shards with a million tensors has about 200 MB.
constexpr int64_t kMaxNoteBytes = int64_t{1} << 30;
constexpr char kAssemblyPrefix[] = "assemblies/";

absl::Status DamagedNote(const std::string& path, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat(path, ": ", what, ", so what it notes counts for nothing"));
}

absl::StatusOr<std::string> ReadNoteFile(const std::string& path) {
  MUSTER_ASSIGN_OR_RETURN(const OpenedFile file, OpenRegularFile(path, path));
  MUSTER_ASSIGN_OR_RETURN(const struct stat found, StatOf(file.fd.get(), path));
  if (found.st_size > kMaxNoteBytes) return DamagedNote(path, "it is too big");
  std::string text(static_cast<size_t>(found.st_size), '\0');
  const absl::Status read =
      ReadAt(file.fd.get(), path, 0, absl::MakeSpan(text.data(), text.size()));
  if (absl::IsOutOfRange(read)) return DamagedNote(path, "it became shorter while it was read");
  MUSTER_RETURN_IF_ERROR(read);
  return text;
}

std::vector<std::string> NamesIn(const std::string& path) {
  std::vector<std::string> names;
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return names;
  // What can't be listed is not known.
  ForEachName(fd.get(), path, [&names](const std::string& name) {
    names.push_back(name);
    return absl::OkStatus();
  }).IgnoreError();
  std::sort(names.begin(), names.end());
  return names;
}

bool IsReady(const v1::Assembly& assembly) { return assembly.state() == v1::Assembly::READY; }

bool SameNote(const node::AssemblyNote& note, const v1::Assembly& assembly,
              const v1::ModelVersion& version, const std::vector<v1::Shard>& held, bool whole) {
  std::set<uint32_t> noted, present;
  for (const node::HeldShard& shard : note.held()) noted.insert(shard.shard());
  for (const v1::Shard& shard : held) present.insert(shard.index());
  const bool all = note.shards_size() == static_cast<int>(version.shard_count());
  return note.assembly().uid() == assembly.uid() && IsReady(note.assembly()) == IsReady(assembly) &&
         note.model_version().uid() == version.uid() && noted == present && (all || !whole);
}

}  // namespace

AssemblyNotes::AssemblyNotes(const NodeFolder& folder)
    : folder_(folder), path_(absl::StrCat(folder.path(), "/assemblies")) {}

std::vector<AssemblyNotes> AssemblyNotes::OfCache(const std::string& cache) {
  std::vector<AssemblyNotes> all;
  for (const std::string& node : NamesIn(ParentOf(NodeFolder(cache, "nodes/n").path()))) {
    all.emplace_back(NodeFolder(cache, node));
  }
  return all;
}

std::string AssemblyNotes::PathOf(const std::string& assembly) const {
  return absl::StrCat(path_, "/", absl::StripPrefix(assembly, kAssemblyPrefix));
}

absl::Status AssemblyNotes::Write(const node::AssemblyNote& note) const {
  MUSTER_RETURN_IF_ERROR(ParseAssemblyName(note.assembly().name()).status());
  if (note.ByteSizeLong() > static_cast<size_t>(kMaxNoteBytes / 2)) {
    return absl::ResourceExhaustedError(
        absl::StrCat(note.assembly().name(), " is too big to be noted"));
  }
  MUSTER_RETURN_IF_ERROR(folder_.Make());
  MUSTER_RETURN_IF_ERROR(
      MakeDirectories(path_, path_, {.mode = 0700, .parent_mode = 0700}).status());
  const std::string bytes = note.SerializeAsString();
  return WriteWholeFile(PathOf(note.assembly().name()),
                        absl::StrCat(kNoteFormat, Md5ToHex(Md5Of(bytes)), "\n", bytes));
}

absl::StatusOr<node::AssemblyNote> AssemblyNotes::Read(const std::string& assembly) const {
  // The name becomes a path.
  MUSTER_RETURN_IF_ERROR(ParseAssemblyName(assembly).status());
  const std::string path = PathOf(assembly);
  MUSTER_ASSIGN_OR_RETURN(const std::string text, ReadNoteFile(path));
  absl::string_view rest = text;
  if (!absl::ConsumePrefix(&rest, kNoteFormat) || rest.size() < kMd5Line) {
    return DamagedNote(path, "it has another format");
  }
  const absl::string_view bytes = rest.substr(kMd5Line);
  if (rest.substr(0, kMd5Line) != absl::StrCat(Md5ToHex(Md5Of(bytes)), "\n")) {
    return DamagedNote(path, "its MD5 is another one");
  }
  node::AssemblyNote note;
  if (!note.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return DamagedNote(path, "it can't be read");
  }
  if (note.assembly().name() != assembly) return DamagedNote(path, "it is of another assembly");
  return note;
}

absl::Status AssemblyNotes::Remove(const std::string& assembly) const {
  MUSTER_RETURN_IF_ERROR(ParseAssemblyName(assembly).status());
  const std::string path = PathOf(assembly);
  if (unlink(path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return absl::OkStatus();
  return PathError(errno, "remove it", path);
}

std::vector<std::string> AssemblyNotes::Assemblies() const {
  std::vector<std::string> assemblies;
  for (const std::string& name : NamesIn(path_)) {
    const std::string assembly = absl::StrCat(kAssemblyPrefix, name);
    if (ParseAssemblyName(assembly).ok()) assemblies.push_back(assembly);
  }
  return assemblies;
}

absl::StatusOr<std::optional<node::AssemblyNote>> MakeNote(
    Client& client, const v1::Assembly& assembly, const std::vector<v1::Shard>& held, bool whole,
    const absl::StatusOr<node::AssemblyNote>& known, const CallOptions& call) {
  const std::string& name = assembly.model_version();
  v1::GetModelVersionRequest get;
  get.set_name(name);
  MUSTER_ASSIGN_OR_RETURN(const v1::GetModelVersionResponse found,
                          client.GetModelVersion(get, call));
  if (known.ok() && SameNote(*known, assembly, found.model_version(), held, whole)) {
    return std::nullopt;
  }
  node::AssemblyNote note;
  note.mutable_assembly()->set_name(assembly.name());
  note.mutable_assembly()->set_uid(assembly.uid());
  note.mutable_assembly()->set_model_version(name);
  note.mutable_assembly()->set_policy(assembly.policy());
  if (IsReady(assembly)) note.mutable_assembly()->set_state(v1::Assembly::READY);
  *note.mutable_model_version() = found.model_version();
  if (whole) {
    MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Shard> shards, ListAllShards(client, name, call));
    note.mutable_shards()->Add(shards.begin(), shards.end());
    MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::Companion> companions,
                            ListAllCompanions(client, name, call));
    note.mutable_companions()->Add(companions.begin(), companions.end());
  } else {
    note.mutable_shards()->Add(held.begin(), held.end());
  }
  for (const v1::Shard& shard : held) {
    node::HeldShard& one = *note.add_held();
    one.set_shard(shard.index());
    MUSTER_ASSIGN_OR_RETURN(const std::vector<Md5Digest> pieces, FetchPieces(client, shard, call));
    one.set_piece_md5s(PackPieces(pieces));
    if (!whole) continue;
    MUSTER_RETURN_IF_ERROR(ForEachTensor(
        client, name, ShardIndex(shard.index()),
        [&one](const v1::Tensor& tensor) {
          *one.add_tensors() = tensor;
          return absl::OkStatus();
        },
        call));
  }
  return note;
}

}  // namespace muster
