#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/display.h"
#include "client/cli/list_output.h"
#include "client/cli/table.h"
#include "client/cli/values.h"
#include "client/sdk/pages.h"
#include "storage/base/limits.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

constexpr absl::string_view kCollection = "joinTokens/";

struct TokensArguments {
  ListFlags list;
  std::string node;
  uint32_t uses = 1;
  std::string ttl = "24h";
  std::vector<std::string> names;
};

// "f00d" for "joinTokens/f00d".
std::string IdOf(const v1::JoinToken& token) { return ShortName(token.name()); }

std::string LeftText(const v1::JoinToken& token, absl::Time now) {
  const absl::Duration left = absl::FromUnixSeconds(token.expire_time().seconds()) - now;
  return left > absl::ZeroDuration() ? HumanDuration(left) : "-";
}

std::string TokensTable(const std::vector<v1::JoinToken>& tokens, absl::Time now) {
  Table table({{"TOKEN"}, {"NODES"}, {"USED", Table::Align::kRight}, {"CREATED"}, {"ENDS IN"}});
  for (const v1::JoinToken& token : tokens) {
    table.Add({IdOf(token), token.node_pattern(), absl::StrCat(token.used(), "/", token.uses()),
               Age(token.create_time(), now), LeftText(token, now)});
  }
  return table.ToString();
}

absl::Status CreateToken(Invocation& invocation, const TokensArguments& options) {
  v1::CreateJoinTokenRequest request;
  request.set_node_pattern(options.node);
  request.set_uses(options.uses);
  MUSTER_ASSIGN_OR_RETURN(const absl::Duration ttl, ParseDuration(options.ttl));
  request.mutable_ttl()->set_seconds(absl::ToInt64Seconds(ttl));
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->CreateJoinToken(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
    return absl::OkStatus();
  }
  const v1::JoinToken& token = response.join_token();
  invocation.PrintLine(response.token());
  invocation.Note(absl::StrCat(
      "for ", CountOf(token.uses(), "machine"), " named ", token.node_pattern(), ", for ",
      LeftText(token, invocation.clock().Now()), "; it is not shown again. On ",
      token.uses() == 1 ? "the machine" : "each machine", ":\n  muster agent --server ",
      absl::StrJoin(invocation.servers(), ","), " --join TOKEN --ca ", response.authority_pin(),
      " --assembly …"));
  return absl::OkStatus();
}

absl::Status ListTokens(Invocation& invocation, const TokensArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const std::vector<v1::JoinToken> tokens,
                          ListAllJoinTokens(*client, invocation.Call()));
  List list = ListOfMessages(
      tokens, [](const auto& token) { return IdOf(token); },
      [](const auto& shown, bool, absl::Time now) { return TokensTable(shown, now); });
  list.none = "no join tokens; `muster tokens create --node NAME` makes one";
  return PrintList(invocation, options.list, list);
}

absl::Status DeleteTokens(Invocation& invocation, const TokensArguments& options) {
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  for (const std::string& name : options.names) {
    v1::DeleteJoinTokenRequest request;
    request.set_name(absl::StartsWith(name, kCollection) ? name : absl::StrCat(kCollection, name));
    MUSTER_ASSIGN_OR_RETURN(const auto response,
                            client->DeleteJoinToken(request, invocation.Call()));
    if (invocation.json()) {
      invocation.PrintJson(response);
    } else {
      invocation.PrintLine(absl::StrCat("deleted join token ", ShortName(request.name())));
    }
  }
  return absl::OkStatus();
}

struct ReleaseNameArguments {
  std::string node;
  bool dry_run = false;
};

absl::Status ReleaseName(Invocation& invocation, const ReleaseNameArguments& options) {
  v1::ReleaseNameRequest request;
  MUSTER_ASSIGN_OR_RETURN(*request.mutable_node(), FullNodeName(options.node));
  request.set_validate_only(options.dry_run);
  MUSTER_ASSIGN_OR_RETURN(const auto client, invocation.Connect());
  MUSTER_ASSIGN_OR_RETURN(const auto response, client->ReleaseName(request, invocation.Call()));
  if (invocation.json()) {
    invocation.PrintJson(response);
    return absl::OkStatus();
  }
  invocation.PrintLine(absl::StrCat(
      options.dry_run ? "would free" : "freed", " the name ", ShortName(request.node()),
      "; the certificate that held it (serial ", response.serial(), ") ends by itself"));
  return absl::OkStatus();
}

}  // namespace

void AddTokensCommand(CLI::App& app, Command& chosen) {
  CLI::App* const tokens =
      app.add_subcommand("tokens", "Create, list and delete the tokens by which machines enrol");
  auto options = std::make_shared<TokensArguments>();
  const auto choose = [options, &chosen](auto run) {
    return [options, &chosen, run] {
      chosen = [options, run](Invocation& invocation) { return run(invocation, *options); };
    };
  };
  tokens->require_subcommand(1);
  CLI::App* const create = tokens->add_subcommand("create", "Make a join token, and print it");
  create
      ->add_option("--node", options->node,
                   "Names of nodes that it is for: n1, or gpu-* for all that begin so, or *")
      ->required();
  create->add_option("--uses", options->uses, "How many machines may enrol with it")
      ->check(CLI::Range(1, kMaxJoinTokenUses))
      ->capture_default_str();
  create->add_option("--ttl", options->ttl, "How long it is good for, 1m to 30d")
      ->capture_default_str();
  CLI::App* const list = tokens->add_subcommand("list", "List join tokens that have not ended");
  AddListFlags(*list, options->list);
  CLI::App* const remove = tokens->add_subcommand(
      "delete", "Delete join tokens; the certificates that machines got by them stay");
  remove->add_option("TOKEN", options->names, "As `list` shows it")->required();
  create->callback(choose(CreateToken));
  list->callback(choose(ListTokens));
  remove->callback(choose(DeleteTokens));
  tokens->footer(
      "A join token lets an agent get a certificate for its node's name: `muster agent --join "
      "TOKEN --ca PIN`. The server keeps a digest of it, so that it is shown once. Needs the right "
      "to administer the server.\n\n"
      "Examples:\n"
      "  muster tokens create --node n1\n"
      "  muster tokens create --node 'gpu-*' --uses 100 --ttl 1h --json\n"
      "  muster tokens list\n"
      "  muster tokens delete 5f0c8a31be77");
}

void AddNodesReleaseNameCommand(CLI::App& nodes, Command& chosen) {
  CLI::App* const command = nodes.add_subcommand(
      "release-name", "Let another machine enrol under a name that a certificate holds");
  auto options = std::make_shared<ReleaseNameArguments>();
  command->add_option("NODE", options->node, "The node")->required();
  command->add_flag("--dry-run", options->dry_run, "Change nothing: only check the call");
  command->footer(
      "For a machine that has gone, or has lost its cache and its certificate with it. The old "
      "certificate can't be renewed any more and ends by itself; \"revoked\" in the server's "
      "policy, with the serial that is printed, ends it at once.\n\n"
      "Examples:\n"
      "  muster nodes release-name n1");
  command->callback([options, &chosen] {
    chosen = [options](Invocation& invocation) { return ReleaseName(invocation, *options); };
  });
}

}  // namespace muster
