#include "server/watch/assembly_cursor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {

namespace v1 = muster::v1;

absl::StatusOr<AssemblyCursor> AssemblyCursor::Open(const v1::WatchAssemblyRequest& request,
                                                    const Registry& registry, const Feed& feed) {
  if (!v1::Assembly::State_IsValid(request.until())) {
    return InvalidField("until", absl::StrCat(request.until()),
                        "WAITING, LOADING, READY or DEGRADED");
  }
  if (!request.node().empty()) {
    MUSTER_RETURN_IF_ERROR(ParseNodeName(request.node()).status());
    if (request.until() != v1::Assembly::READY) {
      return InvalidField("node", request.node(), "until READY beside it");
    }
  }
  MUSTER_ASSIGN_OR_RETURN(const Assembly* assembly, registry.assemblies().Find(request.name()));
  AssemblyCursor cursor(request, assembly->uid());
  if (const Assembly::Member* member = assembly->FindMember(request.node()); member != nullptr) {
    cursor.member_ = assembly->DescribeMember(request.node(), *member);
  }
  if (request.start_revision() != 0) {
    cursor.position_ = Revision(request.start_revision());
    cursor.begun_ = true;
    MUSTER_RETURN_IF_ERROR(feed.CheckResume(cursor.key(), cursor.position_, registry.revision()));
  }
  return cursor;
}

absl::Status AssemblyCursor::Deleted() const {
  return MakeError(absl::StatusCode::kNotFound, "ASSEMBLY_UNKNOWN",
                   absl::StrCat(request_.name(), " was deleted"), {{"assembly", request_.name()}});
}

void AssemblyCursor::Fill(const v1::Assembly& assembly, Revision revision,
                          v1::WatchAssemblyResponse& message) {
  message.Clear();
  *message.mutable_assembly() = assembly;
  message.set_revision(revision.value);
  if (member_.has_value()) *message.mutable_member() = *member_;
  position_ = revision;
  if (request_.until() == v1::Assembly::STATE_UNSPECIFIED) return;
  reached_ = request_.node().empty() ? assembly.state() == request_.until()
                                     : member_.has_value() && member_->ready();
}

absl::StatusOr<bool> AssemblyCursor::Next(const Registry& registry, const Feed& feed,
                                          v1::WatchAssemblyResponse& message) {
  if (reached_) return false;
  if (!begun_) {
    begun_ = true;
    // By uid: another assembly may have the name since.
    const Assembly* assembly = registry.assemblies().FindByUid(assembly_);
    if (assembly == nullptr) return Deleted();
    Fill(registry.assemblies().Describe(*assembly), registry.revision(), message);
    return true;
  }
  MUSTER_ASSIGN_OR_RETURN(const std::vector<Feed::EventPtr> events, feed.Read(key(), position_, 1));
  if (events.empty()) return false;
  // The last one of a revision has all that the revision changed.
  const AssemblyEvent* last = nullptr;
  for (const Feed::EventPtr& event : events) {
    last = &std::get<AssemblyEvent>(event->what);
    for (const v1::AssemblyMember& member : last->members) {
      if (member.node() == request_.node()) member_ = member;
    }
    for (const std::string& node : last->left) {
      if (node == request_.node()) member_.reset();
    }
  }
  if (last->assembly == nullptr) {
    return Deleted();
  }
  Fill(*last->assembly, events.back()->revision, message);
  return true;
}

}  // namespace muster
