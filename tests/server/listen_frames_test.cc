#include "server/listen/frame_guard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/faults/http2.h"
#include "tests/support/random.h"

namespace lossd {
namespace {

using oracle::Random;

std::span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

bool Passes(const std::string& bytes) {
  FrameGuard guard;
  return guard.Pass(BytesOf(bytes));
}

// A connection that begins with a call whose header block is `block`, in frames of `frame` bytes.
std::string Connection(const std::string& block, size_t frame = 16384) {
  std::string bytes = absl::StrCat(http2::kPreface, http2::Settings({}));
  size_t at = 0;
  do {
    const std::string part = block.substr(at, frame);
    const bool last = at + part.size() == block.size();
    bytes += http2::Bytes(at == 0 ? http2::kHeaders : http2::kContinuation,
                          last ? http2::kEndHeaders : http2::kNone, 1, part);
    at += part.size();
  } while (at < block.size());
  return bytes;
}

std::string Repeated(int64_t count, const std::string& field) {
  std::string all;
  for (int64_t i = 0; i < count; ++i) all += field;
  return all;
}

// RFC 7541, section 5.1.
std::string Number(uint8_t first, uint8_t mask, uint64_t value) {
  if (value < mask) return {static_cast<char>(first | value)};
  std::string bytes = {static_cast<char>(first | mask)};
  for (value -= mask; value >= 0x80; value >>= 7) {
    bytes += static_cast<char>(0x80 | (value & 0x7f));
  }
  return bytes + static_cast<char>(value);
}

std::string Text(const std::string& text, bool huffman) {
  return Number(huffman ? 0x80 : 0, 0x7f, text.size()) + text;
}

// A field of any form, with texts of any bytes.
std::string AnyField(Random& random) {
  const auto upto = [&](int64_t most) { return random.Below(most + 1); };
  const auto text = [&] {
    const size_t size = upto(20) == 0 ? 127 + upto(300) : upto(12);
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.Below(256));
    return Text(bytes, upto(1) == 1);
  };
  const uint64_t index = upto(3) == 0 ? 1 + upto(4000) : 1 + upto(60);
  switch (upto(4)) {
    case 0:
      return Number(0x80, 0x7f, index);
    case 1:
      return Number(0x20, 0x1f, upto(5000));
    case 2:
      return Number(0x40, 0x3f, index) + text();
    case 3:
      return Number(upto(1) == 0 ? 0 : 0x10, 0x0f, index) + text();
    default:
      return std::string(1, static_cast<char>(random.Pick({0, 0x10, 0x40}))) + text() + text();
  }
}

TEST(FrameGuard, LimitsTheFieldsOfABlock) {
  for (const std::string& field :
       {std::string("\xbe"), std::string("\x20"), http2::Literals({{"x", ""}}),
        http2::Literals({{"a-name", "a value"}}), Number(0x80, 0x7f, 5000)}) {
    for (const size_t frame : {size_t{1}, size_t{7}, size_t{240}, size_t{16384}}) {
      const std::string most = Repeated(FrameGuard::kMaxFields, field);
      EXPECT_TRUE(Passes(Connection(most, frame))) << field.size() << " " << frame;
      EXPECT_FALSE(Passes(Connection(most + field, frame))) << field.size() << " " << frame;
    }
  }
}

TEST(FrameGuard, LimitsTheBytesOfABlock) {
  const auto block = [](int64_t bytes) {
    std::string text = Text("x", false) + Text(std::string(60'000, 'v'), false);
    const std::string first = std::string(1, '\0') + text;
    return first + Repeated(1, std::string(1, '\0') + Text("y", false) +
                                   Text(std::string(bytes - first.size() - 6, 'v'), false));
  };
  EXPECT_EQ(block(FrameGuard::kMaxBytes).size(), FrameGuard::kMaxBytes);
  EXPECT_TRUE(Passes(Connection(block(FrameGuard::kMaxBytes))));
  EXPECT_FALSE(Passes(Connection(block(FrameGuard::kMaxBytes + 1))));
}

TEST(FrameGuard, CountsEachBlockAnew) {
  std::string bytes = Connection(Repeated(FrameGuard::kMaxFields, "\xbe"));
  for (uint32_t stream = 3; stream < 100; stream += 2) {
    bytes += http2::Bytes(http2::kHeaders, http2::kEndHeaders, stream,
                          Repeated(FrameGuard::kMaxFields, "\xbe"));
    bytes += http2::Bytes(http2::kData, 0, stream, std::string(3000, '\xbe'));
    bytes += http2::Bytes(http2::kPing, 0, 0, std::string(8, '\xbe'));
  }
  EXPECT_TRUE(Passes(bytes));
}

TEST(FrameGuard, CountsTheStreamsThatAreOpened) {
  const auto headers = [](uint32_t stream) {
    return http2::Bytes(http2::kHeaders, http2::kEndHeaders, stream, "\xbe");
  };
  FrameGuard guard;
  ASSERT_TRUE(guard.Pass(BytesOf(Connection("\xbe") + headers(3) + headers(9))));
  EXPECT_EQ(guard.TakeOpened(), 3);
  EXPECT_EQ(guard.TakeOpened(), 0);
  // Trailers; a stream that is closed; one of the server's; a block in two frames.
  ASSERT_TRUE(guard.Pass(BytesOf(headers(9) + headers(5) + headers(12) +
                                 http2::Bytes(http2::kHeaders, 0, 0x7fffffff, "\xbe") +
                                 http2::Bytes(http2::kContinuation, 4, 0x7fffffff, "\xbe"))));
  EXPECT_EQ(guard.TakeOpened(), 1);
}

TEST(FrameGuard, CountsTheBytesOfMessages) {
  FrameGuard guard;
  const std::string data = http2::Bytes(http2::kData, 0, 1, std::string(3000, 'x'));
  ASSERT_TRUE(guard.Pass(BytesOf(Connection("\xbe") + data + data.substr(0, 9 + 100))));
  EXPECT_EQ(guard.TakeData(), 3100);
  ASSERT_TRUE(guard.Pass(BytesOf(data.substr(9 + 100))));
  EXPECT_EQ(guard.TakeData(), 2900);
}

TEST(FrameGuard, SkipsThePriorityAndNoPadding) {
  constexpr uint8_t kPriority = 0x20;
  constexpr uint8_t kPadded = 0x08;
  const std::string most = Repeated(FrameGuard::kMaxFields, "\xbe");
  const std::string start = absl::StrCat(http2::kPreface, http2::Settings({}));
  const auto frame = [&](uint8_t flags, const std::string& payload) {
    return start + http2::Bytes(http2::kHeaders, http2::kEndHeaders | flags, 1, payload);
  };
  EXPECT_TRUE(Passes(frame(kPriority, std::string(5, '\x01') + most)));
  EXPECT_FALSE(Passes(frame(kPriority, std::string(5, '\x01') + most + "\xbe")));
  EXPECT_FALSE(Passes(frame(kPriority, std::string(4, '\x01'))));
  // gRPC takes padding for fields, so fields cannot hide in it.
  EXPECT_FALSE(Passes(frame(kPadded, absl::StrCat("\xff", most, std::string(255, '\xbe')))));
}

TEST(FrameGuard, RefusesFieldsThatDoNotEnd) {
  const std::string name = std::string("\x10\x7f\x81\xff\xff\xff\x03", 7) + std::string(2000, 'a');
  EXPECT_FALSE(Passes(Connection(name)));                                       // 1 GiB of it
  EXPECT_FALSE(Passes(Connection(std::string(1, '\x40') + Text("x", false))));  // no value
  EXPECT_FALSE(Passes(Connection(Number(0x80, 0x7f, 200).substr(0, 1))));       // half an index
  EXPECT_FALSE(Passes(Connection("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")));  // 2^70
}

TEST(FrameGuard, LeavesOtherProtocolsAlone) {
  EXPECT_TRUE(Passes(std::string("\x16\x03\x01\x02\x00", 5) + std::string(100'000, '\xbe')));
  EXPECT_TRUE(Passes("PRI * HTTP/1.1\r\n" + std::string(100'000, '\xbe')));
}

// However a connection is cut, the answer comes with the same byte; and it is what counting the
// fields says.
TEST(FrameGuard, DoesNotDependOnHowBytesAreCut) {
  SCOPED_TRACE(::testing::Message() << "LOSSD_TEST_SEED=" << oracle::TestSeed());
  Random random(8400);
  for (int round = 0; round < 300; ++round) {
    const auto fields = static_cast<int64_t>(random.Next() % (2 * FrameGuard::kMaxFields));
    std::string block;
    for (int64_t i = 0; i < fields; ++i) block += AnyField(random);
    const bool good = fields <= FrameGuard::kMaxFields &&
                      static_cast<int64_t>(block.size()) <= FrameGuard::kMaxBytes;
    const std::string bytes = Connection(block, 1 + random.Next() % 2000);
    ASSERT_EQ(Passes(bytes), good) << fields << " fields";
    FrameGuard guard;
    bool passed = true;
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = std::min(bytes.size() - at, 1 + random.Next() % 100);
      passed = guard.Pass(BytesOf(bytes).subspan(at, size));
      at += size;
    }
    ASSERT_EQ(passed, good) << fields << " fields";
  }
}

// Bytes of any kind end, and a connection that was refused stays so.
TEST(FrameGuard, EndsOnAnyBytes) {
  SCOPED_TRACE(::testing::Message() << "LOSSD_TEST_SEED=" << oracle::TestSeed());
  Random random(8400);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = Connection(AnyField(random));
    const size_t start = bytes.size();
    bytes.resize(start + random.Next() % 300);
    for (size_t i = start; i < bytes.size(); ++i) bytes[i] = static_cast<char>(random.Next() % 12);
    FrameGuard guard;
    const bool passed = guard.Pass(BytesOf(bytes));
    EXPECT_TRUE(passed || !guard.Pass(BytesOf("x")));
  }
}

}  // namespace
}  // namespace lossd
