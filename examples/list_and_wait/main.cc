// Prints a model version with its shards, then waits until an assembly is READY.
//
//   list_and_wait 127.0.0.1:7070 llama@v1 demo 60
//
// Exit codes: 0 READY, 1 an error, 2 wrong arguments, 3 not READY in time.
#include <cstdlib>
#include <iostream>
#include <string>

#include "client/sdk/client.h"
#include "client/sdk/pages.h"
#include "client/sdk/wait.h"
#include "storage/base/clock.h"
#include "storage/base/random.h"
#include "storage/base/resource_name.h"
#include "storage/base/status_macros.h"

namespace {

absl::Status PrintModelVersion(muster::Client& client, const std::string& name) {
  muster::v1::GetModelVersionRequest request;
  request.set_name(name);
  MUSTER_ASSIGN_OR_RETURN(const auto response, client.GetModelVersion(request));
  const muster::v1::ModelVersion& version = response.model_version();
  std::cout << version.name() << ": " << muster::v1::ModelVersion::State_Name(version.state())
            << ", " << version.shard_count() << " shards, " << version.size_bytes() << " bytes\n";
  return muster::ForEachShard(client, name, [](const muster::v1::Shard& shard) {
    std::cout << "  shard " << shard.index() << ": " << shard.size_bytes() << " bytes, "
              << shard.locations_size() << " location(s)\n";
    return absl::OkStatus();
  });
}

absl::Status Run(const std::string& server, const std::string& model, const std::string& assembly,
                 absl::Duration timeout) {
  const auto random = muster::NewSystemRandom();
  muster::ClientOptions options;
  options.servers = {server};
  options.retry.call_timeout = absl::Seconds(10);
  MUSTER_ASSIGN_OR_RETURN(const auto client,
                          muster::Client::Connect(options, muster::SystemClock(), *random));
  MUSTER_ASSIGN_OR_RETURN(const std::string model_name, muster::FullModelVersionName(model));
  MUSTER_RETURN_IF_ERROR(PrintModelVersion(*client, model_name));

  muster::WaitOptions wait;
  MUSTER_ASSIGN_OR_RETURN(wait.assembly, muster::FullAssemblyName(assembly));
  wait.retry.timeout = timeout;
  wait.on_state = [](const muster::v1::WatchAssemblyResponse& state) {
    std::cout << muster::DescribeState(state.assembly()) << std::endl;
  };
  return muster::WaitUntilReady(*client, muster::SystemClock(), *random, wait).status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: list_and_wait SERVER MODEL@VERSION ASSEMBLY SECONDS\n";
    return 2;
  }
  const absl::Status status = Run(argv[1], argv[2], argv[3], absl::Seconds(std::atof(argv[4])));
  if (status.ok()) return 0;
  std::cerr << status.message() << "\n";
  return absl::IsDeadlineExceeded(status) ? 3 : 1;
}
