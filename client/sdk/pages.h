// Lists as a whole: every item of every page, in the server's order.
//
// Thread-safe: free functions over a Client. What existed unchanged during the whole listing is
// seen exactly once. The errors are those of the list calls, and kInternal PAGING_STUCK when a
// server hands out the same page for ever.
#ifndef MUSTER_CLIENT_SDK_PAGES_H_
#define MUSTER_CLIENT_SDK_PAGES_H_

#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/sdk/client.h"
#include "storage/base/numbers.h"

namespace muster {

// Called once per item; an error ends the listing and is returned.
template <typename Item>
using OnItem = absl::FunctionRef<absl::Status(const Item&)>;

// Shards run to 100,000, tensors and events to millions: these hold no more than a page in memory.
// `model_version` is a full resource name everywhere.
absl::Status ForEachShard(Client& client, absl::string_view model_version,
                          OnItem<v1::Shard> on_item, const CallOptions& options = {});
// Of one shard when `shard` is set.
absl::Status ForEachTensor(Client& client, absl::string_view model_version,
                           std::optional<ShardIndex> shard, OnItem<v1::Tensor> on_item,
                           const CallOptions& options = {});

// `request` says which events; its page fields are set here. Returns the revision of the last page:
// Client::WatchEvents goes on behind it.
absl::StatusOr<Revision> ForEachEvent(Client& client, const v1::ListEventsRequest& request,
                                      OnItem<v1::Event> on_item, const CallOptions& options = {});

absl::StatusOr<std::vector<v1::Shard>> ListAllShards(Client& client,
                                                     absl::string_view model_version,
                                                     const CallOptions& options = {});
absl::StatusOr<std::vector<v1::Companion>> ListAllCompanions(Client& client,
                                                             absl::string_view model_version,
                                                             const CallOptions& options = {});
// `model` is as ListModelVersionsRequest.model wants it; "" means all models.
absl::StatusOr<std::vector<v1::ModelVersion>> ListAllModelVersions(Client& client,
                                                                   absl::string_view model,
                                                                   const CallOptions& options = {});
absl::StatusOr<std::vector<v1::Node>> ListAllNodes(Client& client, const CallOptions& options = {});
// `filter` says which nodes; its page fields are set here.
absl::StatusOr<std::vector<v1::Node>> ListAllNodes(Client& client,
                                                   const v1::ListNodesRequest& filter,
                                                   const CallOptions& options = {});
// "" means of all model versions.
absl::StatusOr<std::vector<v1::Assembly>> ListAllAssemblies(Client& client,
                                                            absl::string_view model_version,
                                                            const CallOptions& options = {});

absl::StatusOr<std::vector<v1::JoinToken>> ListAllJoinTokens(Client& client,
                                                             const CallOptions& options);

}  // namespace muster

#endif  // MUSTER_CLIENT_SDK_PAGES_H_
