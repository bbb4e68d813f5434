// Mutexes, and locks of many readers or one writer, with annotations that clang's -Wthread-safety checks.
//
// absl::Mutex from Debian's packages is not built for ThreadSanitizer and makes it report races
// that are not there, so the project locks with these.
#ifndef MUSTER_STORAGE_BASE_MUTEX_H_
#define MUSTER_STORAGE_BASE_MUTEX_H_

#include <pthread.h>

#include <cassert>
#include <cerrno>
#include <condition_variable>
#include <mutex>

#include "absl/time/time.h"

#if defined(__clang__)
#define MUSTER_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define MUSTER_THREAD_ANNOTATION(x)
#endif
#define MUSTER_GUARDED_BY(x) MUSTER_THREAD_ANNOTATION(guarded_by(x))
#define MUSTER_REQUIRES(...) MUSTER_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define MUSTER_REQUIRES_SHARED(...) \
  MUSTER_THREAD_ANNOTATION(requires_shared_capability(__VA_ARGS__))
#define MUSTER_EXCLUDES(...) MUSTER_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))

namespace muster {

class MUSTER_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void Lock() MUSTER_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void Unlock() MUSTER_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class MUSTER_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) MUSTER_THREAD_ANNOTATION(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() MUSTER_THREAD_ANNOTATION(release_capability()) { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits on a Mutex that the caller holds. Wake-ups may be spurious: wait in a loop.
class CondVar {
 public:
  void Wait(Mutex& mutex) MUSTER_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }

  // Returns false when `timeout` has passed without a wake-up.
  bool WaitFor(Mutex& mutex, absl::Duration timeout) MUSTER_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const auto status = condition_.wait_for(lock, absl::ToChronoNanoseconds(timeout));
    lock.release();
    return status == std::cv_status::no_timeout;
  }

  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

// Many readers or one writer. Once a writer waits no further reader gets in, so that readers which
// overlap without end can't keep it out (they would with std::shared_mutex); when it leaves, those
// that came meanwhile are let in before the next writer. Hence a thread that reads must not begin to
// read again: it would wait for the writer that waits for it. Debug builds check that.
class MUSTER_THREAD_ANNOTATION(capability("shared_mutex")) SharedMutex {
 public:
  SharedMutex() {
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&lock_, &attributes);
    pthread_rwlockattr_destroy(&attributes);
  }
  ~SharedMutex() { pthread_rwlock_destroy(&lock_); }
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void Lock() MUSTER_THREAD_ANNOTATION(acquire_capability()) { pthread_rwlock_wrlock(&lock_); }
  void Unlock() MUSTER_THREAD_ANNOTATION(release_capability()) { pthread_rwlock_unlock(&lock_); }
  void LockShared() MUSTER_THREAD_ANNOTATION(acquire_shared_capability()) {
    assert(shared_held_ != this && "a thread reads under a lock that it reads under already");
    // Only so many readers fit at once.
    while (pthread_rwlock_rdlock(&lock_) == EAGAIN) {
    }
    shared_held_ = this;
  }
  void UnlockShared() MUSTER_THREAD_ANNOTATION(release_shared_capability()) {
    shared_held_ = nullptr;
    pthread_rwlock_unlock(&lock_);
  }

 private:
  // The last one that this thread has locked to read.
  static inline thread_local const SharedMutex* shared_held_ = nullptr;

  pthread_rwlock_t lock_;
};

class MUSTER_THREAD_ANNOTATION(scoped_lockable) WriterLock {
 public:
  explicit WriterLock(SharedMutex& mutex) MUSTER_THREAD_ANNOTATION(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_.Lock();
  }
  ~WriterLock() MUSTER_THREAD_ANNOTATION(release_capability()) { mutex_.Unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  SharedMutex& mutex_;
};

class MUSTER_THREAD_ANNOTATION(scoped_lockable) ReaderLock {
 public:
  explicit ReaderLock(SharedMutex& mutex) MUSTER_THREAD_ANNOTATION(acquire_shared_capability(mutex))
      : mutex_(mutex) {
    mutex_.LockShared();
  }
  ~ReaderLock() MUSTER_THREAD_ANNOTATION(release_generic_capability()) { mutex_.UnlockShared(); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

 private:
  SharedMutex& mutex_;
};

}  // namespace muster

#endif  // MUSTER_STORAGE_BASE_MUTEX_H_
