#include "protos/wire/walker.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "lossd/status_macros.h"
#include "protos/wire/region_codec.h"
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
  constexpr uint8_t kRegion = 5 << 3 | WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
  while (!bytes.empty()) {
    const uint8_t tag = bytes[0];
    bytes.remove_prefix(1);
    if (tag == kShape) {
      if (!ReadExtents(bytes, head)) return false;
    } else if (tag == kDType) {
      if (!ReadFront(bytes, &head.dtype)) return false;
    } else if (tag == kRegion) {
      if (head.region || !TakeRegion(bytes, head.region)) return false;
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

// The bytes of a message in one piece, as a Walker reads them. What encoders do not write, such as
// a varint that is longer than it has to be, is taken for invalid.
class OnePiece {
 public:
  explicit OnePiece(ByteSpan bytes)
      : begin_(reinterpret_cast<const uint8_t*>(bytes.data())),
        at_(begin_),
        end_(begin_ + bytes.size()) {}

  int position() const { return static_cast<int>(at_ - begin_); }

  bool ReadTag(uint32_t* tag) { return ReadVarint(tag); }

  bool ReadLength(int* length) {
    uint32_t value = 0;
    if (!ReadVarint(&value)) return false;
    *length = static_cast<int>(value);
    return true;
  }

  bool Skip(int count) {
    if (count > end_ - at_) return false;
    at_ += count;
    return true;
  }

  // Skips the value of a field.
  bool SkipValue(uint32_t tag) {
    if (WireFormatLite::GetTagFieldNumber(tag) == 0) return false;
    int size = 0;
    switch (WireFormatLite::GetTagWireType(tag)) {
      case WireFormatLite::WIRETYPE_VARINT:
        while (at_ < end_ && *at_ >= 0x80) ++at_;
        return Skip(1);
      case WireFormatLite::WIRETYPE_FIXED64:
        return Skip(8);
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        return ReadLength(&size) && Skip(size);
      case WireFormatLite::WIRETYPE_FIXED32:
        return Skip(4);
      default:
        return false;
    }
  }

  // Ends the bytes `length` after the position, which lies within them. Returns what undoes that.
  using Limit = const uint8_t*;
  Limit PushLimit(int length) { return std::exchange(end_, at_ + length); }
  void PopLimit(Limit limit) { end_ = limit; }

  void CopyTo(int begin, int count, uint8_t* to) const { std::copy_n(begin_ + begin, count, to); }

  ScatteredBytes Range(int begin, int length) const {
    return ScatteredBytes(
        ByteSpan(reinterpret_cast<const std::byte*>(begin_ + begin), static_cast<size_t>(length)));
  }

 private:
  // Of at most 28 bits, and no longer than it has to be.
  bool ReadVarint(uint32_t* value) {
    *value = 0;
    for (int shift = 0; shift < 28 && at_ < end_; shift += 7) {
      const uint8_t byte = *at_++;
      *value |= uint32_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return byte != 0 || shift == 0;
    }
    return false;
  }

  const uint8_t* const begin_;
  const uint8_t* at_;
  const uint8_t* end_;
};

// The bytes of a message in any number of pieces, as a Walker reads them.
class AnyPieces {
 public:
  explicit AnyPieces(const ScatteredBytes& bytes) : bytes_(bytes), stream_(bytes), in_(&stream_) {}

  int position() const { return in_.CurrentPosition(); }
  bool ReadTag(uint32_t* tag) { return (*tag = in_.ReadTag()) != 0; }
  bool ReadLength(int* length) { return in_.ReadVarintSizeAsInt(length); }
  bool Skip(int count) { return in_.Skip(count); }
  bool SkipValue(uint32_t tag) { return WireFormatLite::SkipField(&in_, tag); }

  using Limit = CodedInputStream::Limit;
  Limit PushLimit(int length) { return in_.PushLimit(length); }
  void PopLimit(Limit limit) { in_.PopLimit(limit); }

  void CopyTo(int begin, int count, uint8_t* to) const {
    bytes_.CopyTo(begin, count, reinterpret_cast<std::byte*>(to));
  }

  // Positions only grow from call to call.
  ScatteredBytes Range(int64_t begin, int64_t length) {
    ScatteredBytes range;
    const auto pieces = bytes_.pieces();
    while (length > 0) {
      const ByteSpan piece = pieces[piece_];
      const int64_t piece_end = piece_begin_ + static_cast<int64_t>(piece.size());
      if (begin >= piece_end) {
        piece_begin_ = piece_end;
        ++piece_;
        continue;
      }
      const int64_t count = std::min(length, piece_end - begin);
      range.Append(piece.subspan(begin - piece_begin_, count));
      begin += count;
      length -= count;
    }
    return range;
  }

 private:
  const ScatteredBytes& bytes_;
  ScatteredStream stream_;
  CodedInputStream in_;
  size_t piece_ = 0;         // of Range: where the last one ended
  int64_t piece_begin_ = 0;  // position of that piece
};

template <class Bytes>
class Walker {
 public:
  // `in` is at its beginning.
  Walker(Bytes& in, int64_t max_small_bytes, Slots& slots)
      : in_(in), max_small_bytes_(max_small_bytes), slots_(slots) {}

  // One message, up to position `end`, which lies within the bytes.
  Verdict Walk(absl::Span<const FieldRule> rules, int end) {
    Verdict verdict = Verdict::kPlain;
    uint64_t seen = 0;
    int kept = in_.position();  // what is to be copied and was not yet begins here
    while (in_.position() < end) {
      const int begin = in_.position();
      uint32_t tag = 0;
      if (!in_.ReadTag(&tag)) return Verdict::kInvalid;
      const auto rule = Find(rules, tag);
      if (rule == rules.end()) {
        if (!in_.SkipValue(tag)) return Verdict::kInvalid;
        if (!Count(in_.position() - begin)) return Verdict::kTooLarge;
        continue;
      }
      int length = 0;
      if (!in_.ReadLength(&length)) return Verdict::kInvalid;
      const int body = in_.position();
      if (length > end - body) return Verdict::kInvalid;
      if (!Count(body - begin)) return Verdict::kTooLarge;
      if ((seen & BitOf(*rule)) != 0 || body - begin != UsualHeadBytes(tag, length)) {
        verdict = Verdict::kUnusual;
      }
      seen |= BitOf(*rule);
      Copy(kept, begin);
      const Verdict inner = Followed(*rule, tag, length);
      if (inner == Verdict::kInvalid || inner == Verdict::kTooLarge) return inner;
      if (inner == Verdict::kUnusual) verdict = Verdict::kUnusual;
      kept = in_.position();
    }
    Copy(kept, end);
    return verdict;
  }

  const Skeleton& skeleton() const { return skeleton_; }

 private:
  static absl::Span<const FieldRule>::iterator Find(absl::Span<const FieldRule> rules,
                                                    uint32_t tag) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      return rules.end();
    }
    return std::find_if(rules.begin(), rules.end(),
                        [tag](const FieldRule& rule) { return TagOf(rule) == tag; });
  }

  static int UsualHeadBytes(uint32_t tag, int length) {
    return static_cast<int>(CodedOutputStream::VarintSize32(tag) +
                            CodedOutputStream::VarintSize32(static_cast<uint32_t>(length)));
  }

  // The value of a field that a rule names.
  Verdict Followed(const FieldRule& rule, uint32_t tag, int length) {
    const int body = in_.position();
    if (rule.keep == Keep::kBytes) {
      if (!in_.Skip(length)) return Verdict::kInvalid;
      slots_[rule.slot].number = rule.number;
      slots_[rule.slot].bytes = in_.Range(body, length);
      return Verdict::kPlain;
    }
    const typename Bytes::Limit limit = in_.PushLimit(length);
    const size_t inside = skeleton_.size();
    const Verdict verdict = Walk(rule.inside, body + length);
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

  // Copies the bytes at [begin, end), which were counted, to the skeleton.
  void Copy(int begin, int end) {
    if (begin == end) return;
    const size_t size = skeleton_.size();
    skeleton_.resize(size + static_cast<size_t>(end - begin));
    in_.CopyTo(begin, end - begin, skeleton_.data() + size);
  }

  Bytes& in_;
  const int64_t max_small_bytes_;
  int64_t small_bytes_ = 0;
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
  const auto parse_small = [&](const Skeleton& skeleton) {
    if (!small.ParseFromArray(skeleton.data(), static_cast<int>(skeleton.size()))) {
      return bad("is not valid protobuf");
    }
    storage_ = message.storage();
    return absl::OkStatus();
  };
  if (bytes.pieces().size() == 1 && bytes.size() <= max_small_bytes) {
    OnePiece in(bytes.pieces().front());
    Walker walker(in, max_small_bytes, slots_);
    const Verdict verdict = walker.Walk(rules, static_cast<int>(bytes.size()));
    if (verdict == Verdict::kPlain) return parse_small(walker.skeleton());
    slots_ = {};
  }
  if (bytes.size() > kMaxMessageBytes)
    return bad("is too large; wanted at most ", kMaxMessageBytes);
  AnyPieces in(bytes);
  Walker walker(in, max_small_bytes, slots_);
  const Verdict verdict = walker.Walk(rules, static_cast<int>(bytes.size()));
  if (verdict == Verdict::kInvalid) return bad("is not valid protobuf");
  if (verdict == Verdict::kTooLarge) {
    return bad("has too many beside its tensors' data; wanted at most ", max_small_bytes);
  }
  if (verdict == Verdict::kPlain) return parse_small(walker.skeleton());
  const std::shared_ptr<MessageLite> whole = make_whole();
  ScatteredStream stream(bytes);
  if (!whole->ParseFromZeroCopyStream(&stream)) return bad("is not valid protobuf");
  slots_ = {};
  storage_ = whole;
  all_parsed_ = true;
  return absl::OkStatus();
}

}  // namespace lossd::wire
