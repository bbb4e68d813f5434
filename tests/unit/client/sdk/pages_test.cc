#include "client/sdk/pages.h"

#include "gtest/gtest.h"
#include "tests/support/fake_channel.h"
#include "tests/support/status_matchers.h"

namespace muster {
namespace {

constexpr char kListShards[] = "/muster.v1.ModelService/ListShards";
constexpr char kListEvents[] = "/muster.v1.EventService/ListEvents";
constexpr char kListTensors[] = "/muster.v1.ModelService/ListTensors";

class PagesTest : public testing::Test {
 protected:
  std::unique_ptr<Random> random_ = NewSeededRandom(3);
  FakeChannel fake_;
  Client client_{std::make_unique<ForwardingChannel>(fake_), *random_};
};

TEST_F(PagesTest, AllPagesAreJoinedInOrder) {
  fake_.OnUnary<v1::ListShardsRequest, v1::ListShardsResponse>(
      kListShards, [](const auto& request, auto& response, const CallOptions&) {
        EXPECT_EQ(request.name(), "models/m/versions/v");
        const uint32_t first = request.page_token().empty() ? 0 : std::stoul(request.page_token());
        for (uint32_t i = first; i < first + 2; ++i) response.add_shards()->set_index(i);
        if (first < 4) response.set_next_page_token(std::to_string(first + 2));
        return absl::OkStatus();
      });

  const auto shards = ListAllShards(client_, "models/m/versions/v");

  MUSTER_ASSERT_OK(shards);
  ASSERT_EQ(shards->size(), 6);
  for (uint32_t i = 0; i < 6; ++i) EXPECT_EQ((*shards)[i].index(), i);
}

TEST_F(PagesTest, RepeatedPageTokenIsAnErrorAndNotALoop) {
  fake_.OnUnary<v1::ListShardsRequest, v1::ListShardsResponse>(
      kListShards, [](const auto&, auto& response, const CallOptions&) {
        response.set_next_page_token("again");
        return absl::OkStatus();
      });

  EXPECT_THAT(ListAllShards(client_, "models/m/versions/v"),
              ErrorIs(absl::StatusCode::kInternal, "PAGING_STUCK"));
}

TEST_F(PagesTest, ErrorOfTheCallbackEndsTheListing) {
  fake_.OnUnary<v1::ListTensorsRequest, v1::ListTensorsResponse>(
      kListTensors, [](const auto& request, auto& response, const CallOptions&) {
        EXPECT_EQ(request.shard(), 4);
        response.add_tensors();
        response.add_tensors();
        response.set_next_page_token("more");
        return absl::OkStatus();
      });
  int seen = 0;

  const absl::Status status =
      ForEachTensor(client_, "models/m/versions/v", ShardIndex(4), [&](const auto&) {
        ++seen;
        return absl::DataLossError("bad tensor");
      });

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(fake_.calls(kListTensors), 1);
}

TEST_F(PagesTest, ErrorOfALaterPageIsReturned) {
  fake_.OnUnary<v1::ListShardsRequest, v1::ListShardsResponse>(
      kListShards, [](const auto& request, auto& response, const CallOptions&) -> absl::Status {
        if (!request.page_token().empty()) {
          return MakeError(absl::StatusCode::kInvalidArgument, "INVALID_PAGE_TOKEN", "damaged");
        }
        response.set_next_page_token("next");
        return absl::OkStatus();
      });

  EXPECT_THAT(ListAllShards(client_, "models/m/versions/v"),
              ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_PAGE_TOKEN"));
}

TEST_F(PagesTest, EventsKeepTheirFilterOverThePagesAndEndWithTheLastPagesRevision) {
  fake_.OnUnary<v1::ListEventsRequest, v1::ListEventsResponse>(
      kListEvents, [](const auto& request, auto& response, const CallOptions&) {
        EXPECT_EQ(request.filter().node(), "nodes/n1");
        EXPECT_EQ(request.tail(), 7);
        const bool first = request.page_token().empty();
        // The first page is empty and yet not the last one.
        if (first) response.set_next_page_token("more");
        if (!first) response.add_events()->set_revision(41);
        response.set_revision(first ? 50 : 52);
        return absl::OkStatus();
      });
  v1::ListEventsRequest request;
  request.mutable_filter()->set_node("nodes/n1");
  request.set_tail(7);
  std::vector<uint64_t> seen;

  const auto revision = ForEachEvent(client_, request, [&](const v1::Event& event) {
    seen.push_back(event.revision());
    return absl::OkStatus();
  });

  MUSTER_ASSERT_OK(revision);
  EXPECT_EQ(*revision, Revision(52));
  EXPECT_EQ(seen, std::vector<uint64_t>{41});
}

}  // namespace
}  // namespace muster
