#ifndef LOSSD_SERVER_LISTEN_FRAME_GUARD_H_
#define LOSSD_SERVER_LISTEN_FRAME_GUARD_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace lossd {

// Limits the header blocks of one HTTP/2 connection, a HEADERS frame and its CONTINUATION frames,
// and counts the streams that they open and the bytes of messages.
//
// gRPC 1.51 limits the headers of each frame, but not of a block, and keeps up to 100 bytes of
// memory for a field that takes one byte on the wire. (docs/adr/032)
//
// The guard follows frames (RFC 9113, section 4.1) and the bounds of header fields (RFC 7541,
// section 6) in the way gRPC reads them, which ignores padding of headers; it decodes neither names
// nor values. A connection that does not begin with the preface of HTTP/2, such as one of TLS,
// passes unread. Not thread-safe; allocates nothing.
class FrameGuard {
 public:
  // Twice as many fields as fit into the 8 KiB that gRPC lets a frame have: it counts 32 bytes and
  // more for each field.
  static constexpr int64_t kMaxFields = 512;
  // Of a block, as it was sent. gRPC answers calls whose headers are between its limit and this.
  static constexpr int64_t kMaxBytes = 64 << 10;

  // Looks at the next bytes of the connection, which may be cut anywhere. Returns false once a
  // block is larger than it may be or cannot be read; the connection must then be closed.
  bool Pass(std::span<const uint8_t> bytes);

  // How many streams the client has opened since this was last called.
  int64_t TakeOpened() { return std::exchange(opened_, 0); }

  // How many bytes of messages have come since this was last called.
  int64_t TakeData() { return std::exchange(data_, 0); }

 private:
  enum class State : int8_t {
    kPreface,
    kFrameHeader,
    kPriority,
    kFields,
    kData,
    kSkip,
    kOther,
    kBroken
  };
  // What the next byte of the fields is.
  enum class Part : int8_t { kStart, kIndex, kTextStart, kTextLength, kText };

  void TakePreface(uint8_t byte);
  void TakeFrameHeader(uint8_t byte);
  void BeginPayload();
  void EndPayload();
  void CountStream();
  void TakeFields(std::span<const uint8_t> bytes);
  void TakeFieldByte(uint8_t byte);
  void BeginField(uint8_t byte);
  void EndIndex();
  void BeginText();
  void EndText();
  void BeginNumber(uint8_t byte, uint8_t mask, Part more);
  bool NumberEndsWith(uint8_t byte);

  State state_ = State::kPreface;
  size_t came_ = 0;  // bytes of the preface, or of the frame's header
  std::array<uint8_t, 9> header_ = {};
  int64_t left_ = 0;      // bytes of the payload
  int64_t priority_ = 0;  // of these, bytes before the fields
  int64_t opened_ = 0;
  int64_t data_ = 0;
  uint32_t last_stream_ = 0;

  // Of the header block.
  int64_t bytes_ = 0;
  int64_t fields_ = 0;
  Part part_ = Part::kStart;
  int texts_ = 0;  // of the field, that are still to come
  int64_t number_ = 0;
  int shift_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_FRAME_GUARD_H_
