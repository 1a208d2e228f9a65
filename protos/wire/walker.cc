#include "protos/wire/walker.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "protos/wire/scattered_stream.h"

namespace lossd::wire {
namespace {

using google::protobuf::MessageLite;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

// The message with its large fields empty.
using Skeleton = absl::InlinedVector<uint8_t, 512>;

// Puts the head of a length-delimited field before the bytes of `text` from `at` on, its value.
void InsertHead(uint32_t tag, size_t at, Skeleton& text) {
  uint8_t bytes[10];
  uint8_t* end = CodedOutputStream::WriteVarint32ToArray(tag, bytes);
  end = CodedOutputStream::WriteVarint32ToArray(static_cast<uint32_t>(text.size() - at), end);
  text.insert(text.begin() + static_cast<ptrdiff_t>(at), bytes, end);
}

uint32_t TagOf(const FieldRule& rule) {
  return WireFormatLite::MakeTag(rule.number, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}

uint64_t BitOf(const FieldRule& rule) { return uint64_t{1} << (rule.oneof % 64); }

// Reads a varint of at most 63 bits, no longer than it has to be, from the front of `bytes`.
bool ReadFront(absl::Span<const uint8_t>& bytes, int64_t* value) {
  *value = 0;
  for (size_t i = 0; i < std::min<size_t>(bytes.size(), 9); ++i) {
    *value |= static_cast<int64_t>(bytes[i] & 0x7f) << (7 * i);
    if (bytes[i] >= 0x80) continue;
    if (bytes[i] == 0 && i > 0) return false;
    bytes.remove_prefix(i + 1);
    return true;
  }
  return false;
}

bool ReadFront(absl::Span<const uint8_t>& bytes, int* value) {
  int64_t wide = 0;
  if (!ReadFront(bytes, &wide) || wide > std::numeric_limits<int>::max()) return false;
  *value = static_cast<int>(wide);
  return true;
}

bool ReadExtents(absl::Span<const uint8_t>& bytes, TensorHead& head) {
  int64_t length = 0;
  if (!ReadFront(bytes, &length) || length > static_cast<int64_t>(bytes.size())) return false;
  absl::Span<const uint8_t> extents = bytes.first(length);
  bytes.remove_prefix(length);
  while (!extents.empty()) {
    if (head.rank == kMaxRank || !ReadFront(extents, &head.shape[head.rank++])) return false;
  }
  return true;
}

// A tensor without its data. False: something that generated code has to judge.
bool ReadHead(absl::Span<const uint8_t> bytes, TensorHead& head) {
  constexpr uint8_t kDType = 1 << 3 | WireFormatLite::WIRETYPE_VARINT;
  constexpr uint8_t kShape = 2 << 3 | WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
  constexpr uint8_t kLayout = 3 << 3 | WireFormatLite::WIRETYPE_VARINT;
  while (!bytes.empty()) {
    const uint8_t tag = bytes[0];
    bytes.remove_prefix(1);
    if (tag == kShape) {
      if (!ReadExtents(bytes, head)) return false;
    } else if (tag == kDType) {
      if (!ReadFront(bytes, &head.dtype)) return false;
    } else if (tag != kLayout || !ReadFront(bytes, &head.layout.emplace())) {
      return false;
    }
  }
  return true;
}

// Moves the bytes from `at` on, the small ones of a field, out of the skeleton into its slot.
// False: generated code has to judge them.
bool MoveToSlot(const FieldRule& rule, size_t at, Skeleton& skeleton, Slots& slots) {
  Slot& slot = slots[rule.slot];
  slot.number = rule.number;
  const absl::Span<const uint8_t> small = absl::MakeConstSpan(skeleton).subspan(at);
  if (rule.keep == Keep::kTensor) {
    if (!ReadHead(small, slot.tensor)) return false;
  } else {
    if (!rule.is_plain(small)) return false;
    slot.small.assign(small.begin(), small.end());
  }
  skeleton.resize(at);
  return true;
}

enum class Verdict {
  kPlain,    // the skeleton and the slots hold the message
  kUnusual,  // generated code has to parse it whole
  kInvalid,  // no valid protobuf
  kTooLarge  // more small bytes than allowed
};

// Walks a message that lies in one piece and is as small as its small bytes may be. Where anything
// is not as encoders write it, generated code is left to judge.
class PlainWalker {
 public:
  PlainWalker(ByteSpan bytes, Slots& slots)
      : at_(reinterpret_cast<const uint8_t*>(bytes.data())),
        end_(at_ + bytes.size()),
        slots_(slots) {}

  // False: generated code has to parse it whole.
  bool Walk(absl::Span<const FieldRule> rules) { return Level(rules, end_); }

  const Skeleton& skeleton() const { return skeleton_; }

 private:
  // One message, up to `end`.
  bool Level(absl::Span<const FieldRule> rules, const uint8_t* end) {
    uint64_t seen = 0;
    const uint8_t* kept = at_;  // what is to be kept and was not yet begins here
    while (at_ < end) {
      const uint8_t* const begin = at_;
      uint32_t tag = 0;
      if (!ReadVarint(end, &tag)) return false;
      const bool has_length =
          WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
      const auto rule = !has_length
                            ? rules.end()
                            : std::find_if(rules.begin(), rules.end(),
                                           [&](const FieldRule& r) { return TagOf(r) == tag; });
      if (rule == rules.end()) {
        if (!SkipValue(tag, end)) return false;
        continue;
      }
      const uint64_t bit = BitOf(*rule);
      uint32_t length = 0;
      if ((seen & bit) != 0 || !ReadVarint(end, &length) || length > end - at_) return false;
      seen |= bit;
      Copy(kept, begin);
      if (!Followed(*rule, tag, at_ + length)) return false;
      kept = at_;
    }
    Copy(kept, end);
    return true;
  }

  // The value, up to `end`, of a field that a rule names.
  bool Followed(const FieldRule& rule, uint32_t tag, const uint8_t* end) {
    if (rule.keep == Keep::kBytes) {
      slots_[rule.slot].number = rule.number;
      slots_[rule.slot].bytes = ScatteredBytes(
          ByteSpan(reinterpret_cast<const std::byte*>(at_), static_cast<size_t>(end - at_)));
      at_ = end;
      return true;
    }
    const size_t inside = skeleton_.size();
    if (!Level(rule.inside, end)) return false;
    if (rule.keep != Keep::kMessage) return MoveToSlot(rule, inside, skeleton_, slots_);
    InsertHead(tag, inside, skeleton_);
    return true;
  }

  // Of at most 28 bits, and no longer than it has to be.
  bool ReadVarint(const uint8_t* end, uint32_t* value) {
    *value = 0;
    for (int shift = 0; shift < 28 && at_ < end; shift += 7) {
      const uint8_t byte = *at_++;
      *value |= uint32_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return byte != 0 || shift == 0;
    }
    return false;
  }

  bool SkipValue(uint32_t tag, const uint8_t* end) {
    if (WireFormatLite::GetTagFieldNumber(tag) == 0) return false;
    uint32_t size = 0;
    switch (WireFormatLite::GetTagWireType(tag)) {
      case WireFormatLite::WIRETYPE_VARINT:
        while (at_ < end && *at_ >= 0x80) ++at_;
        size = 1;
        break;
      case WireFormatLite::WIRETYPE_FIXED64:
        size = 8;
        break;
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        if (!ReadVarint(end, &size)) return false;
        break;
      case WireFormatLite::WIRETYPE_FIXED32:
        size = 4;
        break;
      default:
        return false;
    }
    if (size > end - at_) return false;
    at_ += size;
    return true;
  }

  void Copy(const uint8_t* begin, const uint8_t* end) {
    if (begin == end) return;
    const size_t size = skeleton_.size();
    skeleton_.resize(size + (end - begin));
    std::copy(begin, end, skeleton_.data() + size);
  }

  const uint8_t* at_;
  const uint8_t* const end_;
  Skeleton skeleton_;
  Slots& slots_;
};

class Walker {
 public:
  Walker(const ScatteredBytes& bytes, int64_t max_small_bytes, Slots& slots)
      : bytes_(bytes),
        stream_(bytes),
        in_(&stream_),
        max_small_bytes_(max_small_bytes),
        slots_(slots) {}

  Verdict Walk(absl::Span<const FieldRule> rules) {
    return Level(rules, static_cast<int>(bytes_.size()));
  }

  const Skeleton& skeleton() const { return skeleton_; }

 private:
  // One message, up to position `end`, which lies within the bytes.
  Verdict Level(absl::Span<const FieldRule> rules, int end) {
    Verdict verdict = Verdict::kPlain;
    uint64_t seen = 0;
    while (in_.CurrentPosition() < end) {
      const int begin = in_.CurrentPosition();
      const uint32_t tag = in_.ReadTag();
      const auto rule = std::find_if(rules.begin(), rules.end(),
                                     [&](const FieldRule& r) { return TagOf(r) == tag; });
      if (rule == rules.end()) {
        if (!WireFormatLite::SkipField(&in_, tag)) return Verdict::kInvalid;
        if (!Copy(begin, in_.CurrentPosition())) return Verdict::kTooLarge;
        continue;
      }
      int length = 0;
      if (!in_.ReadVarintSizeAsInt(&length)) return Verdict::kInvalid;
      const int body = in_.CurrentPosition();
      if (length > end - body) return Verdict::kInvalid;
      if (!Count(body - begin)) return Verdict::kTooLarge;
      const uint64_t bit = BitOf(*rule);
      const size_t usual_size =
          CodedOutputStream::VarintSize32(tag) + CodedOutputStream::VarintSize32(length);
      if ((seen & bit) != 0 || static_cast<size_t>(body - begin) != usual_size) {
        verdict = Verdict::kUnusual;
      }
      seen |= bit;
      const Verdict inner = Followed(*rule, tag, length);
      if (inner == Verdict::kInvalid || inner == Verdict::kTooLarge) return inner;
      if (inner == Verdict::kUnusual) verdict = Verdict::kUnusual;
    }
    return verdict;
  }

  // The value of a field that a rule names.
  Verdict Followed(const FieldRule& rule, uint32_t tag, int length) {
    const int body = in_.CurrentPosition();
    if (rule.keep == Keep::kBytes) {
      if (!in_.Skip(length)) return Verdict::kInvalid;
      slots_[rule.slot].number = rule.number;
      slots_[rule.slot].bytes = Range(body, length);
      return Verdict::kPlain;
    }
    const CodedInputStream::Limit limit = in_.PushLimit(length);
    const size_t inside = skeleton_.size();
    const Verdict verdict = Level(rule.inside, body + length);
    in_.PopLimit(limit);
    if (verdict != Verdict::kPlain) return verdict;
    if (rule.keep == Keep::kMessage) {
      InsertHead(tag, inside, skeleton_);
    } else if (!MoveToSlot(rule, inside, skeleton_, slots_)) {
      return Verdict::kUnusual;
    }
    return Verdict::kPlain;
  }

  bool Count(int64_t small_bytes) {
    small_bytes_ += small_bytes;
    return small_bytes_ <= max_small_bytes_;
  }

  // Copies bytes [begin, end) to the skeleton.
  bool Copy(int begin, int end) {
    if (!Count(end - begin)) return false;
    const size_t size = skeleton_.size();
    skeleton_.resize(size + (end - begin));
    bytes_.CopyTo(begin, end - begin, reinterpret_cast<std::byte*>(skeleton_.data() + size));
    return true;
  }

  // The pieces of bytes [offset, +length). Offsets only grow from call to call.
  ScatteredBytes Range(int64_t offset, int64_t length) {
    ScatteredBytes range;
    const auto pieces = bytes_.pieces();
    while (length > 0) {
      const ByteSpan piece = pieces[piece_];
      const int64_t piece_end = piece_begin_ + static_cast<int64_t>(piece.size());
      if (offset >= piece_end) {
        piece_begin_ = piece_end;
        ++piece_;
        continue;
      }
      const int64_t count = std::min(length, piece_end - offset);
      range.Append(piece.subspan(offset - piece_begin_, count));
      offset += count;
      length -= count;
    }
    return range;
  }

  const ScatteredBytes& bytes_;
  ScatteredStream stream_;
  CodedInputStream in_;
  const int64_t max_small_bytes_;
  int64_t small_bytes_ = 0;
  size_t piece_ = 0;         // of Range: where the last one ended
  int64_t piece_begin_ = 0;  // offset of that piece
  Skeleton skeleton_;
  Slots& slots_;
};

}  // namespace

absl::Status LargeFields::ParseAround(const Message& message, absl::Span<const FieldRule> rules,
                                      int64_t max_small_bytes, MessageLite& small,
                                      MakeWhole make_whole) {
  const ScatteredBytes& bytes = message.bytes();
  const auto bad = [&](const auto&... parts) {
    return absl::InvalidArgumentError(
        absl::StrCat(small.GetTypeName(), " of ", bytes.size(), " bytes ", parts...));
  };
  const auto parse_small = [&](auto& walker) {
    const Skeleton& skeleton = walker.skeleton();
    if (!small.ParseFromArray(skeleton.data(), static_cast<int>(skeleton.size()))) {
      return bad("is not valid protobuf");
    }
    storage_ = message.storage();
    return absl::OkStatus();
  };
  if (bytes.pieces().size() == 1 && bytes.size() <= max_small_bytes) {
    PlainWalker walker(bytes.pieces().front(), slots_);
    if (walker.Walk(rules)) return parse_small(walker);
    slots_ = {};
  }
  if (bytes.size() > kMaxMessageBytes)
    return bad("is too large; wanted at most ", kMaxMessageBytes);
  Walker walker(bytes, max_small_bytes, slots_);
  const Verdict verdict = walker.Walk(rules);
  if (verdict == Verdict::kInvalid) return bad("is not valid protobuf");
  if (verdict == Verdict::kTooLarge) {
    return bad("has too many beside its tensors' data; wanted at most ", max_small_bytes);
  }
  if (verdict == Verdict::kPlain) return parse_small(walker);
  const std::shared_ptr<MessageLite> whole = make_whole();
  ScatteredStream stream(bytes);
  if (!whole->ParseFromZeroCopyStream(&stream)) return bad("is not valid protobuf");
  slots_ = {};
  storage_ = whole;
  all_parsed_ = true;
  return absl::OkStatus();
}

}  // namespace lossd::wire
