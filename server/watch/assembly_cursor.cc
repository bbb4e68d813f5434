#include "server/watch/assembly_cursor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/registry/validation.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {

namespace v1 = muster::v1;

absl::StatusOr<AssemblyCursor> AssemblyCursor::Open(const v1::WatchAssemblyRequest& request,
                                                    const Registry& registry) {
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
  const Revision start(request.start_revision());
  MUSTER_RETURN_IF_ERROR(CheckResumeOrSnapshot(request.history_id(), start, registry));
  AssemblyCursor cursor(request, assembly->uid(), start);
  cursor.begun_ = start.value != 0;
  cursor.untold_history_ = registry.history_id();
  if (const Assembly::Member* member = assembly->FindMember(request.node()); member != nullptr) {
    cursor.member_ = assembly->DescribeMember(request.node(), *member);
  }
  return cursor;
}

v1::WatchAssemblyResponse AssemblyMessage::Parsed() const {
  v1::WatchAssemblyResponse out;
  out.ParseFromString(absl::StrCat(shared == nullptr ? "" : *shared, own));
  return out;
}

absl::Status AssemblyCursor::Deleted() const {
  return MakeError(absl::StatusCode::kNotFound, reasons::kAssemblyUnknown,
                   absl::StrCat(request_.name(), " was deleted"), {{"assembly", request_.name()}});
}

void AssemblyCursor::NoteMember(const std::vector<Feed::ChangePtr>& changes,
                                const Assembly* present) {
  if (request_.node().empty()) return;
  for (const Feed::ChangePtr& next : changes) {
    const AssemblyChange& change = std::get<AssemblyChange>(next->what);
    for (const v1::AssemblyMember& member : change.members) {
      if (member.node() != request_.node()) continue;
      member_ = member;
      // A change leaves it out.
      const Assembly::Member* now =
          present == nullptr ? nullptr : present->FindMember(member.node());
      if (!member.has_claim() && now != nullptr) *member_->mutable_claim() = now->claim;
    }
    for (const std::string& node : change.left) {
      if (node == request_.node()) member_.reset();
    }
  }
}

void AssemblyCursor::Finish(v1::Assembly::State state, Message& message) {
  if (!untold_history_.empty()) {
    v1::WatchAssemblyResponse own;
    own.set_history_id(std::exchange(untold_history_, ""));
    message.own.append(own.SerializeAsString());
  }
  if (member_.has_value()) {
    v1::WatchAssemblyResponse own;
    own.mutable_member()->Swap(&*member_);
    message.own.append(own.SerializeAsString());
    own.mutable_member()->Swap(&*member_);
  }
  if (request_.until() == v1::Assembly::STATE_UNSPECIFIED) return;
  reached_ =
      request_.node().empty() ? state == request_.until() : member_.has_value() && member_->ready();
}

absl::StatusOr<CursorStep> AssemblyCursor::Next(const Registry& registry, const Feed& feed,
                                                Message& message) {
  message = Message();
  if (reached_) return CursorStep::kWait;
  // By uid: another assembly may have the name since.
  const Assembly* assembly = registry.assemblies().FindByUid(assembly_);
  if (!begun_) {
    begun_ = true;
    if (assembly == nullptr) return Deleted();
    reader_.Skip(registry.revision());
    v1::WatchAssemblyResponse present;
    *present.mutable_assembly() = registry.assemblies().Describe(*assembly);
    present.set_revision(registry.revision().value);
    message.own = present.SerializeAsString();
    Finish(present.assembly().state(), message);
    return CursorStep::kMessage;
  }
  std::vector<Feed::ChangePtr> changes;
  if (const auto step = reader_.Next(feed, changes)) return *step;
  NoteMember(changes, assembly);
  // The last one of a revision has all that the revision changed.
  const AssemblyChange& last = std::get<AssemblyChange>(changes.back()->what);
  if (last.message == nullptr) return Deleted();
  message.shared = last.message;
  Finish(last.state, message);
  return CursorStep::kMessage;
}

AssemblyCursor::Message AssemblyCursor::Progress(Revision durable) {
  reader_.Skip(durable);
  v1::WatchAssemblyResponse progress;
  progress.set_revision(reader_.position().value);
  progress.set_progress(true);
  progress.set_history_id(std::exchange(untold_history_, ""));
  return Message{nullptr, progress.SerializeAsString()};
}

}  // namespace muster
