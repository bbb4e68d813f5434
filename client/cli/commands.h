// The commands, one file each. Every function adds its command to `app`; when the command line asks
// for it, parsing puts into `chosen` what to run.
#ifndef MUSTER_CLIENT_CLI_COMMANDS_H_
#define MUSTER_CLIENT_CLI_COMMANDS_H_

#include "client/cli/command.h"

namespace CLI {
class App;
}

namespace muster {

void AddSampleCommand(CLI::App& app, Command& chosen);
void AddPublishCommand(CLI::App& app, Command& chosen);
void AddInspectCommand(CLI::App& app, Command& chosen);
void AddModelsCommand(CLI::App& app, Command& chosen);
void AddShardsCommand(CLI::App& app, Command& chosen);
void AddAssembliesCommand(CLI::App& app, Command& chosen);
void AddNodesCommand(CLI::App& app, Command& chosen);
// Below `nodes`.
void AddNodesDrainCommand(CLI::App& nodes, Command& chosen);
void AddNodesUpdateCommand(CLI::App& nodes, Command& chosen);
void AddNodesReleaseNameCommand(CLI::App& nodes, Command& chosen);
void AddTokensCommand(CLI::App& app, Command& chosen);
void AddLoginCommand(CLI::App& app, Command& chosen);
// Below `shards`.
void AddShardsRepairCommands(CLI::App& shards, Command& chosen);
void AddKeysCommand(CLI::App& app, Command& chosen);
void AddAgentCommand(CLI::App& app, Command& chosen);
void AddWaitCommand(CLI::App& app, Command& chosen);
void AddStatusCommand(CLI::App& app, Command& chosen);
void AddTopCommand(CLI::App& app, Command& chosen);
void AddEventsCommand(CLI::App& app, Command& chosen);
void AddExplainCommand(CLI::App& app, Command& chosen);
void AddAssembleCommand(CLI::App& app, Command& chosen);
void AddPullCommand(CLI::App& app, Command& chosen);
void AddPrefetchCommand(CLI::App& app, Command& chosen);
void AddCacheCommand(CLI::App& app, Command& chosen);
void AddViewCommand(CLI::App& app, Command& chosen);
// Of `muster view`.
void AddViewCreateCommand(CLI::App& view, Command& chosen);
void AddVerifyCommand(CLI::App& app, Command& chosen);
void AddTuneCommand(CLI::App& app, Command& chosen);
// whoami and can.
void AddAccessCommands(CLI::App& app, Command& chosen);
void AddVersionCommand(CLI::App& app, Command& chosen);
void AddCertsCommand(CLI::App& app, Command& chosen);

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_COMMANDS_H_
