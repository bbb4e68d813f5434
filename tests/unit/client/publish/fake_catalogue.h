// ModelService in memory, for what publishes and assembles.
#ifndef MUSTER_TESTS_UNIT_CLIENT_PUBLISH_FAKE_CATALOGUE_H_
#define MUSTER_TESTS_UNIT_CLIENT_PUBLISH_FAKE_CATALOGUE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/sdk/client.h"
#include "storage/base/mutex.h"
#include "storage/base/random.h"
#include "tests/support/fake_channel.h"

namespace muster {

// Holds any number of model versions. Takes what it is sent as it is, so a test may change it into
// a hostile server. Thread-safe, but for versions().
class FakeCatalogue {
 public:
  struct Version {
    v1::ModelVersion version;
    std::map<uint32_t, v1::Shard> shards;
    std::map<uint32_t, std::vector<v1::Tensor>> tensors;
    std::vector<v1::Companion> companions;
  };

  FakeCatalogue();

  Client& client() { return *client_; }
  FakeChannel& channel() { return channel_; }

  // By full name. Used while no call is under way.
  std::map<std::string, Version>& versions() { return versions_; }

  // Runs before every call, with the method's plain name; an error becomes the call's.
  void Before(std::function<absl::Status(const std::string& method)> hook);
  // Runs after a call took effect; an error takes the reply's place.
  void After(std::function<absl::Status(const std::string& method)> hook);

 private:
  using Hook = std::function<absl::Status(const std::string& method)>;

  // Answers `method` with `body`, under the lock, between the hooks.
  template <typename Request, typename Response>
  void Serve(const std::string& method,
             std::function<absl::Status(const Request&, Response&)> body);
  absl::StatusOr<Version*> Find(const std::string& name);
  void ServeWrites();
  void ServeReads();

  FakeChannel channel_;
  const std::unique_ptr<Random> random_;
  std::unique_ptr<Client> client_;
  Mutex mutex_;
  Hook before_ MUSTER_GUARDED_BY(mutex_);
  Hook after_ MUSTER_GUARDED_BY(mutex_);
  int uids_ = 0;
  std::map<std::string, Version> versions_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_UNIT_CLIENT_PUBLISH_FAKE_CATALOGUE_H_
