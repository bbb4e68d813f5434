// Waits for what other threads do. They end: with a failure that says what did not come.
#ifndef MUSTER_TESTS_SUPPORT_AWAIT_H_
#define MUSTER_TESTS_SUPPORT_AWAIT_H_

#include <thread>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/mutex.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MUSTER_TEST_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MUSTER_TEST_SANITIZED 1
#endif

namespace muster {

#if defined(MUSTER_TEST_SANITIZED)
inline constexpr int kSlowdown = 5;
#else
inline constexpr int kSlowdown = 1;
#endif

// For a step of a test. Sound code needs milliseconds; the rest is for a machine that is busy.
inline constexpr absl::Duration kPatience = absl::Seconds(10 * kSlowdown);
// For fakes that hold a call until the test ends it, which may be several steps later.
inline constexpr absl::Duration kPatienceOfFakes = absl::Seconds(60 * kSlowdown);

// Where a wait was asked for.
struct AwaitCaller {
  const char* file;
  int line;
};
// Fails the test there: "waited 10s in vain for WHAT".
void FailAwait(absl::string_view what, absl::Duration patience, AwaitCaller caller);

// Waits on `changed` until `condition` holds, which is asked while `mutex` is held. Fails the test
// when `patience` has passed, and returns false; the caller goes on all the same where threads are
// to be joined. `what` names what is waited for: "the second read".
template <typename Condition>
bool AwaitOrFail(Mutex& mutex, CondVar& changed, absl::string_view what, Condition condition,
                 absl::Duration patience = kPatience,
                 AwaitCaller caller = {__builtin_FILE(), __builtin_LINE()}) MUSTER_REQUIRES(mutex) {
  const absl::Duration end = SystemClock().Monotonic() + patience;
  while (!condition()) {
    const absl::Duration left = end - SystemClock().Monotonic();
    if (left <= absl::ZeroDuration()) {
      FailAwait(what, patience, caller);
      return false;
    }
    changed.WaitFor(mutex, left);
  }
  return true;
}

// The same for what sends no notification: asks again and again.
template <typename Condition>
bool AwaitOrFail(absl::string_view what, Condition condition, absl::Duration patience = kPatience,
                 AwaitCaller caller = {__builtin_FILE(), __builtin_LINE()}) {
  const absl::Duration end = SystemClock().Monotonic() + patience;
  while (!condition()) {
    if (SystemClock().Monotonic() >= end) {
      FailAwait(what, patience, caller);
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}

}  // namespace muster

#endif  // MUSTER_TESTS_SUPPORT_AWAIT_H_
