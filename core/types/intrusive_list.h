#ifndef LOSSD_CORE_TYPES_INTRUSIVE_LIST_H_
#define LOSSD_CORE_TYPES_INTRUSIVE_LIST_H_

#include <cstddef>
#include <iterator>

namespace lossd {

template <class T>
class IntrusiveList;

// The base of what can stand in an IntrusiveList<T>, in one at a time: class T : public
// ListNode<T>.
template <class T>
class ListNode {
 protected:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() = default;

 private:
  friend class IntrusiveList<T>;
  T* previous_ = nullptr;
  T* next_ = nullptr;
};

// A doubly linked list whose links are in its elements. It allocates nothing, owns nothing and
// touches only the neighbours of what is added or removed. T may be incomplete where a list is
// declared. An element stays where it is, and lives, until it is removed.
template <class T>
class IntrusiveList {
 public:
  IntrusiveList() = default;
  IntrusiveList(IntrusiveList&& other) noexcept : first_(other.first_), last_(other.last_) {
    other.first_ = other.last_ = nullptr;
  }
  IntrusiveList& operator=(IntrusiveList&&) = delete;

  // Forward; the list may not change during a loop.
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;

    Iterator() = default;
    explicit Iterator(T* at) : at_(at) {}
    T& operator*() const { return *at_; }
    T* operator->() const { return at_; }
    Iterator& operator++() {
      at_ = Node(at_).next_;
      return *this;
    }
    Iterator operator++(int) {
      const Iterator before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator& other) const = default;

   private:
    T* at_ = nullptr;
  };
  Iterator begin() const { return Iterator(first_); }
  Iterator end() const { return Iterator(nullptr); }

  bool empty() const { return first_ == nullptr; }
  T* front() const { return first_; }  // null: the list is empty

  // Precondition: `element` stands in no list.
  void PushFront(T* element) { Insert(nullptr, element, first_); }
  void PushBack(T* element) { Insert(last_, element, nullptr); }

  // Precondition: `element` stands in this list.
  void Remove(T* element) {
    ListNode<T>& node = Node(element);
    (node.previous_ != nullptr ? Node(node.previous_).next_ : first_) = node.next_;
    (node.next_ != nullptr ? Node(node.next_).previous_ : last_) = node.previous_;
  }

  // Null: the list is empty.
  T* PopFront() {
    T* const element = first_;
    if (element != nullptr) Remove(element);
    return element;
  }

 private:
  static ListNode<T>& Node(T* element) { return *element; }

  void Insert(T* previous, T* element, T* next) {
    ListNode<T>& node = Node(element);
    node.previous_ = previous;
    node.next_ = next;
    (previous != nullptr ? Node(previous).next_ : first_) = element;
    (next != nullptr ? Node(next).previous_ : last_) = element;
  }

  T* first_ = nullptr;
  T* last_ = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_CORE_TYPES_INTRUSIVE_LIST_H_
