#ifndef LOSSD_WIRE_COMPACT_H_
#define LOSSD_WIRE_COMPACT_H_

#include <google/protobuf/arena.h>

#include <cstddef>

namespace lossd::wire {

// A protobuf message in one piece of memory with all that hangs on it, as far as that has room: a
// small message takes more time to allocate field by field than to fill.
template <class M>
class Compact {
 public:
  Compact() : arena_(room_, sizeof(room_)), message_(arena_.CreateMessage<M>(&arena_)) {}
  Compact(const Compact&) = delete;
  Compact& operator=(const Compact&) = delete;

  M& operator*() const { return *message_; }
  M* operator->() const { return message_; }

 private:
  static constexpr size_t kRoom = 2048;  // requests and answers with a tensor or two take half

  alignas(std::max_align_t) char room_[kRoom];
  google::protobuf::Arena arena_;
  M* message_;
};

}  // namespace lossd::wire

#endif  // LOSSD_WIRE_COMPACT_H_
