#include "server/memory/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "server/calls/side_buffers.h"

namespace lossd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

BufferPool::Buffer Take(BufferPool& pool, int64_t size) {
  absl::StatusOr<BufferPool::Buffer> buffer = pool.Take(size);
  EXPECT_TRUE(buffer.ok()) << buffer.status();
  EXPECT_EQ(static_cast<int64_t>(buffer->bytes().size()), size);
  return *std::move(buffer);
}

void Touch(const BufferPool::Buffer& buffer, std::byte value) {
  for (std::byte& byte : buffer.bytes()) byte = value;
}

TEST(BufferPool, EverySizeIsUsableAndAligned) {
  BufferPool pool(kMiB);
  for (const int64_t size : {int64_t{1}, int64_t{63}, int64_t{4097}, int64_t{65535}, int64_t{65536},
                             kMiB - 1, 2 * kMiB, 5 * kMiB + 3}) {
    const BufferPool::Buffer buffer = Take(pool, size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.bytes().data()) % 64, 0u) << size;
    Touch(buffer, std::byte{0x5a});
  }
  EXPECT_EQ(pool.loaned_bytes(), 0);
  EXPECT_TRUE(Take(pool, 0).bytes().empty());
}

TEST(BufferPool, MemoryComesBackToTheNextOfAboutThatSize) {
  BufferPool pool(64 * kMiB);
  const std::byte* first = nullptr;
  {
    const BufferPool::Buffer buffer = Take(pool, 4 * kMiB);
    first = buffer.bytes().data();
    Touch(buffer, std::byte{1});
    EXPECT_GE(pool.loaned_bytes(), 4 * kMiB);
    EXPECT_EQ(pool.idle_bytes(), 0);
  }
  EXPECT_EQ(pool.loaned_bytes(), 0);
  EXPECT_GE(pool.idle_bytes(), 4 * kMiB);
  const BufferPool::Buffer again = Take(pool, 4 * kMiB - 100);
  EXPECT_EQ(again.bytes().data(), first);
  const BufferPool::Buffer other = Take(pool, 4 * kMiB);
  EXPECT_NE(other.bytes().data(), first);
  Touch(other, std::byte{2});
  EXPECT_EQ(again.bytes().front(), std::byte{1});
}

TEST(BufferPool, IdleMemoryIsBounded) {
  BufferPool pool(3 * kMiB);
  {
    std::vector<BufferPool::Buffer> buffers;
    for (int i = 0; i < 8; ++i) buffers.push_back(Take(pool, kMiB));
  }
  EXPECT_EQ(pool.idle_bytes(), 3 * kMiB);
  EXPECT_EQ(pool.loaned_bytes(), 0);
}

TEST(BufferPool, TrimFreesWhatWasIdleSinceTheTrimBefore) {
  BufferPool pool(64 * kMiB);
  {
    const BufferPool::Buffer one = Take(pool, kMiB);
    const BufferPool::Buffer two = Take(pool, kMiB);
  }
  pool.Trim();  // both were used since the (never) trim before
  EXPECT_EQ(pool.idle_bytes(), 2 * kMiB);
  { const BufferPool::Buffer used = Take(pool, kMiB); }
  pool.Trim();
  EXPECT_EQ(pool.idle_bytes(), kMiB);
  pool.Trim();
  EXPECT_EQ(pool.idle_bytes(), 0);
  Touch(Take(pool, kMiB), std::byte{3});
}

TEST(BufferPool, ReleaseGivesBackOnceHoweverOftenItIsCalledOrCopied) {
  BufferPool pool(64 * kMiB);
  std::function<void()> release = Take(pool, kMiB).IntoRelease();
  EXPECT_EQ(pool.loaned_bytes(), kMiB);
  std::function<void()> copy = release;
  copy();
  EXPECT_EQ(pool.loaned_bytes(), kMiB);  // held by the other copy
  release();
  EXPECT_EQ(pool.loaned_bytes(), 0);
  release();
  { std::function<void()> never_called = Take(pool, kMiB).IntoRelease(); }
  EXPECT_EQ(pool.loaned_bytes(), 0);
  EXPECT_EQ(pool.idle_bytes(), kMiB);
}

TEST(BufferPool, LoansOutliveThePool) {
  std::optional<BufferPool> pool(std::in_place, 64 * kMiB);
  BufferPool::Buffer buffer = Take(*pool, kMiB);
  pool.reset();
  Touch(buffer, std::byte{4});
}

TEST(BufferPool, NoMemoryIsAStatus) {
  BufferPool pool(kMiB);
  EXPECT_EQ(pool.Take(int64_t{1} << 50).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(pool.loaned_bytes(), 0);
}

TEST(BufferPool, ManyThreads) {
  BufferPool pool(8 * kMiB);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 300; ++i) {
        const auto value = static_cast<std::byte>(t);
        const BufferPool::Buffer buffer = Take(pool, (64 << 10) + 4096 * (i % 5));
        buffer.bytes().front() = buffer.bytes().back() = value;
        std::this_thread::yield();
        ASSERT_EQ(buffer.bytes().front(), value);
        ASSERT_EQ(buffer.bytes().back(), value);
        if (i % 50 == 0) pool.Trim();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool.loaned_bytes(), 0);
}

// ----------------------------------------------------------------------------- side buffers

std::vector<std::byte> Count(int64_t size) {
  std::vector<std::byte> bytes(size);
  for (int64_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 % 251);
  return bytes;
}

TEST(GrowingBuffer, HoldsWhatCameAndNeverFarMore) {
  const std::vector<std::byte> bytes = Count(3 * kMiB + 17);
  GrowingBuffer buffer;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t size = std::min<size_t>(bytes.size() - begin, 1 + begin / 3);
    ScatteredBytes piece(ByteSpan(bytes).subspan(begin, size / 2));
    piece.Append(ByteSpan(bytes).subspan(begin + size / 2, size - size / 2));
    ASSERT_TRUE(buffer.Append(piece, int64_t{1} << 50).ok());  // whatever was declared
    begin += size;
    EXPECT_LE(buffer.capacity(), std::max<int64_t>(64 << 10, 2 * begin));
  }
  EXPECT_TRUE(buffer.bytes() == ByteSpan(bytes));
}

TEST(GrowingBuffer, NeverBeyondWhatWasDeclared) {
  const std::vector<std::byte> bytes = Count(100);
  GrowingBuffer buffer;
  ASSERT_TRUE(buffer.Append(ScatteredBytes(ByteSpan(bytes)), 150).ok());
  EXPECT_EQ(buffer.capacity(), 150);
}

}  // namespace
}  // namespace lossd
