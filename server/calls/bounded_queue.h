#ifndef LOSSD_SERVER_CALLS_BOUNDED_QUEUE_H_
#define LOSSD_SERVER_CALLS_BOUNDED_QUEUE_H_

#include <array>
#include <cstddef>
#include <optional>
#include <utility>

namespace lossd {

// First in, first out; of at most kMost, and so without allocating.
template <class T, size_t kMost>
class BoundedQueue {
 public:
  bool empty() const { return size_ == 0; }

  // Precondition: not empty.
  T& front() { return *items_[first_]; }
  const T& front() const { return *items_[first_]; }
  void pop_front() {
    items_[first_].reset();
    first_ = (first_ + 1) % kMost;
    --size_;
  }

  // Precondition: fewer than kMost are in it.
  void push_back(T item) { items_[(first_ + size_++) % kMost].emplace(std::move(item)); }

  void clear() {
    while (!empty()) pop_front();
  }

 private:
  std::array<std::optional<T>, kMost> items_;
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_CALLS_BOUNDED_QUEUE_H_
