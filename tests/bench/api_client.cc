#include "tests/bench/api_client.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "storage/base/md5.h"

namespace muster::bench {
namespace {

namespace v1 = muster::v1;

constexpr uint64_t kPieceBytes = 8u << 20;
constexpr uint32_t kPieces = 8;
constexpr uint32_t kShardsPerCall = 1'000;

std::string Bytes(const Md5Digest& digest) { return std::string(digest.begin(), digest.end()); }

std::string ContentOf(const std::string& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsFrom(const std::string& tls_folder) {
  if (tls_folder.empty()) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials({ContentOf(tls_folder + "/ca.crt"),
                               ContentOf(tls_folder + "/admin.key"),
                               ContentOf(tls_folder + "/admin.crt")});
}

}  // namespace

std::vector<std::shared_ptr<grpc::Channel>> Connect(const std::string& address, size_t count,
                                                    const std::string& tls_folder) {
  const auto credentials = CredentialsFrom(tls_folder);
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (size_t i = 0; i < count; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    channels.push_back(grpc::CreateCustomChannel(address, credentials, arguments));
    if (!channels.back()->WaitForConnected(std::chrono::system_clock::now() +
                                           std::chrono::seconds(30))) {
      std::fprintf(stderr, "can't connect to %s\n", address.c_str());
      std::exit(1);
    }
  }
  return channels;
}

void Check(const grpc::Status& status, const std::string& what) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %d %s\n", what.c_str(), status.error_code(),
               status.error_message().c_str());
  std::exit(1);
}

