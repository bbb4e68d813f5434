#include "server/rpc/event_service.h"

#include <utility>

#include "muster/v1/event.grpc.pb.h"
#include "server/rpc/stored_events.h"
#include "server/rpc/watch_stream.h"
#include "server/watch/events_cursor.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using grpc::ServerWriteReactor;

class EventServiceRpc final : public v1::EventService::CallbackService {
 public:
  EventServiceRpc(ServiceContext& services, WatchHub& hub) : services_(services), hub_(hub) {}

  ServerUnaryReactor* ListEvents(CallbackServerContext* context,
                                 const v1::ListEventsRequest* request,
                                 v1::ListEventsResponse* response) override {
    const UnaryCall call(services_, context, "ListEvents", *request);
    if (call.refused()) return call.reactor();
    auto list = std::make_shared<absl::StatusOr<EventList>>(EventList());
    // What the page shows is durable before it is read: its end is.
    services_.committer.Read(
        [&](const Registry& registry) {
          const AdmittedPtr& admitted = call.admitted();
          *list =
              OpenEventList(*request, registry, admitted->is_local() ? "" : admitted->caller.who());
          if (!list->ok() || admitted->is_local()) return;
          (*list)->shows = [this, call](const v1::Event& event) {
            return call.MayShow(event, CommittedMembers(services_.committer));
          };
        },
        [this, call, list, response](Revision) {
          if (!list->ok()) return call.Finish(list->status());
          call.Work(services_.store_readers, [this, call, list, response] {
            call.Finish(FetchEvents(services_.store, **std::move(list), *response));
          });
        });
    return call.reactor();
  }

  ServerWriteReactor<v1::WatchEventsResponse>* WatchEvents(
      CallbackServerContext* context, const v1::WatchEventsRequest* request) override {
    return OpenWatch<EventsCursor, v1::WatchEventsResponse>(services_, hub_, context, "WatchEvents",
                                                            *request);
  }

 private:
  ServiceContext& services_;
  WatchHub& hub_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewEventService(ServiceContext& services, WatchHub& hub) {
  return std::make_unique<EventServiceRpc>(services, hub);
}

}  // namespace muster
