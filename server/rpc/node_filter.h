// Which nodes a ListNodes call asks for.
//
// Thread-safe: pure functions.
#ifndef MUSTER_SERVER_RPC_NODE_FILTER_H_
#define MUSTER_SERVER_RPC_NODE_FILTER_H_

#include <string>

#include "muster/v1/node.pb.h"
#include "server/registry/node_table.h"

namespace muster {

bool Matches(const muster::v1::ListNodesRequest& request, const Node& node);

// The list's name for page tokens: equal filters have equal names, and a token goes with one filter.
std::string ListName(const muster::v1::ListNodesRequest& request);

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_NODE_FILTER_H_
