#include "server/rpc/node_filter.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace muster {
namespace {

namespace v1 = muster::v1;

Node NodeWith(const std::string& zone, bool lost, const std::string& gpu) {
  Node node;
  node.row.set_zone(zone);
  node.row.set_lost(lost);
  if (!gpu.empty()) (*node.row.mutable_labels())["gpu"] = gpu;
  return node;
}

TEST(NodeFilterTest, EveryPartOfAFilterHasToFit) {
  const Node node = NodeWith("z1", true, "h100");
  v1::ListNodesRequest request;
  EXPECT_TRUE(Matches(request, node));
  request.set_state(v1::Node::LOST);
  request.set_zone("z1");
  (*request.mutable_labels())["gpu"] = "h100";
  EXPECT_TRUE(Matches(request, node));
  EXPECT_FALSE(Matches(request, NodeWith("z1", false, "h100")));
  EXPECT_FALSE(Matches(request, NodeWith("z2", true, "h100")));
  EXPECT_FALSE(Matches(request, NodeWith("z1", true, "a100")));
  EXPECT_FALSE(Matches(request, NodeWith("z1", true, "")));
  request.Clear();
  request.set_zone("");
  EXPECT_FALSE(Matches(request, node));
  EXPECT_TRUE(Matches(request, NodeWith("", true, "")));
}

TEST(NodeFilterTest, FiltersThatDifferHaveNamesThatDiffer) {
  std::set<std::string> names;
  v1::ListNodesRequest request;
  EXPECT_EQ(ListName(request), "ListNodes") << "tokens of older servers go on";
  names.insert(ListName(request));
  request.set_zone("");
  names.insert(ListName(request));
  request.set_zone("a label=Z3B1:aDEwMA==");
  names.insert(ListName(request));
  request.set_zone("a");
  (*request.mutable_labels())["gpu"] = "h100";
  names.insert(ListName(request));
  (*request.mutable_labels())["gpu"] = "";
  names.insert(ListName(request));
  request.set_state(v1::Node::LIVE);
  names.insert(ListName(request));
  request.set_state(v1::Node::LOST);
  names.insert(ListName(request));
  EXPECT_EQ(names.size(), 7u);
}

}  // namespace
}  // namespace muster
