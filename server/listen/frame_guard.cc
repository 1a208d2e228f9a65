#include "server/listen/frame_guard.h"

#include <algorithm>
#include <string_view>

namespace lossd {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr uint8_t kData = 0;
constexpr uint8_t kHeaders = 1;
constexpr uint8_t kContinuation = 9;
constexpr uint8_t kEndHeaders = 0x04;
constexpr uint8_t kHasPriority = 0x20;
constexpr int64_t kPriorityBytes = 5;
constexpr uint8_t kMore = 0x80;  // of a number: another byte follows

}  // namespace

bool FrameGuard::Pass(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    size_t taken = 1;
    switch (state_) {
      case State::kPreface:
        TakePreface(bytes.front());
        break;
      case State::kFrameHeader:
        TakeFrameHeader(bytes.front());
        break;
      case State::kPriority:
        --left_;
        if (--priority_ == 0) state_ = State::kFields;
        break;
      case State::kFields:
      case State::kData:
      case State::kSkip:
        taken = static_cast<size_t>(std::min<int64_t>(left_, static_cast<int64_t>(bytes.size())));
        if (state_ == State::kFields) TakeFields(bytes.first(taken));
        if (state_ == State::kData) data_ += static_cast<int64_t>(taken);
        left_ -= static_cast<int64_t>(taken);
        break;
      case State::kOther:
        return true;
      case State::kBroken:
        return false;
    }
    bytes = bytes.subspan(taken);
    if (left_ == 0) EndPayload();
  }
  return state_ != State::kBroken;
}

void FrameGuard::TakePreface(uint8_t byte) {
  if (byte != static_cast<uint8_t>(kPreface[came_])) {
    state_ = State::kOther;
  } else if (++came_ == kPreface.size()) {
    came_ = 0;
    state_ = State::kFrameHeader;
  }
}

void FrameGuard::TakeFrameHeader(uint8_t byte) {
  header_[came_++] = byte;
  if (came_ < header_.size()) return;
  came_ = 0;
  BeginPayload();
}

void FrameGuard::BeginPayload() {
  left_ = int64_t{header_[0]} << 16 | int64_t{header_[1]} << 8 | header_[2];
  const uint8_t type = header_[3];
  state_ = type == kData ? State::kData : State::kSkip;
  if (type != kHeaders && type != kContinuation) return;
  if (type == kHeaders) {
    bytes_ = fields_ = 0;
    CountStream();
  }
  bytes_ += left_;
  const bool priority = type == kHeaders && (header_[4] & kHasPriority) != 0;
  priority_ = priority ? kPriorityBytes : 0;
  state_ = priority ? State::kPriority : State::kFields;
  // A block that fills no frame's priority is not HTTP/2; gRPC would read on in the next frame.
  if (bytes_ > kMaxBytes || left_ < priority_) state_ = State::kBroken;
}

// Streams of clients have odd numbers that only grow; other HEADERS frames are trailers, or
// ignored.
void FrameGuard::CountStream() {
  const uint32_t stream = uint32_t{header_[5] & 0x7fu} << 24 | uint32_t{header_[6]} << 16 |
                          uint32_t{header_[7]} << 8 | header_[8];
  if (stream <= last_stream_ || stream % 2 == 0) return;
  last_stream_ = stream;
  ++opened_;
}

// A block that ends within a field ends the connection in gRPC, too.
void FrameGuard::EndPayload() {
  if (state_ == State::kFields && (header_[4] & kEndHeaders) != 0 && part_ != Part::kStart) {
    state_ = State::kBroken;
  }
  if (state_ == State::kFields || state_ == State::kData || state_ == State::kSkip) {
    state_ = State::kFrameHeader;
  }
}

void FrameGuard::TakeFields(std::span<const uint8_t> bytes) {
  while (!bytes.empty() && state_ == State::kFields) {
    size_t taken = 1;
    if (part_ == Part::kText) {
      taken = static_cast<size_t>(std::min<int64_t>(number_, static_cast<int64_t>(bytes.size())));
      number_ -= static_cast<int64_t>(taken);
      if (number_ == 0) EndText();
    } else {
      TakeFieldByte(bytes.front());
    }
    bytes = bytes.subspan(taken);
  }
}

void FrameGuard::TakeFieldByte(uint8_t byte) {
  switch (part_) {
    case Part::kStart:
      BeginField(byte);
      break;
    case Part::kIndex:
      if (NumberEndsWith(byte)) EndIndex();
      break;
    case Part::kTextStart:
      BeginNumber(byte, 0x7f, Part::kTextLength);
      if (part_ == Part::kTextStart) BeginText();
      break;
    case Part::kTextLength:
      if (NumberEndsWith(byte)) BeginText();
      break;
    case Part::kText:
      break;
  }
}

// RFC 7541, sections 6.1 to 6.3: the first bits say what a field is, the others are an index.
void FrameGuard::BeginField(uint8_t byte) {
  if (++fields_ > kMaxFields) {
    state_ = State::kBroken;
    return;
  }
  const bool indexed = (byte & 0x80) != 0;
  const bool kept = (byte & 0xc0) == 0x40;  // a literal that the table keeps
  const bool table_size = (byte & 0xe0) == 0x20;
  const uint8_t mask = indexed ? 0x7f : kept ? 0x3f : table_size ? 0x1f : 0x0f;
  const bool literal_name = (byte & mask) == 0;
  texts_ = indexed || table_size ? 0 : literal_name ? 2 : 1;
  BeginNumber(byte, mask, Part::kIndex);
  if (part_ == Part::kStart) EndIndex();
}

void FrameGuard::EndIndex() { part_ = texts_ > 0 ? Part::kTextStart : Part::kStart; }

void FrameGuard::BeginText() {
  part_ = Part::kText;
  if (number_ > kMaxBytes) {
    state_ = State::kBroken;
  } else if (number_ == 0) {
    EndText();
  }
}

void FrameGuard::EndText() {
  --texts_;
  EndIndex();
}

// RFC 7541, section 5.1: a number begins in the last bits of `byte`; where these are all ones,
// further bytes follow, and the next part is `more`.
void FrameGuard::BeginNumber(uint8_t byte, uint8_t mask, Part more) {
  number_ = byte & mask;
  shift_ = 0;
  if (number_ == mask) part_ = more;
}

// False: the number goes on.
bool FrameGuard::NumberEndsWith(uint8_t byte) {
  constexpr int kMostShift = 28;
  if (shift_ <= kMostShift) number_ += int64_t{byte & 0x7f} << shift_;
  if (shift_ > kMostShift && (byte & 0x7f) != 0) state_ = State::kBroken;
  shift_ += shift_ <= kMostShift ? 7 : 0;
  return (byte & kMore) == 0;
}

}  // namespace lossd
