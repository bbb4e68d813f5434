// Which events somebody wants to see.
#ifndef MUSTER_SERVER_WATCH_EVENT_FILTER_H_
#define MUSTER_SERVER_WATCH_EVENT_FILTER_H_

#include "muster/v1/event.pb.h"

namespace muster {

// Whether the event has everything that the filter asks for. Thread-safe.
bool Matches(const muster::v1::EventFilter& filter, const muster::v1::Event& event);

}  // namespace muster

#endif  // MUSTER_SERVER_WATCH_EVENT_FILTER_H_
