// A channel whose server is written by the test, method by method.
#ifndef MUSTER_TESTS_SUPPORT_FAKE_CHANNEL_H_
#define MUSTER_TESTS_SUPPORT_FAKE_CHANNEL_H_

#include <functional>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/sdk/channel.h"
#include "storage/base/mutex.h"

namespace muster {

// Thread-safe. Handlers run on the caller's thread, without a lock, and may be replaced while calls
// are under way. A method without a handler answers kUnimplemented.
class FakeChannel final : public Channel {
 public:
  // Delivers one message to the reader of a stream; false when the reader wants no more.
  template <typename Response>
  using Send = std::function<bool(const Response&)>;

  // `handler(request, response)` answers the unary `method`, for instance
  // "/muster.v1.NodeService/Heartbeat".
  template <typename Request, typename Response>
  void OnUnary(const std::string& method,
               std::function<absl::Status(const Request&, Response&, const CallOptions&)> handler) {
    MutexLock lock(mutex_);
    unary_[method] = [handler = std::move(handler)](const Message& request, Message& response,
                                                    const CallOptions& options) {
      return handler(static_cast<const Request&>(request), static_cast<Response&>(response),
                     options);
    };
  }

  // `handler(request, send, options)` plays the stream `method` and returns how it ends.
  template <typename Request, typename Response>
  void OnStream(
      const std::string& method,
      std::function<absl::Status(const Request&, const Send<Response>&, const CallOptions&)>
          handler) {
    MutexLock lock(mutex_);
    streams_[method] = [handler = std::move(handler)](const Message& request, Message& message,
                                                      absl::FunctionRef<bool()> on_message,
                                                      const CallOptions& options) {
      const Send<Response> send = [&](const Response& response) {
        message.CopyFrom(response);
        return on_message();
      };
      return handler(static_cast<const Request&>(request), send, options);
    };
  }

  // Calls of `method` so far.
  int calls(const std::string& method) {
    MutexLock lock(mutex_);
    return calls_[method];
  }

  absl::Status Unary(absl::string_view method, const Message& request, Message& response,
                     const CallOptions& options) override {
    if (options.stop.stop_requested()) return absl::CancelledError("stopped");
    const auto handler = Count(unary_, method);
    if (!handler) return absl::UnimplementedError(absl::StrCat("no handler for ", method));
    return handler(request, response, options);
  }

  absl::Status Stream(absl::string_view method, const Message& request, Message& message,
                      absl::FunctionRef<bool()> on_message, const CallOptions& options) override {
    if (options.stop.stop_requested()) return absl::CancelledError("stopped");
    const auto handler = Count(streams_, method);
    if (!handler) return absl::UnimplementedError(absl::StrCat("no handler for ", method));
    return handler(request, message, on_message, options);
  }

 private:
  template <typename Handlers>
  typename Handlers::mapped_type Count(Handlers& handlers, absl::string_view method) {
    MutexLock lock(mutex_);
    const std::string name(method);
    ++calls_[name];
    const auto it = handlers.find(name);
    return it == handlers.end() ? nullptr : it->second;
  }

  Mutex mutex_;
  std::map<std::string, std::function<absl::Status(const Message&, Message&, const CallOptions&)>>
      unary_ MUSTER_GUARDED_BY(mutex_);
  std::map<std::string, std::function<absl::Status(const Message&, Message&,
                                                   absl::FunctionRef<bool()>, const CallOptions&)>>
      streams_ MUSTER_GUARDED_BY(mutex_);
  std::map<std::string, int> calls_ MUSTER_GUARDED_BY(mutex_);
};

// Passes calls on to a channel that somebody else owns.
class ForwardingChannel final : public Channel {
 public:
  explicit ForwardingChannel(Channel& target) : target_(target) {}

  absl::Status Unary(absl::string_view method, const Message& request, Message& response,
                     const CallOptions& options) override {
    return target_.Unary(method, request, response, options);
  }
  absl::Status Stream(absl::string_view method, const Message& request, Message& message,
                      absl::FunctionRef<bool()> on_message, const CallOptions& options) override {
    return target_.Stream(method, request, message, on_message, options);
  }

 private:
  Channel& target_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_FAKE_CHANNEL_H_
