// The client over real gRPC, against servers inside this process.
#include "client/sdk/grpc_channel.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/sdk/client.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "muster/v1/assembly.grpc.pb.h"
#include "muster/v1/node.grpc.pb.h"
#include "tests/support/await.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

class ScriptedServer final : public v1::NodeService::Service, public v1::AssemblyService::Service {
 public:
  ScriptedServer() { Start(0); }
  ~ScriptedServer() override { Stop(); }

  void Start(int port) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port), grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(static_cast<v1::NodeService::Service*>(this));
    builder.RegisterService(static_cast<v1::AssemblyService::Service*>(this));
    server_ = builder.BuildAndStart();
  }

  void Stop() {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::time_point());
    server_.reset();
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  int port() const { return port_; }

  grpc::Status GetNode(grpc::ServerContext* context, const v1::GetNodeRequest* request,
                       v1::GetNodeResponse* response) override {
    ++calls;
    for (const auto& [key, value] : context->client_metadata()) {
      if (key == "user-agent") user_agent = std::string(value.data(), value.size());
    }
    return get_node ? get_node(*context, *request, *response) : grpc::Status::OK;
  }

  grpc::Status WatchAssembly(grpc::ServerContext* context, const v1::WatchAssemblyRequest* request,
                             grpc::ServerWriter<v1::WatchAssemblyResponse>* writer) override {
    ++calls;
    return watch ? watch(*context, *request, *writer) : grpc::Status::OK;
  }

  std::function<grpc::Status(grpc::ServerContext&, const v1::GetNodeRequest&, v1::GetNodeResponse&)>
      get_node;
  std::function<grpc::Status(grpc::ServerContext&, const v1::WatchAssemblyRequest&,
                             grpc::ServerWriter<v1::WatchAssemblyResponse>&)>
      watch;
  std::atomic<int> calls{0};
  std::string user_agent;

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

class GrpcChannelTest : public testing::Test {
 protected:
  // A client without retries, so that each test sees single calls.
  std::unique_ptr<Client> ClientOf(const std::vector<std::string>& servers) {
    auto channel = NewGrpcChannel(servers);
    EXPECT_THAT(channel, IsOk());
    return std::make_unique<Client>(*std::move(channel), *random_);
  }

  std::unique_ptr<Random> random_ = NewSeededRandom(3);
  ScriptedServer one_;
  ScriptedServer two_;
};

v1::GetNodeRequest RequestFor(const std::string& name) {
  v1::GetNodeRequest request;
  request.set_name(name);
  return request;
}

TEST_F(GrpcChannelTest, UnaryCallCarriesRequestResponseAndUserAgent) {
  one_.get_node = [](auto&, const auto& request, auto& response) {
    response.mutable_node()->set_name(request.name());
    return grpc::Status::OK;
  };

  const auto response = ClientOf({one_.address()})->GetNode(RequestFor("nodes/n1"));

  MUSTER_ASSERT_OK(response);
  EXPECT_EQ(response->node().name(), "nodes/n1");
  EXPECT_THAT(one_.user_agent, testing::StartsWith("muster/"));
}

TEST_F(GrpcChannelTest, ErrorDetailsComeFromTheTrailer) {
  one_.get_node = [](auto&, const auto&, auto&) {
    google::rpc::ErrorInfo info;
    info.set_reason("NODE_UNKNOWN");
    (*info.mutable_metadata())["node"] = "nodes/n1";
    google::rpc::Status wire;
    wire.add_details()->PackFrom(info);
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "nodes/n1 is not registered",
                        wire.SerializeAsString());
  };

  const auto response = ClientOf({one_.address()})->GetNode(RequestFor("nodes/n1"));

  EXPECT_THAT(response, ErrorIs(absl::StatusCode::kNotFound, "NODE_UNKNOWN"));
  EXPECT_EQ(DetailOf(response.status()).metadata.at("node"), "nodes/n1");
  EXPECT_EQ(response.status().message(), "nodes/n1 is not registered");
}

TEST_F(GrpcChannelTest, CallMovesToTheNextServerWhenOneIsDown) {
  one_.Stop();

  MUSTER_EXPECT_OK(ClientOf({one_.address(), two_.address()})->GetNode(RequestFor("nodes/n1")));

  EXPECT_EQ(two_.calls, 1);
}

TEST_F(GrpcChannelTest, ServerThatAnsweredIsAskedFirstNextTime) {
  one_.get_node = [](auto&, const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "not the leader");
  };
  const auto client = ClientOf({one_.address(), two_.address()});

  MUSTER_EXPECT_OK(client->GetNode(RequestFor("nodes/n1")));
  MUSTER_EXPECT_OK(client->GetNode(RequestFor("nodes/n1")));

  EXPECT_EQ(one_.calls, 1);
  EXPECT_EQ(two_.calls, 2);
}

TEST_F(GrpcChannelTest, NoServerReachableNamesThemAllAndTheWayOut) {
  one_.Stop();
  two_.Stop();

  const auto response = ClientOf({one_.address(), two_.address()})->GetNode(RequestFor("nodes/n1"));

  EXPECT_THAT(response, ErrorIs(absl::StatusCode::kUnavailable, "SERVER_UNREACHABLE"));
  EXPECT_THAT(
      std::string(response.status().message()),
      testing::AllOf(testing::HasSubstr(one_.address()), testing::HasSubstr(two_.address()),
                     testing::HasSubstr("Is musterd running"), testing::HasSubstr("--server")));
}

