// How many reads may be under way at one host.
#ifndef MUSTER_CLIENT_TRANSFER_HOST_SLOTS_H_
#define MUSTER_CLIENT_TRANSFER_HOST_SLOTS_H_

#include <cstddef>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "storage/base/mutex.h"

namespace muster {

// Thread-safe.
class HostSlots {
 public:
  // One read at one host, until it goes out of scope.
  class Slot {
   public:
    Slot(HostSlots& slots, const std::string& host) : slots_(&slots), host_(host) {}
    Slot(Slot&& other) noexcept : slots_(other.slots_), host_(std::move(other.host_)) {
      other.slots_ = nullptr;
    }
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
      if (slots_ != nullptr) slots_->Return(host_);
    }

   private:
    HostSlots* slots_;
    std::string host_;
  };

  // `per_host` of 0: no bound.
  explicit HostSlots(size_t per_host) : per_host_(per_host) {}

  // Waits for a slot at the host of `uri`; places without a host, such as files, are not bounded. Nothing
  // when `stop` was requested meanwhile.
  std::optional<Slot> Take(absl::string_view uri, const std::stop_token& stop);

 private:
  void Return(const std::string& host);

  const size_t per_host_;
  Mutex mutex_;
  CondVar returned_;
  std::map<std::string, size_t> used_ MUSTER_GUARDED_BY(mutex_);
};

}  // namespace muster

#endif  // MUSTER_CLIENT_TRANSFER_HOST_SLOTS_H_
