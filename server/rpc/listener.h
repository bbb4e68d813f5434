// The sockets that musterd listens on, and which connections get in.
//
// gRPC's own listener ends for good at the first accept that fails, takes as many connections as there are descriptors,
// and so can take the last one from the store. So connections are accepted here, and gRPC gets those that have begun to
// speak.
//
// 1. A connection may only have a descriptor with a number below `descriptors_max`. The kernel gives the lowest number
//    that is free, so what is above stays free for the store and for everything else, with nothing to be counted.
// 2. A connection that says nothing waits here. Where there is no room, the one that has been silent longest goes. So
//    whoever opens connections and leaves them keeps nobody out: a client of gRPC speaks first, and at once.
// 3. Only where all descriptors belong to connections that have spoken is a new one closed.
// 4. An accept that fails says something about that connection, or about descriptors: neither is a reason to end.
#ifndef MUSTER_SERVER_RPC_LISTENER_H_
#define MUSTER_SERVER_RPC_LISTENER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/files/unique_fd.h"

namespace muster {

// Thread-safe.
class Listener {
 public:
  struct Options {
    // "host:port"; port 0 takes a free one. A name may mean several addresses.
    std::string listen;
    // Refuse addresses that other machines reach.
    bool loopback_only = false;
    size_t descriptors_max = 1'024;
    // Connections that have said nothing, at once and how long.
    size_t silent_max = 1'024;
    absl::Duration silent_limit = absl::Seconds(10);
  };
  struct Counts {
    uint64_t taken = 0;
    // Silent ones that went for others, or after their time.
    uint64_t dropped = 0;
    // For want of a descriptor.
    uint64_t refused = 0;
  };

  // Binds and listens; nothing is accepted before Start. The clock outlives it. UNAVAILABLE
  // LISTEN_FAILED, with what the system said. FAILED_PRECONDITION LISTEN_INSECURE: an address is not
  // one of loopback, and has to be.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const Options& options, Clock& clock);
  // Stops.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // "host:port", as in the options, with the port that was bound.
  const std::string& address() const { return address_; }

  // Has each connection that speaks given to `take`, which owns it from then on, on a thread of the
  // listener's. `refusing` is called there when connections had to be refused: at most every 10 s,
  // with the counts so far. Once.
  void Start(std::function<void(UniqueFd)> take, std::function<void(const Counts&)> refusing);

  // Accepts no more, and closes what has not spoken. `take` is not called after it has returned.
  void Stop();

  Counts counts() const;

 private:
  struct Silent {
    UniqueFd fd;
    absl::Duration deadline;
  };

  Listener(const Options& options, Clock& clock);

  absl::Status Bind(absl::string_view host, const std::string& port);
  // Has epoll report what `fd` has to read, under `id`.
  absl::Status Poll(int fd, uint64_t id) const;
  void Run();
  void AcceptFrom(int listening);
  // Finds room for a connection that was accepted.
  void Admit(UniqueFd fd);
  bool HasRoomFor(const UniqueFd& fd) const;
  // Hands a silent connection over if it has spoken.
  void Hear(uint64_t id);
  // Lets the one go that has been silent longest, or hands it over if it has spoken meanwhile. There
  // is one.
  void TakeOrDropOldest();
  void DropOverdue();
  void TellOfRefused();

  const Options options_;
  Clock& clock_;
  std::string address_;
  UniqueFd epoll_;
  UniqueFd stop_;
  std::vector<UniqueFd> listening_;
  std::function<void(UniqueFd)> take_;
  std::function<void(const Counts&)> refusing_;
  std::atomic<uint64_t> taken_ = 0;
  std::atomic<uint64_t> dropped_ = 0;
  std::atomic<uint64_t> refused_ = 0;
  // Of the thread alone, as all below. By id, and so in the order in which they came; ids are never
  // used twice, as the numbers of descriptors are.
  std::map<uint64_t, Silent> silent_;
  uint64_t next_id_;
  uint64_t refused_told_ = 0;
  absl::Duration next_telling_;
  std::thread thread_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_RPC_LISTENER_H_