v1::Shard InPlaceShard(const std::string& version, uint32_t index) {
  v1::Shard shard;
  shard.set_index(index);
  shard.set_size_bytes(kPieces * kPieceBytes - index % 1'000);
  shard.set_md5(Md5ToHex(Md5Of(absl::StrCat(version, "/", index))));
  shard.add_locations()->set_uri(
      absl::StrCat("s3://weights/", version, "/shard-", absl::Dec(index, absl::kZeroPad6), ".bin"));
  return shard;
}

v1::Shard PublishedShard(const std::string& version, uint32_t index) {
  v1::Shard shard = InPlaceShard(version, index);
  std::string pieces;
  for (uint32_t i = 0; i < kPieces; ++i) {
    pieces += Bytes(Md5Of(absl::StrCat(version, "/", index, "/", i)));
  }
  shard.set_piece_size_bytes(kPieceBytes);
  shard.set_root(Md5ToHex(Md5Of(pieces)));
  shard.set_piece_md5s(std::move(pieces));
  return shard;
}

ApiClient::ApiClient(const std::shared_ptr<grpc::Channel>& channel)
    : models_(v1::ModelService::NewStub(channel)),
      nodes_(v1::NodeService::NewStub(channel)),
      assemblies_(v1::AssemblyService::NewStub(channel)) {}

void ApiClient::CreateVersion(const std::string& name, uint32_t shard_count) {
  grpc::ClientContext context;
  v1::CreateModelVersionRequest request;
  v1::CreateModelVersionResponse response;
  request.mutable_model_version()->set_name(name);
  request.mutable_model_version()->set_shard_count(shard_count);
  Check(models_->CreateModelVersion(&context, request, &response), "CreateModelVersion");
}

void ApiClient::DeleteVersion(const std::string& name) {
  grpc::ClientContext context;
  v1::DeleteModelVersionRequest request;
  v1::DeleteModelVersionResponse response;
  request.set_name(name);
  Check(models_->DeleteModelVersion(&context, request, &response), "DeleteModelVersion");
}

void ApiClient::AddShards(const v1::AddShardsRequest& request) {
  grpc::ClientContext context;
  v1::AddShardsResponse response;
  Check(models_->AddShards(&context, request, &response), "AddShards");
}

void ApiClient::CommitVersion(const std::string& name) {
  grpc::ClientContext context;
  v1::CommitModelVersionRequest request;
  v1::CommitModelVersionResponse response;
  request.set_name(name);
  Check(models_->CommitModelVersion(&context, request, &response), "CommitModelVersion");
}

Seat ApiClient::RegisterNode(const std::string& name, const std::string& zone) {
  grpc::ClientContext context;
  v1::RegisterNodeRequest request;
  v1::RegisterNodeResponse response;
  request.mutable_node()->set_name(name);
  request.mutable_node()->set_zone(zone);
  request.mutable_node()->set_address("10.1.2.3:7071");
  request.mutable_lease_ttl()->set_seconds(3'600);
  Check(nodes_->RegisterNode(&context, request, &response), "RegisterNode");
  return Seat{name, response.epoch()};
}

void ApiClient::CreateAssembly(const std::string& name, const std::string& version,
                               uint32_t min_nodes) {
  grpc::ClientContext context;
  v1::CreateAssemblyRequest request;
  v1::CreateAssemblyResponse response;
  request.mutable_assembly()->set_name(name);
  request.mutable_assembly()->set_model_version(version);
  request.mutable_assembly()->set_policy(v1::Assembly::BALANCED);
  request.mutable_assembly()->set_min_nodes(min_nodes);
  Check(assemblies_->CreateAssembly(&context, request, &response), "CreateAssembly");
}

void ApiClient::Join(const std::string& assembly, const Seat& seat) {
  grpc::ClientContext context;
  v1::JoinAssemblyRequest request;
  v1::JoinAssemblyResponse response;
  request.set_name(assembly);
  request.set_node(seat.node);
  request.set_epoch(seat.epoch);
  request.mutable_claim()->set_kind(v1::Claim::ANY);
  Check(assemblies_->JoinAssembly(&context, request, &response), "JoinAssembly");
}

v1::Assembly ApiClient::GetAssembly(const std::string& name) {
  grpc::ClientContext context;
  v1::GetAssemblyRequest request;
  v1::GetAssemblyResponse response;
  request.set_name(name);
  Check(assemblies_->GetAssembly(&context, request, &response), "GetAssembly");
  return response.assembly();
}

v1::Assembly ApiClient::AwaitPlan(const std::string& assembly) {
  for (int tries = 0; tries < 60'000; ++tries) {
    v1::Assembly found = GetAssembly(assembly);
    if (found.generation() != 0) return found;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::fprintf(stderr, "%s gets no plan\n", assembly.c_str());
  std::exit(1);
}

std::vector<v1::AssignedShard> ApiClient::Assignments(const Seat& seat) {
  grpc::ClientContext context;
  v1::WatchAssignmentsRequest request;
  request.set_node(seat.node);
  request.set_epoch(seat.epoch);
  const auto stream = assemblies_->WatchAssignments(&context, request);
  std::vector<v1::AssignedShard> assigned;
  v1::WatchAssignmentsResponse message;
  while (stream->Read(&message)) {
    assigned.insert(assigned.end(), message.assigned().begin(), message.assigned().end());
    if (!message.complete()) continue;
    context.TryCancel();
    stream->Finish();
    return assigned;
  }
  Check(stream->Finish(), "WatchAssignments");
  return assigned;
}

v1::ReportShardsRequest ReadyReport(const Seat& seat, const v1::AssignedShard& assigned) {
  v1::ReportShardsRequest request;
  request.set_node(seat.node);
  request.set_epoch(seat.epoch);
  request.set_assembly(assigned.assembly());
  v1::ShardReport& report = *request.add_reports();
  report.set_shard(assigned.shard().index());
  report.set_generation(assigned.generation());
  report.set_state(v1::ShardReport::READY);
  return request;
}

v1::ReportShardsResponse ApiClient::Report(const v1::ReportShardsRequest& request) {
  grpc::ClientContext context;
  v1::ReportShardsResponse response;
  Check(assemblies_->ReportShards(&context, request, &response), "ReportShards");
  return response;
}

std::vector<Seat> MakePlannedAssembly(ApiClient& api, const std::string& name, uint32_t shards,
                                      uint32_t members) {
  const std::string version = absl::StrCat("models/", name, "/versions/v1");
  const std::string assembly = absl::StrCat("assemblies/", name);
  api.CreateVersion(version, shards);
  for (uint32_t begin = 0; begin < shards; begin += kShardsPerCall) {
    v1::AddShardsRequest request;
    request.set_name(version);
    for (uint32_t i = begin; i < std::min(shards, begin + kShardsPerCall); ++i) {
      *request.add_shards() = PublishedShard(version, i);
    }
    api.AddShards(request);
  }
  api.CommitVersion(version);
  api.CreateAssembly(assembly, version, members);
  std::vector<Seat> seats;
  for (uint32_t i = 0; i < members; ++i) {
    seats.push_back(api.RegisterNode(absl::StrCat("nodes/", name, "-", i), "z1"));
    api.Join(assembly, seats.back());
  }
  api.AwaitPlan(assembly);
  return seats;
}

}  // namespace muster::bench
