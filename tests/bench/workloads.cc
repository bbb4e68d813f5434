#include "tests/bench/workloads.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "empty.grpc.pb.h"
#include "etcd.grpc.pb.h"
#include "tests/bench/api_client.h"

namespace muster::bench {
namespace {

namespace v1 = muster::v1;
namespace etcd = etcdserverpb;

// One method called again and again: `Next` makes the slot's next request, `Send` starts the call.
template <typename Stub, typename Request, typename Response>
class Calls : public Workload {
 public:
  template <typename MakeStub>
  Calls(const Channels& channels, size_t slots, MakeStub make_stub) : calls_(slots) {
    for (const auto& channel : channels) stubs_.push_back(make_stub(channel));
  }

  void Start(size_t slot, std::function<void(std::string error)> done) final {
    Call& call = calls_[slot];
    call.context.emplace();
    const Request* request = Next(slot, call.request);
    Send(*stubs_[slot % stubs_.size()], &*call.context, request, &call.response,
         [done = std::move(done)](const grpc::Status& status) {
           done(status.ok() ? "" : absl::StrCat(status.error_code(), " ", status.error_message()));
         });
  }

 private:
  struct Call {
    std::optional<grpc::ClientContext> context;
    Request request;
    Response response;
  };

  // The next request: `own`, filled in, or another one that nobody changes.
  virtual const Request* Next(size_t slot, Request& own) = 0;
  virtual void Send(Stub& stub, grpc::ClientContext* context, const Request* request,
                    Response* response, std::function<void(grpc::Status)> done) = 0;

  std::vector<std::unique_ptr<Stub>> stubs_;
  // A deque, as what is in it can't be moved.
  std::deque<Call> calls_;
};

class EmptyCalls final : public Calls<EmptyService::Stub, EmptyRequest, EmptyResponse> {
 public:
  EmptyCalls(const Channels& channels, size_t slots)
      : Calls(channels, slots, [](const auto& channel) { return EmptyService::NewStub(channel); }) {
  }

