#include "tests/simulation/network.h"

#include <algorithm>

namespace muster {

void Network::Heal(const std::string& host) {
  cuts_.erase({host, Way::kToServer});
  cuts_.erase({host, Way::kFromServer});
}

absl::Duration Network::ArrivalTime() {
  const absl::Duration now = world_.clock().Monotonic();
  if (world_.Chance(faults_.late)) return now + absl::Milliseconds(500 + world_.Below(40'000));
  return now + absl::Milliseconds(world_.Below(30));
}

void Network::Send(const std::string& host, Way way, std::function<void()> arrive) {
  const int copies = world_.Chance(faults_.repeated) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    if (world_.Chance(faults_.lost)) continue;
    under_way_.emplace(ArrivalTime(), Message{host, way, arrive, [] {}});
  }
}

void Network::SendInOrder(const std::string& host, Way way, absl::Duration* last,
                          std::function<void()> arrive, std::function<void()> lose) {
  *last = std::max(*last, ArrivalTime());
  if (world_.Chance(faults_.lost)) arrive = lose;
  under_way_.emplace(*last, Message{host, way, std::move(arrive), std::move(lose)});
}

void Network::Deliver() {
  const absl::Duration now = world_.clock().Monotonic();
  while (!under_way_.empty() && under_way_.begin()->first <= now) {
    const Message message = std::move(under_way_.begin()->second);
    under_way_.erase(under_way_.begin());
    if (cuts_.count({message.host, message.way}) > 0) {
      message.lose();
    } else {
      message.arrive();
    }
  }
}

}  // namespace muster
