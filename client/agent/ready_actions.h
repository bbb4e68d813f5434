// What follows once a model is READY: its view appears, and a command of the user's runs.
#ifndef MUSTER_CLIENT_AGENT_READY_ACTIONS_H_
#define MUSTER_CLIENT_AGENT_READY_ACTIONS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/agent/noted_assembly.h"
#include "client/sdk/client.h"
#include "client/view/view_builder.h"
#include "storage/base/backoff.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"
#include "storage/base/random.h"

namespace muster {

struct ReadyOptions {
  // Whose readiness counts.
  enum class When {
    // The node's under FULL, where it holds everything, and the assembly's under other policies.
    kByPolicy,
    kNode,
    kAssembly,
  };
  struct View {
    // As ViewOptions has them.
    std::string directory;
    std::optional<ViewLinks> links;
    std::optional<uint32_t> file_mode;
    bool allow_code = false;
    // Of the shards that are assigned to the node, where these are not all.
    bool partial = false;

    bool operator==(const View& other) const = default;
  };

  // By assembly, "assemblies/{assembly}"; one that is not among them has no view.
  using Views = std::map<std::string, View>;

  When when = When::kByPolicy;
  Views views;
  // For RunShell, with MUSTER_MODEL_VERSION ("llama@v1"), MUSTER_ASSEMBLY ("demo"), MUSTER_VIEW (DIR, or
  // "" without a view) and MUSTER_OFFLINE ("1", or "" with a server) in its environment; "": none. Runs once per model version, after the view has
  // appeared.
  std::string command;
  // The environment variables that it doesn't get.
  std::vector<std::string> withheld_variables;
  // How often a command that failed is run again.
  int command_retries = 0;
  // Between attempts.
  BackoffOptions retry = {absl::Seconds(1), absl::Seconds(60), 2.0};
  // Notes what is READY for a life without a server, as MakeNote has it; empty: nothing is noted.
  std::function<absl::Status(const v1::Assembly& assembly, bool whole, const std::stop_token& stop)>
      note = {};
  // NotedAssembly::Verify with the node's cache; needed for ReadyOffline.
  std::function<absl::Status(const NotedAssembly& noted, const std::stop_token& stop)> verify = {};
};

// Called from the actions' threads.
class ReadyObserver {
 public:
  virtual ~ReadyObserver() = default;

  // No server answers: what the node held was verified, and view and command follow.
  virtual void OnOffline(const NotedAssembly& noted) = 0;
  // The next life of the agent would know nothing, or something older, without a server.
  virtual void OnNoteFailed(const std::string& assembly, const absl::Status& status) = 0;
  virtual void OnView(const std::string& assembly, const ViewSummary& summary) = 0;
  // Neither view nor command; `again`: it is tried again after a while, otherwise when the assembly
  // is READY again.
  virtual void OnReadyFailed(const std::string& assembly, const absl::Status& status,
                             bool again) = 0;
  // The exit code, or why there is none.
  virtual void OnCommand(const std::string& assembly, const std::string& model_version,
                         const absl::StatusOr<int>& exit_code) = 0;
};

// Has threads of its own, one per assembly and one per command that runs. Thread-safe.
class ReadyActions {
 public:
  // Of what `client` says: the server, or a note.
  using MakeView =
      std::function<absl::StatusOr<ViewSummary>(Client& client, const ViewOptions& options)>;
  // The shards that an assembly has on this node now.
  using ShardsOf = std::function<std::vector<v1::Shard>(const std::string& assembly)>;

  // The references outlive this. The functions are called from its threads.
  ReadyActions(Client& client, Clock& clock, Random& random, ReadyObserver& observer,
               MakeView make_view, ShardsOf shards_of, ReadyOptions options);
  // Ends what is under way, except commands: they run on.
  ~ReadyActions();
  ReadyActions(const ReadyActions&) = delete;
  ReadyActions& operator=(const ReadyActions&) = delete;

  // All shards of the assembly on this node are READY; may be called any number of times. Returns
  // at once.
  void Ready(const std::string& assembly);

  // The same while no server answers, of what the node last knew: it is verified first, and no server
  // is asked. Ends with Ready, from which on the server has the say: the view is made again where it
  // differs, and the command runs again only for another model version.
  void ReadyOffline(std::shared_ptr<const NotedAssembly> noted);

  // Replaces ReadyOptions::views. An assembly that was READY and has another view now gets it; a
  // view that is no longer among them stays as it is.
  void SetViews(const ReadyOptions::Views& views);

 private:
  void Serve(const std::string& assembly, const std::stop_token& stop);
  bool AwaitTurn(const std::string& assembly, const std::stop_token& stop);
  absl::Status Act(const std::string& assembly, const std::stop_token& stop);
  absl::Status ActOffline(const NotedAssembly& noted, const std::stop_token& stop);
  absl::Status Note(const v1::Assembly& assembly, bool whole, const std::stop_token& stop);
  bool NodeSuffices(const v1::Assembly& assembly) const;
  absl::Status AwaitAssembly(v1::Assembly& assembly, const std::stop_token& stop);
  std::optional<ReadyOptions::View> ViewOf(const v1::Assembly& assembly);
  absl::Status ShowView(Client& client, const v1::Assembly& assembly,
                        const ReadyOptions::View& options, const std::vector<uint32_t>& held,
                        const std::stop_token& stop);
  std::vector<uint32_t> HeldOf(const std::string& assembly) const;
  std::shared_ptr<const NotedAssembly> OfflineOf(const std::string& assembly);
  void ReadyLocked(const std::string& assembly) MUSTER_REQUIRES(mutex_);
  void StartCommand(const v1::Assembly& assembly, bool offline);
  void RunCommand(const v1::Assembly& assembly, bool offline, const std::stop_token& stop);

  Client& client_;
  Clock& clock_;
  Random& random_;
  ReadyObserver& observer_;
  const MakeView make_view_;
  const ShardsOf shards_of_;
  // But for the views.
  const ReadyOptions options_;
  Mutex mutex_;
  CondVar changed_;
  ReadyOptions::Views views_ MUSTER_GUARDED_BY(mutex_);
  bool ending_ MUSTER_GUARDED_BY(mutex_) = false;
  std::set<std::string> waiting_ MUSTER_GUARDED_BY(mutex_);
  // By assembly, until the node is READY for a server.
  std::map<std::string, std::shared_ptr<const NotedAssembly>> offline_ MUSTER_GUARDED_BY(mutex_);
  // By model version.
  std::map<std::string, std::jthread> commands_ MUSTER_GUARDED_BY(mutex_);
  // By assembly.
  std::map<std::string, std::jthread> workers_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_AGENT_READY_ACTIONS_H_