 private:
  const EmptyRequest* Next(size_t, EmptyRequest& own) override { return &own; }
  void Send(EmptyService::Stub& stub, grpc::ClientContext* context, const EmptyRequest* request,
            EmptyResponse* response, std::function<void(grpc::Status)> done) override {
    stub.async()->Call(context, request, response, std::move(done));
  }
};

class GetNodeCalls final
    : public Calls<v1::NodeService::Stub, v1::GetNodeRequest, v1::GetNodeResponse> {
 public:
  GetNodeCalls(const Channels& channels, size_t slots)
      : Calls(channels, slots,
              [](const auto& channel) { return v1::NodeService::NewStub(channel); }) {
    request_.set_name(
        ApiClient(channels.front()).RegisterNode(absl::StrCat("nodes/read-", getpid()), "z1").node);
  }

 private:
  const v1::GetNodeRequest* Next(size_t, v1::GetNodeRequest&) override { return &request_; }
  void Send(v1::NodeService::Stub& stub, grpc::ClientContext* context,
            const v1::GetNodeRequest* request, v1::GetNodeResponse* response,
            std::function<void(grpc::Status)> done) override {
    stub.async()->GetNode(context, request, response, std::move(done));
  }

  v1::GetNodeRequest request_;
};

class ReportCalls final
    : public Calls<v1::AssemblyService::Stub, v1::ReportShardsRequest, v1::ReportShardsResponse> {
 public:
  ReportCalls(const Channels& channels, size_t slots)
      : Calls(channels, slots,
              [](const auto& channel) { return v1::AssemblyService::NewStub(channel); }),
        slots_(slots) {
    ApiClient api(channels.front());
    for (int i = 0; i < kAssemblies; ++i) {
      const std::string name = absl::StrCat("report-", getpid(), "-", i);
      for (const Seat& seat : MakePlannedAssembly(api, name, kShards, kMembers)) {
        for (const v1::AssignedShard& assigned : api.Assignments(seat)) {
          AddShard(seat, assigned);
        }
      }
    }
  }

 private:
  static constexpr int kAssemblies = 4;
  static constexpr uint32_t kShards = 1'024;
  static constexpr uint32_t kMembers = 16;

  // A slot reports on shards of its own, so that no two calls are about one shard.
  struct Slot {
    std::vector<v1::ReportShardsRequest> requests;
    size_t next = 0;
  };

  void AddShard(const Seat& seat, const v1::AssignedShard& assigned) {
    Slot& slot = slots_[shards_++ % slots_.size()];
    slot.requests.push_back(ReadyReport(seat, assigned));
  }

  const v1::ReportShardsRequest* Next(size_t index, v1::ReportShardsRequest&) override {
    Slot& slot = slots_[index];
    v1::ReportShardsRequest& request = slot.requests[slot.next];
    slot.next = (slot.next + 1) % slot.requests.size();
    v1::ShardReport& report = *request.mutable_reports(0);
    report.set_state(report.state() == v1::ShardReport::READY ? v1::ShardReport::FETCHING
                                                              : v1::ShardReport::READY);
    return &request;
  }
  void Send(v1::AssemblyService::Stub& stub, grpc::ClientContext* context,
            const v1::ReportShardsRequest* request, v1::ReportShardsResponse* response,
            std::function<void(grpc::Status)> done) override {
    stub.async()->ReportShards(context, request, response, std::move(done));
  }

  std::vector<Slot> slots_;
  size_t shards_ = 0;
};

// More numbers than a run takes, each an index of a draft. The drafts are made ahead and deleted in
// the end, as a server bounds what all drafts together announce.
class DraftIndices {
 public:
  DraftIndices(const Channels& channels, std::string prefix, uint32_t step)
      : api_(channels.front()),
        prefix_(std::move(prefix)),
        step_(step),
        drafts_(step == 1 ? 10 : 60) {
    for (int i = 0; i < drafts_; ++i) api_.CreateVersion(NameOf(i), kShardsPerDraft);
  }
  ~DraftIndices() {
    for (int i = 0; i < drafts_; ++i) api_.DeleteVersion(NameOf(i));
  }

  struct Place {
    std::string version;
    uint32_t begin = 0;
  };
  // The next `step` indices.
  Place Take() {
    const uint64_t at = next_.fetch_add(step_);
    return Place{NameOf(at / kShardsPerDraft), static_cast<uint32_t>(at % kShardsPerDraft)};
  }

 private:
  // The limit of a model version.
  static constexpr uint32_t kShardsPerDraft = 100'000;

  std::string NameOf(uint64_t draft) const {
    return absl::StrCat("models/", prefix_, "-", getpid(), "/versions/v", draft);
  }

