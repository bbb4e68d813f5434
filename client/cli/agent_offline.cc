#include "client/cli/agent_offline.h"

#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/assemble/shard_copier.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// An agent that was told to serve another model since must not serve the old one.
bool StillDescribes(const Membership& membership, const NotedAssembly& noted) {
  if (!membership.create.has_value()) return true;
  return membership.create->model_version() == noted.assembly().model_version() &&
         membership.create->policy() == noted.assembly().policy();
}

absl::StatusOr<std::unique_ptr<NotedAssembly>> ReadOne(const AssemblyNotes& notes,
                                                       const std::string& assembly,
                                                       Random& random) {
  MUSTER_ASSIGN_OR_RETURN(node::AssemblyNote note, notes.Read(assembly));
  return NotedAssembly::Make(std::move(note), random);
}

// After the note of `assembly` was written, so that nobody removes what is kept for it.
absl::Status KeepCompanionsOf(Client& client, Puller& puller, const AssemblyNotes& notes,
                              const std::string& assembly, const std::stop_token& stop) {
  MUSTER_ASSIGN_OR_RETURN(const node::AssemblyNote note, notes.Read(assembly));
  ShardCopier copier(client, puller, {});
  const KeptCompanions kept = CompanionsOf(notes);
  MUSTER_RETURN_IF_ERROR(
      kept.Keep(copier, {note.companions().begin(), note.companions().end()}, stop));
  std::set<std::string> md5s;
  for (const std::string& other : notes.Assemblies()) {
    const absl::StatusOr<node::AssemblyNote> one = notes.Read(other);
    // It went, or what it needs is not known.
    if (!one.ok() && !absl::IsNotFound(one.status())) return absl::OkStatus();
    if (!one.ok()) continue;
    for (const v1::Companion& companion : one->companions()) md5s.insert(companion.md5());
  }
  kept.RemoveOthers(md5s);
  return absl::OkStatus();
}

}  // namespace

NotedAssemblies ReadNoted(const AssemblyNotes& notes, const std::vector<Membership>& memberships,
                          Random& random,
                          const std::function<void(const std::string& warning)>& warn) {
  NotedAssemblies known;
  for (const Membership& membership : memberships) {
    absl::StatusOr<std::unique_ptr<NotedAssembly>> noted =
        ReadOne(notes, membership.assembly, random);
    if (noted.ok() && StillDescribes(membership, **noted)) {
      known.push_back(*std::move(noted));
    } else if (!noted.ok() && !absl::IsNotFound(noted.status())) {
      warn(std::string(noted.status().message()));
    }
  }
  return known;
}

KeptCompanions CompanionsOf(const AssemblyNotes& notes) {
  return KeptCompanions(notes.folder().CompanionsPath());
}

void NoteReady(Client& client, ShardCache& cache, Puller& puller, const AssemblyNotes& notes,
               ReadyActions::ShardsOf shards_of, ReadyOptions& options) {
  options.note = [&client, &puller, notes, shards_of = std::move(shards_of)](
                     const v1::Assembly& assembly, bool whole,
                     const std::stop_token& stop) -> absl::Status {
    CallOptions call;
    call.stop = stop;
    const std::vector<v1::Shard> held = shards_of(assembly.name());
    // It was taken away meanwhile.
    if (held.empty()) return absl::OkStatus();
    MUSTER_ASSIGN_OR_RETURN(
        const std::optional<node::AssemblyNote> note,
        MakeNote(client, assembly, held, whole, notes.Read(assembly.name()), call));
    if (note.has_value()) MUSTER_RETURN_IF_ERROR(notes.Write(*note));
    return KeepCompanionsOf(client, puller, notes, assembly.name(), stop);
  };
  options.verify = [&cache](const NotedAssembly& noted, const std::stop_token& stop) {
    return noted.Verify(cache, stop);
  };
}

}  // namespace muster
