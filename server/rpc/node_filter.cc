#include "server/rpc/node_filter.h"

#include <algorithm>
#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace muster {

namespace v1 = muster::v1;

bool Matches(const v1::ListNodesRequest& request, const Node& node) {
  if (request.state() != v1::Node::STATE_UNSPECIFIED &&
      node.row.lost() != (request.state() == v1::Node::LOST)) {
    return false;
  }
  if (request.has_zone() && node.row.zone() != request.zone()) return false;
  return std::all_of(request.labels().begin(), request.labels().end(), [&](const auto& wanted) {
    const auto label = node.row.labels().find(wanted.first);
    return label != node.row.labels().end() && label->second == wanted.second;
  });
}

std::string ListName(const v1::ListNodesRequest& request) {
  std::string name = "ListNodes";
  if (request.state() != v1::Node::STATE_UNSPECIFIED) {
    absl::StrAppend(&name, " state=", request.state());
  }
  // Escaped, so that no value looks like the next part.
  if (request.has_zone()) absl::StrAppend(&name, " zone=", absl::Base64Escape(request.zone()));
  for (const auto& [key, value] :
       std::map<std::string, std::string>(request.labels().begin(), request.labels().end())) {
    absl::StrAppend(&name, " label=", absl::Base64Escape(key), ":", absl::Base64Escape(value));
  }
  return name;
}

}  // namespace muster
