#include "client/sdk/pages.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error_info.h"
#include "storage/base/limits.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Calls `list` for page after page and `on_item` for each of `items_of(page)`.
template <typename Request, typename ListPage, typename ItemsOf, typename OnEach>
absl::Status ForEach(Request request, ListPage list, ItemsOf items_of, OnEach on_item) {
  request.set_page_size(kMaxPageSize);
  while (true) {
    MUSTER_ASSIGN_OR_RETURN(const auto page, list(request));
    for (const auto& item : items_of(page)) MUSTER_RETURN_IF_ERROR(on_item(item));
    if (page.next_page_token().empty()) return absl::OkStatus();
    if (page.next_page_token() == request.page_token()) {
      return MakeError(absl::StatusCode::kInternal, reasons::kPagingStuck,
                       absl::StrCat("the server answers ", request.GetTypeName(),
                                    " with the page token that it was asked with"));
    }
    request.set_page_token(page.next_page_token());
  }
}

template <typename Item>
auto AppendTo(std::vector<Item>& items) {
  return [&items](const Item& item) {
    items.push_back(item);
    return absl::OkStatus();
  };
}

}  // namespace

absl::Status ForEachShard(Client& client, absl::string_view model_version,
                          OnItem<v1::Shard> on_item, const CallOptions& options) {
  v1::ListShardsRequest request;
  request.set_name(std::string(model_version));
  return ForEach(
      std::move(request), [&](const auto& page) { return client.ListShards(page, options); },
      [](const auto& page) -> const auto& { return page.shards(); }, on_item);
}

absl::Status ForEachTensor(Client& client, absl::string_view model_version,
                           std::optional<ShardIndex> shard, OnItem<v1::Tensor> on_item,
                           const CallOptions& options) {
  v1::ListTensorsRequest request;
  request.set_name(std::string(model_version));
  if (shard.has_value()) request.set_shard(shard->value);
  return ForEach(
      std::move(request), [&](const auto& page) { return client.ListTensors(page, options); },
      [](const auto& page) -> const auto& { return page.tensors(); }, on_item);
}

absl::StatusOr<Revision> ForEachEvent(Client& client, const v1::ListEventsRequest& request,
                                      OnItem<v1::Event> on_item, const CallOptions& options) {
  Revision revision;
  const auto list = [&](const v1::ListEventsRequest& page) {
    auto response = client.ListEvents(page, options);
    if (response.ok()) revision = Revision(response->revision());
    return response;
  };
  MUSTER_RETURN_IF_ERROR(ForEach(
      request, list, [](const auto& page) -> const auto& { return page.events(); }, on_item));
  return revision;
}

absl::StatusOr<std::vector<v1::Shard>> ListAllShards(Client& client,
                                                     absl::string_view model_version,
                                                     const CallOptions& options) {
  std::vector<v1::Shard> shards;
  MUSTER_RETURN_IF_ERROR(ForEachShard(client, model_version, AppendTo(shards), options));
  return shards;
}

absl::StatusOr<std::vector<v1::Companion>> ListAllCompanions(Client& client,
                                                             absl::string_view model_version,
                                                             const CallOptions& options) {
  v1::ListCompanionsRequest request;
  request.set_name(std::string(model_version));
  std::vector<v1::Companion> companions;
  MUSTER_RETURN_IF_ERROR(ForEach(
      std::move(request), [&](const auto& page) { return client.ListCompanions(page, options); },
      [](const auto& page) -> const auto& { return page.companions(); }, AppendTo(companions)));
  return companions;
}

absl::StatusOr<std::vector<v1::ModelVersion>> ListAllModelVersions(Client& client,
                                                                   absl::string_view model,
                                                                   const CallOptions& options) {
  v1::ListModelVersionsRequest request;
  request.set_model(std::string(model));
  std::vector<v1::ModelVersion> versions;
  MUSTER_RETURN_IF_ERROR(ForEach(
      std::move(request), [&](const auto& page) { return client.ListModelVersions(page, options); },
      [](const auto& page) -> const auto& { return page.model_versions(); }, AppendTo(versions)));
  return versions;
}

absl::StatusOr<std::vector<v1::Node>> ListAllNodes(Client& client, const CallOptions& options) {
  return ListAllNodes(client, v1::ListNodesRequest(), options);
}

absl::StatusOr<std::vector<v1::Node>> ListAllNodes(Client& client,
                                                   const v1::ListNodesRequest& filter,
                                                   const CallOptions& options) {
  std::vector<v1::Node> nodes;
  MUSTER_RETURN_IF_ERROR(ForEach(
      filter, [&](const auto& page) { return client.ListNodes(page, options); },
      [](const auto& page) -> const auto& { return page.nodes(); }, AppendTo(nodes)));
  return nodes;
}

absl::StatusOr<std::vector<v1::Assembly>> ListAllAssemblies(Client& client,
                                                            absl::string_view model_version,
                                                            const CallOptions& options) {
  v1::ListAssembliesRequest request;
  request.set_model_version(std::string(model_version));
  std::vector<v1::Assembly> assemblies;
  MUSTER_RETURN_IF_ERROR(ForEach(
      std::move(request), [&](const auto& page) { return client.ListAssemblies(page, options); },
      [](const auto& page) -> const auto& { return page.assemblies(); }, AppendTo(assemblies)));
  return assemblies;
}

absl::StatusOr<std::vector<v1::JoinToken>> ListAllJoinTokens(Client& client,
                                                             const CallOptions& options) {
  std::vector<v1::JoinToken> tokens;
  MUSTER_RETURN_IF_ERROR(ForEach(
      v1::ListJoinTokensRequest(),
      [&](const auto& page) { return client.ListJoinTokens(page, options); },
      [](const auto& page) -> const auto& { return page.join_tokens(); }, AppendTo(tokens)));
  return tokens;
}

}  // namespace muster
