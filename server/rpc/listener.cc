#include "server/rpc/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error_info.h"
#include "storage/base/reasons.h"
#include "storage/base/status_macros.h"

namespace muster {
namespace {

// Ids of what is polled: this one, then those of the listening sockets, then connections.
constexpr uint64_t kStopId = 0;
constexpr size_t kListeningMax = 64;
constexpr uint64_t kFirstConnectionId = kListeningMax + 1;
constexpr int kEventsAtOnce = 64;
constexpr int kAcceptsAtOnce = 64;
// How often connections that stay silent are looked at.
constexpr int kLookMs = 500;
constexpr absl::Duration kPauseWithoutDescriptors = absl::Milliseconds(100);
constexpr absl::Duration kTellingInterval = absl::Seconds(10);
// What was sent and is not acknowledged for this long ends a connection; as gRPC sets it on its own.
constexpr int kUnacknowledgedMs = 20'000;

absl::Status ListenFailed(const std::string& listen, absl::string_view why) {
  return MakeError(absl::StatusCode::kUnavailable, reasons::kListenFailed,
                   absl::StrCat("can't listen on ", listen, " (", why,
                                "): is the port in use by another process, or the address not "
                                "this machine's? Choose another with --listen"),
                   {{"listen", listen}});
}

void SetOption(int fd, int level, int name, int value) {
  // One that the system does not know makes a connection slower, not wrong.
  (void)setsockopt(fd, level, name, &value, sizeof(value));
}

uint16_t PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

// -1 with errno. Where a port was chosen for the first address already, the others get it, too.
int OpenSocket(const addrinfo& where, uint16_t port) {
  UniqueFd fd(socket(where.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return -1;
  sockaddr_storage address{};
  std::memcpy(&address, where.ai_addr, std::min<size_t>(where.ai_addrlen, sizeof(address)));
  if (where.ai_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(&address)->sin6_port = htons(port);
    SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  } else {
    reinterpret_cast<sockaddr_in*>(&address)->sin_port = htons(port);
  }
  // For a restart on the port; two servers can't share one by it, as they could by SO_REUSEPORT.
  SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), where.ai_addrlen) != 0) return -1;
  if (listen(fd.get(), SOMAXCONN) != 0) return -1;
  return fd.Release();
}

bool IsLoopback(const addrinfo& where) {
  if (where.ai_family == AF_INET) {
    const auto* address = reinterpret_cast<const sockaddr_in*>(where.ai_addr);
    return ntohl(address->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  const auto* address = reinterpret_cast<const sockaddr_in6*>(where.ai_addr);
  if (IN6_IS_ADDR_V4MAPPED(&address->sin6_addr)) {
    return address->sin6_addr.s6_addr[12] == IN_LOOPBACKNET;
  }
  return IN6_IS_ADDR_LOOPBACK(&address->sin6_addr) != 0;
}

absl::Status ListenInsecure(const std::string& listen) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, reasons::kListenInsecure,
      absl::StrCat(
          listen,
          " is reachable from other machines, and calls there would be neither encrypted nor "
          "authenticated: have certificates made with --secure, name yours with --tls-cert and "
          "--tls-key, or say that it is meant with --insecure"),
      {{"address", listen}});
}

bool LacksDescriptors(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

Listener::Listener(const Options& options, Clock& clock)
    : options_(options),
      clock_(clock),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      next_id_(kFirstConnectionId),
      next_telling_(clock.Monotonic()) {}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(const Options& options, Clock& clock) {
  std::unique_ptr<Listener> listener(new Listener(options, clock));
  const size_t colon = options.listen.rfind(':');
  if (colon == std::string::npos) return ListenFailed(options.listen, "not host:port");
  if (!listener->epoll_.valid() || !listener->stop_.valid()) {
    return ListenFailed(options.listen, std::strerror(errno));
  }
  MUSTER_RETURN_IF_ERROR(listener->Poll(listener->stop_.get(), kStopId));
  const absl::string_view host = absl::string_view(options.listen).substr(0, colon);
  MUSTER_RETURN_IF_ERROR(listener->Bind(host, options.listen.substr(colon + 1)));
  listener->address_ = absl::StrCat(host, ":", PortOf(listener->listening_.front().get()));
  return listener;
}

absl::Status Listener::Bind(absl::string_view host, const std::string& port) {
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(std::string(host).c_str(), port.c_str(), &hints, &found);
      error != 0) {
    return ListenFailed(options_.listen, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found, freeaddrinfo);
  uint32_t chosen = 0;
  if (!absl::SimpleAtoi(port, &chosen)) return ListenFailed(options_.listen, "not a port");
  int error = 0;
  for (const addrinfo* next = found; next != nullptr && listening_.size() < kListeningMax;
       next = next->ai_next) {
    if (next->ai_family != AF_INET && next->ai_family != AF_INET6) continue;
    if (options_.loopback_only && !IsLoopback(*next)) return ListenInsecure(options_.listen);
    UniqueFd fd(OpenSocket(*next, static_cast<uint16_t>(chosen)));
    if (!fd.valid()) {
      error = errno;
      // A machine may lack one kind of address; that somebody else serves there is another matter.
      if (error == EADDRINUSE) break;
      continue;
    }
    if (chosen == 0) chosen = PortOf(fd.get());
    MUSTER_RETURN_IF_ERROR(Poll(fd.get(), listening_.size() + 1));
    listening_.push_back(std::move(fd));
  }
  if (listening_.empty() || error == EADDRINUSE) {
    return ListenFailed(options_.listen, std::strerror(error));
  }
  return absl::OkStatus();
}

absl::Status Listener::Poll(int fd, uint64_t id) const {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = id;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return absl::OkStatus();
  return ListenFailed(options_.listen, std::strerror(errno));
}

Listener::~Listener() { Stop(); }

void Listener::Start(std::function<void(UniqueFd)> take,
                     std::function<void(const Counts&)> refusing) {
  take_ = std::move(take);
  refusing_ = std::move(refusing);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  while (write(stop_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  thread_.join();
  // Whoever comes now is told at once that nobody listens.
  listening_.clear();
  silent_.clear();
}

Listener::Counts Listener::counts() const { return {taken_, dropped_, refused_}; }

void Listener::Run() {
  std::array<epoll_event, kEventsAtOnce> events;
  while (true) {
    const int ready = epoll_wait(epoll_.get(), events.data(), kEventsAtOnce, kLookMs);
    for (int i = 0; i < ready; ++i) {
      const uint64_t id = events[i].data.u64;
      if (id == kStopId) return;
      if (id < kFirstConnectionId) {
        AcceptFrom(listening_[id - 1].get());
      } else {
        Hear(id);
      }
    }
    DropOverdue();
    TellOfRefused();
  }
}

void Listener::AcceptFrom(int listening) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    UniqueFd fd(accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.valid()) {
      Admit(std::move(fd));
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (LacksDescriptors(errno)) {
      ++refused_;
      if (!silent_.empty()) {
        TakeOrDropOldest();
      } else {
        // It stays in the kernel's queue.
        clock_.SleepFor(kPauseWithoutDescriptors);
        return;
      }
    }
    // Anything else is about a connection that went before it was accepted.
  }
}

bool Listener::HasRoomFor(const UniqueFd& fd) const {
  return static_cast<size_t>(fd.get()) < options_.descriptors_max &&
         silent_.size() < options_.silent_max;
}

void Listener::Admit(UniqueFd fd) {
  while (!HasRoomFor(fd)) {
    if (silent_.empty()) {
      ++refused_;
      return;
    }
    TakeOrDropOldest();
    // The number that has become free is the one that counts.
    UniqueFd lower(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    if (lower.valid()) fd = std::move(lower);
  }
  SetOption(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  SetOption(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, kUnacknowledgedMs);
  const uint64_t id = next_id_++;
  if (!Poll(fd.get(), id).ok()) {
    ++refused_;
    return;
  }
  silent_.emplace(id, Silent{std::move(fd), clock_.Monotonic() + options_.silent_limit});
}

void Listener::Hear(uint64_t id) {
  const auto found = silent_.find(id);
  // It went while its event waited.
  if (found == silent_.end()) return;
  char first = 0;
  const ssize_t size = recv(found->second.fd.get(), &first, 1, MSG_PEEK | MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  UniqueFd fd = std::move(found->second.fd);
  silent_.erase(found);
  // Closed by the other side.
  if (size <= 0) return;
  // It lives on, and epoll would go on watching it.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd.get(), nullptr);
  ++taken_;
  take_(std::move(fd));
}

void Listener::TakeOrDropOldest() {
  const uint64_t id = silent_.begin()->first;
  // Many that came at once have spoken before anybody looked.
  Hear(id);
  if (silent_.erase(id) > 0) ++dropped_;
}

void Listener::DropOverdue() {
  const absl::Duration now = clock_.Monotonic();
  while (!silent_.empty() && silent_.begin()->second.deadline <= now) {
    silent_.erase(silent_.begin());
    ++dropped_;
  }
}

void Listener::TellOfRefused() {
  if (refused_ == refused_told_ || clock_.Monotonic() < next_telling_) return;
  next_telling_ = clock_.Monotonic() + kTellingInterval;
  refused_told_ = refused_;
  refusing_(counts());
}

}  // namespace muster
