// A list that never changes, and whose copies share it.
#ifndef MUSTER_SERVER_REGISTRY_SHARED_LIST_H_
#define MUSTER_SERVER_REGISTRY_SHARED_LIST_H_

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace muster {

// A copy costs no more than a pointer, so that readers take it under a lock and read it without.
// Another list may be assigned; who has a copy keeps the old one. As thread-safe as a
// std::shared_ptr.
template <typename T>
class SharedList {
 public:
  using value_type = T;
  using const_reference = const T&;
  using const_iterator = typename std::vector<T>::const_iterator;
  using iterator = const_iterator;

  SharedList() = default;
  SharedList(std::vector<T> items)
      : items_(items.empty() ? nullptr : std::make_shared<const std::vector<T>>(std::move(items))) {
  }

  const std::vector<T>& list() const {
    static const std::vector<T>& none = *new std::vector<T>();
    return items_ == nullptr ? none : *items_;
  }
  operator const std::vector<T>&() const { return list(); }

  size_t size() const { return list().size(); }
  bool empty() const { return items_ == nullptr; }
  const T& operator[](size_t at) const { return (*items_)[at]; }
  const_iterator begin() const { return list().begin(); }
  const_iterator end() const { return list().end(); }

 private:
  std::shared_ptr<const std::vector<T>> items_;
};

}  // namespace muster

#endif  // MUSTER_SERVER_REGISTRY_SHARED_LIST_H_