  ApiClient api_;
  const std::string prefix_;
  const uint32_t step_;
  const int drafts_;
  std::atomic<uint64_t> next_ = 0;
};

class AddShardCalls final
    : public Calls<v1::ModelService::Stub, v1::AddShardsRequest, v1::AddShardsResponse> {
 public:
  AddShardCalls(const Channels& channels, size_t slots, uint32_t batch)
      : Calls(channels, slots,
              [](const auto& channel) { return v1::ModelService::NewStub(channel); }),
        batch_(batch),
        indices_(channels, absl::StrCat("add-", batch), batch) {
    for (uint32_t i = 0; i < batch; ++i) *shards_.Add() = InPlaceShard("models/m/versions/v", i);
  }

 private:
  const v1::AddShardsRequest* Next(size_t, v1::AddShardsRequest& own) override {
    DraftIndices::Place place = indices_.Take();
    if (own.shards_size() == 0) *own.mutable_shards() = shards_;
    own.set_name(std::move(place.version));
    for (uint32_t i = 0; i < batch_; ++i) own.mutable_shards(i)->set_index(place.begin + i);
    return &own;
  }
  void Send(v1::ModelService::Stub& stub, grpc::ClientContext* context,
            const v1::AddShardsRequest* request, v1::AddShardsResponse* response,
            std::function<void(grpc::Status)> done) override {
    stub.async()->AddShards(context, request, response, std::move(done));
  }

  const uint32_t batch_;
  DraftIndices indices_;
  google::protobuf::RepeatedPtrField<v1::Shard> shards_;
};

// The next key, and a value that fills the put up to the bytes of a shard.
void FillPut(std::atomic<uint64_t>& next, etcd::PutRequest& put) {
  static const size_t bytes = InPlaceShard("models/m/versions/v0", 50'000).ByteSizeLong();
  put.set_key(absl::StrCat("shards/", absl::Dec(next.fetch_add(1), absl::kZeroPad12)));
  if (put.value().empty()) put.set_value(std::string(bytes - put.key().size(), 'v'));
}

class EtcdPuts final : public Calls<etcd::KV::Stub, etcd::PutRequest, etcd::PutResponse> {
 public:
  EtcdPuts(const Channels& channels, size_t slots)
      : Calls(channels, slots, [](const auto& channel) { return etcd::KV::NewStub(channel); }) {}

 private:
  const etcd::PutRequest* Next(size_t, etcd::PutRequest& own) override {
    FillPut(next_, own);
    return &own;
  }
  void Send(etcd::KV::Stub& stub, grpc::ClientContext* context, const etcd::PutRequest* request,
            etcd::PutResponse* response, std::function<void(grpc::Status)> done) override {
    stub.async()->Put(context, request, response, std::move(done));
  }

  std::atomic<uint64_t> next_ = 0;
};

class EtcdTxns final : public Calls<etcd::KV::Stub, etcd::TxnRequest, etcd::TxnResponse> {
 public:
  EtcdTxns(const Channels& channels, size_t slots)
      : Calls(channels, slots, [](const auto& channel) { return etcd::KV::NewStub(channel); }) {}

 private:
  const etcd::TxnRequest* Next(size_t, etcd::TxnRequest& own) override {
    while (own.success_size() < static_cast<int>(kPutsPerTxn)) own.add_success();
    for (etcd::RequestOp& op : *own.mutable_success()) FillPut(next_, *op.mutable_request_put());
    return &own;
  }
  void Send(etcd::KV::Stub& stub, grpc::ClientContext* context, const etcd::TxnRequest* request,
            etcd::TxnResponse* response, std::function<void(grpc::Status)> done) override {
    stub.async()->Txn(context, request, response, std::move(done));
  }

  std::atomic<uint64_t> next_ = uint64_t{1} << 32;
};

}  // namespace

std::unique_ptr<Workload> NewEmptyCalls(const Channels& channels, size_t slots) {
  return std::make_unique<EmptyCalls>(channels, slots);
}
std::unique_ptr<Workload> NewGetNodeCalls(const Channels& channels, size_t slots) {
  return std::make_unique<GetNodeCalls>(channels, slots);
}

std::unique_ptr<Workload> NewReportCalls(const Channels& channels, size_t slots) {
  return std::make_unique<ReportCalls>(channels, slots);
}
std::unique_ptr<Workload> NewAddShardCalls(const Channels& channels, size_t slots) {
  return std::make_unique<AddShardCalls>(channels, slots, 1);
}
std::unique_ptr<Workload> NewAddShardBatches(const Channels& channels, size_t slots) {
  return std::make_unique<AddShardCalls>(channels, slots, kShardsPerBatch);
}
std::unique_ptr<Workload> NewEtcdPuts(const Channels& channels, size_t slots) {
  return std::make_unique<EtcdPuts>(channels, slots);
}
std::unique_ptr<Workload> NewEtcdTxns(const Channels& channels, size_t slots) {
  return std::make_unique<EtcdTxns>(channels, slots);
}

}  // namespace muster::bench