TEST_F(GrpcChannelTest, ServerThatComesBackIsReachedAgain) {
  const auto client = ClientOf({one_.address()});
  MUSTER_ASSERT_OK(client->GetNode(RequestFor("nodes/n1")));
  const int port = one_.port();
  one_.Stop();
  EXPECT_THAT(client->GetNode(RequestFor("nodes/n1")), StatusIs(absl::StatusCode::kUnavailable));
  one_.Start(port);

  Client retrying(
      NewRetryingChannel(*NewGrpcChannel({one_.address()}), SystemClock(), *random_, {}), *random_);

  MUSTER_EXPECT_OK(retrying.GetNode(RequestFor("nodes/n1")));
}

TEST_F(GrpcChannelTest, TimeoutEndsACallThatIsNotAnswered) {
  one_.get_node = [](grpc::ServerContext& context, const auto&, auto&) {
    AwaitOrFail("the call to be cancelled", [&] { return context.IsCancelled(); });
    return grpc::Status::OK;
  };
  CallOptions options;
  options.timeout = absl::Milliseconds(100);

  const absl::Status status =
      ClientOf({one_.address()})->GetNode(RequestFor("nodes/n1"), options).status();

  EXPECT_THAT(status, ErrorIs(absl::StatusCode::kDeadlineExceeded, "SERVER_TIMED_OUT"));
  EXPECT_THAT(status.message(), testing::HasSubstr(one_.address()));
}

TEST_F(GrpcChannelTest, StopEndsACallThatIsNotAnswered) {
  std::stop_source stop;
  one_.get_node = [&](grpc::ServerContext& context, const auto&, auto&) {
    stop.request_stop();
    AwaitOrFail("the call to be cancelled", [&] { return context.IsCancelled(); });
    return grpc::Status::OK;
  };
  CallOptions options;
  options.stop = stop.get_token();

  EXPECT_THAT(ClientOf({one_.address()})->GetNode(RequestFor("nodes/n1"), options),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(GrpcChannelTest, RequestOverTheMessageLimitIsRefused) {
  EXPECT_THAT(ClientOf({one_.address()})->GetNode(RequestFor(std::string(5 << 20, 'n'))),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(GrpcChannelTest, StreamDeliversMessagesAndTheFinalStatus) {
  one_.watch = [](auto&, const auto&, auto& writer) {
    v1::WatchAssemblyResponse message;
    for (int i = 1; i <= 3; ++i) {
      message.set_revision(i);
      writer.Write(message);
    }
    return grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "compacted");
  };
  std::vector<uint64_t> revisions;

  const absl::Status status =
      ClientOf({one_.address()})
          ->WatchAssembly(v1::WatchAssemblyRequest(), [&](const auto& message) {
            revisions.push_back(message.revision());
            return true;
          });

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kOutOfRange, "compacted"));
  EXPECT_THAT(revisions, testing::ElementsAre(1, 2, 3));
}

TEST_F(GrpcChannelTest, ReaderEndsAStreamThatWouldGoOn) {
  one_.watch = [](grpc::ServerContext& context, const auto&, auto& writer) {
    v1::WatchAssemblyResponse message;
    AwaitOrFail("the reader to end the stream",
                [&] { return context.IsCancelled() || !writer.Write(message); });
    return grpc::Status::OK;
  };
  int messages = 0;

  MUSTER_EXPECT_OK(
      ClientOf({one_.address()})->WatchAssembly(v1::WatchAssemblyRequest(), [&](const auto&) {
        return ++messages < 5;
      }));

  EXPECT_EQ(messages, 5);
}

TEST_F(GrpcChannelTest, StopEndsASilentStream) {
  std::stop_source stop;
  one_.watch = [&](grpc::ServerContext& context, const auto&, auto&) {
    stop.request_stop();
    AwaitOrFail("the call to be cancelled", [&] { return context.IsCancelled(); });
    return grpc::Status::OK;
  };
  CallOptions options;
  options.stop = stop.get_token();

  EXPECT_THAT(ClientOf({one_.address()})
                  ->WatchAssembly(
                      v1::WatchAssemblyRequest(), [](const auto&) { return true; }, options),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(GrpcChannelTest, StreamThatBreaksAfterAMessageIsLeftToItsReader) {
  one_.watch = [](auto&, const auto&, auto& writer) {
    writer.Write(v1::WatchAssemblyResponse());
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "stopping");
  };

  EXPECT_THAT(ClientOf({one_.address(), two_.address()})
                  ->WatchAssembly(v1::WatchAssemblyRequest(), [](const auto&) { return true; }),
              StatusIs(absl::StatusCode::kUnavailable, "stopping"));

  EXPECT_EQ(two_.calls, 0);
}

TEST(NewGrpcChannelTest, ServerWithoutAPortIsRefused) {
  EXPECT_THAT(NewGrpcChannel({"localhost:"}),
              ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_SERVER"));
  EXPECT_THAT(NewGrpcChannel({"localhost:99999"}),
              ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_SERVER"));
  EXPECT_THAT(NewGrpcChannel({}), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace muster
