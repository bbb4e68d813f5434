// How a unary call is carried out: one way for mutations, one for reads, one for reads of the store. Each begins with the
// gate, and ends with a line in the audit log where there is one to be told.
#ifndef MUSTER_SERVER_RPC_CALLS_H_
#define MUSTER_SERVER_RPC_CALLS_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/commit/committer.h"
#include "server/registry/registry.h"
#include "server/registry/validation.h"
#include "server/rpc/call_stats.h"
#include "server/rpc/entry.h"
#include "server/rpc/service_context.h"
#include "server/rpc/status_to_grpc.h"
#include "server/rpc/waiting_reads.h"
#include "server/rpc/work_pool.h"
#include "storage/base/error_info.h"
#include "storage/metadata/metadata_store.h"

namespace muster {

// NOT_FOUND VERSION_UNKNOWN, for a version that went while it was read.
absl::Status VersionDeleted();

// One unary call on its way. Begins with the question whether it may; finishes exactly once; thread-safe to hand over.
class UnaryCall {
 public:
  // A call that may not be made is finished at once: see refused().
  UnaryCall(ServiceContext& services, grpc::CallbackServerContext* context, const char* method,
            const google::protobuf::Message& request)
      : services_(services),
        context_(context),
        reactor_(context->DefaultReactor()),
        call_(services.stats.Begin(method, "")),
        entry_(Enter(services, *context, method, request)) {
    if (refused()) Finish(entry_.status);
  }

  grpc::ServerUnaryReactor* reactor() const { return reactor_; }
  // It may not be made, and was finished so.
  bool refused() const { return !entry_.status.ok(); }

  void Finish(const absl::Status& status) const {
    const absl::Status told =
        admitted() == nullptr ? status : services_.gate.Told(*admitted(), status);
    CallStats::Call ended = call_;
    if (!told.ok()) ended.peer = context_->peer();
    services_.stats.End(ended, told);
    if (entry_.audit == nullptr) return Send(told);
    Tell(services_, entry_.audit, status, services_.stats.Elapsed(call_),
         [call = *this, told] { call.Send(told); });
  }

  // For the audit line.
  void NoteRevision(Revision revision) const {
    if (entry_.audit != nullptr) entry_.audit->revision = revision.value;
  }

  // As the name of who called: a connection has one.
  std::string peer() const { return context_->peer(); }
  // As events name who asked.
  std::string actor() const {
    return admitted()->is_local() ? std::string() : admitted()->caller.who();
  }
  // Null where nobody got in.
  const AdmittedPtr& admitted() const { return entry_.admitted; }
  const PageSeal& page_seal() const { return services_.gate.page_seal(); }

  // Whether the caller may see an item of the answer.
  bool MayShow(const google::protobuf::Message& item, const MembershipView& members) const {
    return services_.gate.MayShow(*admitted(), item, members);
  }
  // Whether it may read the version of an assembly that it may see.
  absl::Status CheckVersion(const std::string& version, const MembershipView& members) const {
    return services_.gate.CheckVersion(*admitted(), version, members);
  }

  // Has `work`, which finishes the call, done by the pool; not if the caller has gone by then, by a
  // cancel or a deadline that has passed. Finishes the call where the pool refuses it.
  void Work(WorkPool& pool, std::function<void()> work) const {
    const absl::Status status = pool.Submit(UnlessGone(std::move(work)));
    if (!status.ok()) Finish(status);
  }
  // The same for work of which a caller has one at a time.
  void WorkAlone(WorkPool& pool, std::function<void()> work) const {
    const absl::Status status = pool.SubmitFor(peer(), UnlessGone(std::move(work)));
    if (!status.ok()) Finish(status);
  }

 private:
  void Send(const absl::Status& status) const {
    reactor_->Finish(status.ok() ? grpc::Status::OK : StatusToGrpc(status));
  }

  std::function<void()> UnlessGone(std::function<void()> work) const {
    return [call = *this, work = std::move(work)] {
      if (!call.context_->IsCancelled()) return work();
      // A caller that leaves is not a failure; what it changed before is told all the same.
      call.services_.stats.End(call.call_, absl::OkStatus());
      Tell(
          call.services_, call.entry_.audit, absl::CancelledError("the caller has gone"),
          call.services_.stats.Elapsed(call.call_), [call] {
            call.reactor_->Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the caller has gone"));
          });
    };
  }

