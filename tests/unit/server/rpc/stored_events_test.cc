#include "server/rpc/stored_events.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/unit/server/registry/registry_fixture.h"

namespace muster {
namespace {

namespace v1 = muster::v1;
using testing::ElementsAre;
using testing::IsEmpty;

// Revisions and nodes of a page.
std::vector<std::string> NodesOf(const v1::ListEventsResponse& page) {
  std::vector<std::string> out;
  for (const v1::Event& event : page.events()) out.push_back(event.node());
  return out;
}

class StoredEventsTest : public testing::Test {
 protected:
  absl::StatusOr<v1::ListEventsResponse> List(const v1::ListEventsRequest& request) {
    auto list = OpenEventList(request, core_.registry());
    if (!list.ok()) return list.status();
    v1::ListEventsResponse response;
    const absl::Status status = FetchEvents(core_.store(), *std::move(list), response);
    if (!status.ok()) return status;
    return response;
  }
  // nodes/0, nodes/1, ...
  void Register(int count) {
    for (int i = 0; i < count; ++i) core_.Register(absl::StrCat("nodes/", i));
  }

  RegistryFixture core_;
};

TEST_F(StoredEventsTest, PagesGiveEveryEventOnce) {
  Register(25);
  v1::ListEventsRequest request;
  request.set_page_size(10);
  std::vector<std::string> nodes;
  do {
    const auto page = List(request);
    MUSTER_ASSERT_OK(page);
    EXPECT_LE(page->events_size(), 10);
    for (const std::string& node : NodesOf(*page)) nodes.push_back(node);
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());

  ASSERT_EQ(nodes.size(), 25u);
  for (int i = 0; i < 25; ++i) EXPECT_EQ(nodes[i], absl::StrCat("nodes/", i));
}

TEST_F(StoredEventsTest, TokenIsValidOverARestart) {
  Register(5);
  v1::ListEventsRequest request;
  request.set_page_size(3);
  const auto first = List(request);
  MUSTER_ASSERT_OK(first);
  MUSTER_ASSERT_OK(core_.Restart());
  core_.Register("nodes/later");

  request.set_page_token(first->next_page_token());
  const auto second = List(request);

  MUSTER_ASSERT_OK(second);
  EXPECT_THAT(NodesOf(*second), ElementsAre("nodes/3", "nodes/4", "nodes/later"));
}

TEST_F(StoredEventsTest, TokenOfAnotherFilterIsInvalid) {
  Register(5);
  v1::ListEventsRequest request;
  request.set_page_size(3);
  request.set_page_token(List(request)->next_page_token());
  request.mutable_filter()->set_node("nodes/1");

  EXPECT_THAT(List(request), ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_PAGE_TOKEN"));
}

TEST_F(StoredEventsTest, FilterLeavesOutWhatDoesNotMatch) {
  Register(5);
  v1::ListEventsRequest request;
  request.mutable_filter()->set_node("nodes/3");
  EXPECT_THAT(NodesOf(*List(request)), ElementsAre("nodes/3"));

  request.mutable_filter()->add_kinds(v1::Event::NODE_LOST);
  EXPECT_THAT(NodesOf(*List(request)), IsEmpty());

  request.mutable_filter()->add_kinds(v1::Event::NODE_REGISTERED);
  EXPECT_THAT(NodesOf(*List(request)), ElementsAre("nodes/3"));
}

TEST_F(StoredEventsTest, ListBeginsBehindARevision) {
  Register(5);
  v1::ListEventsRequest request;
  request.set_after_revision(core_.revision().value - 2);

  EXPECT_THAT(NodesOf(*List(request)), ElementsAre("nodes/3", "nodes/4"));

  request.set_after_revision(core_.revision().value + 10);
  EXPECT_THAT(NodesOf(*List(request)), IsEmpty());
}

TEST_F(StoredEventsTest, TailIsTheLastThatMatch) {
  Register(5);
  v1::ListEventsRequest request;
  request.set_tail(2);
  EXPECT_THAT(NodesOf(*List(request)), ElementsAre("nodes/3", "nodes/4"));

  request.set_tail(100);
  EXPECT_EQ(List(request)->events_size(), 5);

  request.set_tail(2);
  request.set_after_revision(1);
  EXPECT_THAT(List(request), ErrorIs(absl::StatusCode::kInvalidArgument, "INVALID_FIELD"));
}

TEST_F(StoredEventsTest, WhatIsNoLongerKeptIsOutOfRange) {
  Register(5);
  v1::ListEventsRequest by_token;
  by_token.set_page_size(2);
  by_token.set_page_token(List(by_token)->next_page_token());
  v1::ListEventsRequest by_revision;
  by_revision.set_after_revision(1);
  // The run of these events ends, and then its time.
  core_.TickTo(3'000 * kSecondUs);
  core_.TickTo(9'000 * kSecondUs);
  core_.Register("nodes/later");

  EXPECT_THAT(List(by_token), ErrorIs(absl::StatusCode::kOutOfRange, "PAGE_TOKEN_EXPIRED"));
  EXPECT_THAT(List(by_revision), ErrorIs(absl::StatusCode::kOutOfRange, "REVISION_COMPACTED"));
  const auto all = List({});
  MUSTER_ASSERT_OK(all);
  EXPECT_THAT(NodesOf(*all), ElementsAre("nodes/later"));
  EXPECT_EQ(all->compact_revision(), core_.revision().value - 1);
}

}  // namespace
}  // namespace muster
