// A network between hosts and the server, on the simulated clock: messages are late, lost, repeated,
// and overtake one another.
#ifndef MUSTER_TESTS_SIMULATION_NETWORK_H_
#define MUSTER_TESTS_SIMULATION_NETWORK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "tests/simulation/world.h"

namespace muster {

// Not thread-safe. A message goes either way between one host and the server.
class Network {
 public:
  enum class Way { kToServer, kFromServer };
  // What happens to messages, in percent. All arrive within a moment by default.
  struct Faults {
    uint64_t lost = 0;
    uint64_t repeated = 0;
    // So late that the sender has given up on it.
    uint64_t late = 0;
  };

  explicit Network(World& world) : world_(world) {}

  void SetFaults(const Faults& faults) { faults_ = faults; }
  // While a way is cut, what would arrive by it is lost.
  void Cut(const std::string& host, Way way) { cuts_.emplace(host, way); }
  void Heal(const std::string& host);

  // `arrive` runs in Deliver: never, once or twice.
  void Send(const std::string& host, Way way, std::function<void()> arrive);
  // A part of a stream: not before `*last`, the arrival of the part before it, and at most once.
  // `lose` runs instead where it is lost: the stream is broken then.
  void SendInOrder(const std::string& host, Way way, absl::Duration* last,
                   std::function<void()> arrive, std::function<void()> lose);

  // Lets arrive all that is due by now, in order of arrival.
  void Deliver();

 private:
  struct Message {
    std::string host;
    Way way;
    std::function<void()> arrive;
    std::function<void()> lose;
  };

  absl::Duration ArrivalTime();

  World& world_;
  Faults faults_;
  std::set<std::pair<std::string, Way>> cuts_;
  // By time of arrival.
  std::multimap<absl::Duration, Message> under_way_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SIMULATION_NETWORK_H_