  ServiceContext& services_;
  grpc::CallbackServerContext* context_;
  grpc::ServerUnaryReactor* reactor_;
  const CallStats::Call call_;
  const Entry entry_;
};

// Takes a request out of its call. gRPC keeps it for the handler alone, until the call is finished,
// and its interface shows it as const only so that nobody keeps a pointer.
template <typename Request>
Request TakeRequest(const Request* request) {
  return std::move(*const_cast<Request*>(request));
}

// Who asks, where the server has to remember it: with a request id.
template <typename Request>
std::string CallerOf(const grpc::CallbackServerContext& context, const Request& request) {
  if constexpr (requires { request.request_id(); }) {
    if (!request.request_id().empty()) return context.peer();
  }
  return "";
}

// Carries out the commands of a call that was begun; `fill` makes the response from what came of them.
template <typename Response, typename Fill>
void Commit(ServiceContext& services, const UnaryCall& call, std::vector<Command> commands,
            Response* response, Fill fill, std::string caller = "") {
  services.committer.Submit(Job{std::move(commands),
                                [call, response, fill = std::move(fill)](JobResult result) {
                                  if (result.status.ok()) fill(result, *response);
                                  call.NoteRevision(result.revision);
                                  call.Finish(result.status);
                                },
                                std::move(caller), call.actor()});
}

// A mutation that is one command with a response of its own.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* Mutate(ServiceContext& services, grpc::CallbackServerContext* context,
                                 const char* method, const Request* request, Response* response) {
  const UnaryCall call(services, context, method, *request);
  if (call.refused()) return call.reactor();
  if (const absl::Status checked = CheckStateless(*request); !checked.ok()) {
    call.Finish(checked);
    return call.reactor();
  }
  std::string caller = CallerOf(*context, *request);
  std::vector<Command> commands;
  commands.push_back(TakeRequest(request));
  Commit(
      services, call, std::move(commands), response,
      [](const JobResult& result, Response& out) {
        out.Swap(static_cast<Response*>(result.reply.get()));
      },
      std::move(caller));
  return call.reactor();
}

// Looks at the registry under the shared lock, and finishes the call with what `look` returned once
// what it saw is durable. The answers that wait are bounded.
template <typename Response>
void Answer(ServiceContext& services, const UnaryCall& call, Response* response,
            const std::function<absl::Status(const Registry&)>& look) {
  if (const absl::Status entered = services.waiting_reads.Enter(); !entered.ok()) {
    return call.Finish(entered);
  }
  struct Waiting {
    // The errors of a read reveal the state, too, and wait as long as an answer.
    absl::Status status;
    size_t bytes = 0;
  };
  auto waiting = std::make_shared<Waiting>();
  services.committer.Read(
      [&](const Registry& registry) {
        waiting->status = look(registry);
        response->set_revision(registry.revision().value);
        waiting->bytes = response->SpaceUsedLong();
        const absl::Status kept = services.waiting_reads.Keep(waiting->bytes);
        if (kept.ok()) return;
        response->Clear();
        waiting->status = kept;
      },
      [&services, call, waiting](Revision) {
        services.waiting_reads.Leave(waiting->bytes);
        call.Finish(waiting->status);
      });
}

// A read of the registry: `read(registry, response)`, or `read(call, registry, response)` where the answer depends on who
// asks, runs under the shared lock and fills the response.
template <typename Request, typename Response, typename Look>
grpc::ServerUnaryReactor* Read(ServiceContext& services, grpc::CallbackServerContext* context,
                               const char* method, const Request* request, Response* response,
                               Look read) {
  const UnaryCall call(services, context, method, *request);
  if (call.refused()) return call.reactor();
  Answer(services, call, response, [&](const Registry& registry) -> absl::Status {
    if constexpr (std::is_invocable_v<Look, const Registry&, Response&>) {
      return read(registry, *response);
    } else {
      return read(call, registry, *response);
    }
  });
  return call.reactor();
}

// A read whose answer takes long to work out: `take` runs under the shared lock and returns what
// the work needs; once what it saw is durable, a planner runs `work`. One at a time for a caller.
template <typename Task, typename Request, typename Response>
grpc::ServerUnaryReactor* ReadAndWork(
    ServiceContext& services, grpc::CallbackServerContext* context, const char* method,
    const Request* request, Response* response,
    const std::function<absl::StatusOr<Task>(const Registry&)>& take,
    std::function<absl::Status(const Task&, Response&)> work) {
  const UnaryCall call(services, context, method, *request);
  if (call.refused()) return call.reactor();
  auto task = std::make_shared<absl::StatusOr<Task>>(absl::UnknownError("not taken"));
  services.committer.Read(
      [&](const Registry& registry) {
        *task = take(registry);
        response->set_revision(registry.revision().value);
      },
      [&services, call, task, response, work = std::move(work)](Revision) {
        if (!task->ok()) return call.Finish(task->status());
        call.WorkAlone(services.planners,
                       [call, task, response, work] { call.Finish(work(**task, *response)); });
      });
  return call.reactor();
}

// A read that needs rows of a model version: `find` runs under the shared lock and says which
// version; once that is durable, a store reader runs `fetch`. A version that was deleted
// meanwhile is NOT_FOUND VERSION_UNKNOWN.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* ReadStore(
    ServiceContext& services, grpc::CallbackServerContext* context, const char* method,
    const Request* request, Response* response,
    const std::function<absl::StatusOr<VersionUid>(const Registry&, Response&)>& find,
    std::function<absl::Status(MetadataStore&, VersionUid, Response&)> fetch) {
  const UnaryCall call(services, context, method, *request);
  if (call.refused()) return call.reactor();
  auto version = std::make_shared<absl::StatusOr<VersionUid>>(VersionUid(0));
  auto work = [&services, call, version, response, fetch = std::move(fetch)] {
    const absl::Status fetched = fetch(services.store, **version, *response);
    Answer(services, call, response, [&](const Registry& registry) {
      const bool there = registry.catalogue().FindByUid(**version) != nullptr;
      return there ? fetched : VersionDeleted();
    });
  };
  services.committer.Read([&](const Registry& registry) { *version = find(registry, *response); },
                          [&services, call, version, work = std::move(work)](Revision) {
                            if (!version->ok()) return call.Finish(version->status());
                            call.Work(services.store_readers, work);
                          });
  return call.reactor();
}

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_CALLS_H_
