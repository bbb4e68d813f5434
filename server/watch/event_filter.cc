#include "server/watch/event_filter.h"

#include <algorithm>

namespace muster {

bool Matches(const v1::EventFilter& filter, const v1::Event& event) {
  if (!filter.node().empty() && filter.node() != event.node()) return false;
  if (!filter.assembly().empty() && filter.assembly() != event.assembly()) return false;
  if (!filter.model_version().empty() && filter.model_version() != event.model_version()) {
    return false;
  }
  const auto& kinds = filter.kinds();
  return kinds.empty() || std::find(kinds.begin(), kinds.end(), event.kind()) != kinds.end();
}

}  // namespace muster
