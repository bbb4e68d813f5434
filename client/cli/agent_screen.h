// What an agent does, for a person who watches a terminal: sentences, and a line that shows how far it is.
#ifndef MUSTER_CLIENT_CLI_AGENT_SCREEN_H_
#define MUSTER_CLIENT_CLI_AGENT_SCREEN_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "client/cli/agent_log.h"
#include "client/cli/progress_bar.h"
#include "client/cli/repeated_failures.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

namespace muster {

// While there is one, LogWarning and LogReloaded speak through it. Thread-safe.
class AgentScreen final : public AgentReporter {
 public:
  using NewBar = std::function<std::unique_ptr<ProgressBar>(const std::string& label)>;

  // `clock` outlives this.
  AgentScreen(Clock& clock, NewBar new_bar, Followers followers);
  ~AgentScreen() override;

  // A sentence about an assembly; "" for the node itself.
  void Say(const std::string& assembly, absl::string_view sentence);

  void OnRegistered(const v1::Node& node, uint64_t epoch, bool again) override;
  void OnNameTaken(const absl::Status& status, int renewed) override;
  void OnJoined(const v1::Assembly& assembly, bool created) override;
  void OnLeft(const std::string& assembly) override;
  void OnMembershipFailed(const std::string& assembly, bool leaving,
                          const absl::Status& status) override;
  void OnNoRoom(const std::string& assembly, const std::string& why) override;
  void OnAssigned(const AssignmentChange& change) override;
  void OnAssignmentRefused(const std::string& assembly) override;
  void OnPinned(const std::string& assembly, const absl::Status& status) override;
  void OnShard(const ShardUpdate& update) override;
  void OnProgress(const std::string& assembly, uint32_t shard, uint64_t done_bytes,
                  uint64_t size_bytes) override;
  void OnReady(const std::string& assembly, uint32_t shards, uint64_t bytes) override;
  void OnDisconnected(const absl::Status& status) override;
  void OnReconnected() override;
  void OnWarmed(const std::string& assembly, const WarmReport& report) override;
  void OnOffline(const NotedAssembly& noted) override;
  void OnNoteFailed(const std::string& assembly, const absl::Status& status) override;
  void OnView(const std::string& assembly, const ViewSummary& summary) override;
  void OnReadyFailed(const std::string& assembly, const absl::Status& status, bool again) override;
  void OnCommand(const std::string& assembly, const std::string& model_version,
                 const absl::StatusOr<int>& exit_code) override;

 private:
  // What the node is to hold of one assembly.
  struct Model {
    int64_t total_bytes = 0;
    // By shard; of what is no longer assigned, too, until the model is READY.
    std::map<uint32_t, int64_t> done_bytes;
    bool ready = false;
  };

  void SayCount(const std::string& assembly, const RepeatedFailures::Count& count);
  void SetDone(const std::string& assembly, uint32_t shard, uint64_t done_bytes);
  // Another bar, of the models that are not READY; before and after them it shows nothing.
  void NewBarOfModels() MUSTER_REQUIRES(mutex_);

  const NewBar new_bar_;
  RepeatedFailures failures_;
  Mutex mutex_;
  std::map<std::string, Model> models_ MUSTER_GUARDED_BY(mutex_);
  // Never null; sentences go above it.
  std::unique_ptr<ProgressBar> bar_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_CLI_AGENT_SCREEN_H_
