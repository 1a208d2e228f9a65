// What a connection brings that no call explains.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/admission/call_caps.h"
#include "server/admission/connection_account.h"

namespace lossd {
namespace {

using std::chrono::seconds;
using ::testing::IsEmpty;

constexpr Instant kStart{seconds(1000)};
constexpr int64_t kKiB = 1 << 10;
constexpr int64_t kMiB = 1 << 20;
constexpr char kName[] = "ipv4:10.0.0.1:1";

constexpr LedgerLimits kLimits;

TEST(Ledger, KnowsWhetherBytesWait) {
  Ledger ledger(kLimits);
  const std::shared_ptr<ConnectionAccount> account = ledger.Open(kName);
  EXPECT_FALSE(ledger.BytesWait(kName));
  bool waits = true;
  account->KnowWaiting([&] { return waits; });
  EXPECT_TRUE(ledger.BytesWait(kName));
  EXPECT_FALSE(ledger.BytesWait("ipv4:10.0.0.2:1"));
  waits = false;
  EXPECT_FALSE(ledger.BytesWait(kName));
}

// One connection with its calls, and the ledger it is in.
struct Book {
  Ledger ledger{kLimits};
  std::shared_ptr<ConnectionAccount> account = ledger.Open(kName);
  AdmissionCounters counters;
  CallCaps caps{{.starts_per_second = 1e9}, &counters, &ledger};

  CallCaps::Pass Call() {
    absl::StatusOr<CallCaps::Pass> pass = caps.Begin(kName, kStart);
    EXPECT_TRUE(pass.ok()) << pass.status();
    return *std::move(pass);
  }

  // Bytes in pieces until no more is read, at most so many.
  int64_t Flood(int64_t most, int64_t piece = 16 * kKiB, bool answer = false) {
    int64_t read = 0;
    for (; read < most && account->MayRead(); read += piece) {
      account->Received(piece);
      if (answer) account->Sent(9);
    }
    return read;
  }
};

// ----------------------------------------------------------------------------------------- floods

// Headers that never end, a message of 4 GiB to a method that reads by itself, frames of any kind.
TEST(Ledger, WhatNoCallExplainsIsCutOff) {
  for (const bool answered : {false, true}) {  // SETTINGS and PINGs are
    Book book;
    EXPECT_LE(book.Flood(1000 * kMiB, 16 * kKiB, answered), kLimits.connection + 64 * kKiB);
    EXPECT_FALSE(book.account->MayRead()) << "for good";
  }
}

TEST(Ledger, HonestCallsBeforeAreNoCredit) {
  Book book;
  for (int i = 0; i < 100'000; ++i) {
    book.account->Received(300);
    CallCaps::Pass call = book.Call();
    call.Expect(100);
    book.account->Received(100);
    call.Arrived(100);
    book.account->Sent(100);
  }
  EXPECT_LE(book.Flood(1000 * kMiB), kLimits.connection + kLimits.lingering + kMiB);
}

// 4 calls wait for 64 MiB each; behind them come headers without end.
TEST(Ledger, AFloodCannotHideBehindCallsThatWait) {
  Book book;
  std::vector<CallCaps::Pass> calls;
  for (int i = 0; i < 4; ++i) {
    calls.push_back(book.Call());
    calls.back().Expect(64 * kMiB);
  }
  EXPECT_LE(book.Flood(1000 * kMiB), kLimits.connection + 6 * kLimits.reading);
}

TEST(Ledger, BytesBeyondTheMessageThatIsReadAreCutOff) {
  Book book;
  CallCaps::Pass call = book.Call();
  call.Expect(16 * kMiB);
  EXPECT_LE(book.Flood(1000 * kMiB, 16 * kKiB, true),
            kLimits.connection + kLimits.overrun + 18 * kMiB);
}

// The call is refused before its connection is broken, what is on its way is let be, and the
// connection goes on; who goes on sending is cut off.
TEST(Ledger, AMessageThatBecomesTooLargeIsForgiven) {
  Book book;
  {
    CallCaps::Pass call = book.Call();
    call.Expect(16 * kMiB);
    EXPECT_FALSE(call.Overrun());
    EXPECT_EQ(book.Flood(16 * kMiB, 16 * kKiB, true), 16 * kMiB);
    EXPECT_FALSE(call.Overrun());
    EXPECT_EQ(book.Flood(40 * kMiB, 16 * kKiB, true), 40 * kMiB);
    EXPECT_TRUE(call.Overrun());
    call.Forgive();
    EXPECT_FALSE(call.Overrun());
  }
  EXPECT_EQ(book.Flood(8 * kMiB, 16 * kKiB, true), 8 * kMiB);
  EXPECT_LE(book.Flood(1000 * kMiB, 16 * kKiB, true), kLimits.connection + kLimits.lingering);
  EXPECT_FALSE(book.account->MayRead());
}

// 100 connections of one address stay below what one may owe, and owe too much together. Another
// address that owes as much as one of them keeps its own.
// Streams whose calls gRPC has not shown yet.
TEST(Ledger, StreamsWaitForTheirCallsInNumbersThatAreLimited) {
  constexpr int64_t kMost = kLimits.connection / kLimits.stream;
  Book book;
  EXPECT_TRUE(book.account->StreamsOpened(kMost));
  EXPECT_EQ(book.ledger.unexplained(), kLimits.connection);
  {
    const CallCaps::Pass call = book.Call();  // one of them
    EXPECT_TRUE(book.account->StreamsOpened(1));
    EXPECT_FALSE(book.account->StreamsOpened(1));
  }
  EXPECT_FALSE(book.account->StreamsOpened(1)) << "for good";
  EXPECT_FALSE(book.account->MayRead());
  EXPECT_EQ(book.ledger.unexplained(), 0);
}

TEST(Ledger, StreamsThatNeverBecomeCallsAreForgotten) {
  Book book;
  book.ledger.Tick(kStart);
  for (int second = 1; second < 100; ++second) {
    ASSERT_TRUE(book.account->StreamsOpened(60));
    book.ledger.Tick(kStart + seconds(second));
  }
  EXPECT_EQ(book.ledger.unexplained(), 0);
}

TEST(Ledger, StreamsOfAllTogetherAreLimited) {
  Ledger ledger(kLimits);
  std::vector<std::shared_ptr<ConnectionAccount>> accounts;
  for (int i = 0; i < 200; ++i) {
    accounts.push_back(ledger.Open("ipv4:10.0.0." + std::to_string(i) + ":1"));
    accounts.back()->StreamsOpened(kLimits.connection / kLimits.stream);
    EXPECT_LE(ledger.unexplained(), kLimits.all);
  }
  EXPECT_GT(ledger.broken(), 100);
}

TEST(Ledger, OfAllTogetherTheGreediestGivesWay) {
  Ledger ledger(kLimits);
  const auto other = ledger.Open("ipv4:10.0.0.2:1");
  other->Received(kMiB);
  std::vector<std::shared_ptr<ConnectionAccount>> crowd;
  for (int i = 0; i < 100; ++i) {
    crowd.push_back(ledger.Open("ipv4:10.0.0.1:" + std::to_string(i)));
    crowd.back()->Received(kMiB);
    EXPECT_LE(ledger.unexplained(), kLimits.all);
  }
  int broken = 0;
  for (const auto& one : crowd) broken += one->MayRead() ? 0 : 1;
  EXPECT_EQ(broken, 100 - 63);
  EXPECT_TRUE(other->MayRead());
  EXPECT_EQ(static_cast<int>(ledger.Tick(kStart).size()), broken);
  EXPECT_THAT(ledger.Tick(kStart), IsEmpty()) << "told of once";
  crowd.clear();
}

// ----------------------------------------------------------------------------------------- honest

TEST(Ledger, LargeMessagesAreExplained) {
  Book book;
  for (int i = 0; i < 10; ++i) {
    CallCaps::Pass call = book.Call();
    call.Expect(128 * kMiB);
    for (int64_t read = 0; read < 128 * kMiB; read += kMiB) {
      ASSERT_TRUE(book.account->MayRead());
      book.account->Received(kMiB + 100);
      book.account->Sent(26);  // window updates
    }
    call.Arrived(128 * kMiB);
  }
  EXPECT_EQ(book.account->unexplained(), 0);
  EXPECT_GE(book.account->received(), 1280 * kMiB);
}

// Many at once, whose bytes come in turn, and which are all there in the end.
TEST(Ledger, MessagesAtOnceAreExplained) {
  Book book;
  std::vector<CallCaps::Pass> calls;
  for (int i = 0; i < 100; ++i) {
    calls.push_back(book.Call());
    calls.back().Expect(4 * kMiB);
  }
  for (int64_t read = 0; read < 400 * kMiB; read += kMiB) {
    ASSERT_TRUE(book.account->MayRead()) << read;
    book.account->Received(kMiB);
    book.account->Sent(26);
  }
  for (CallCaps::Pass& call : calls) call.Arrived(4 * kMiB);
  calls.clear();
  EXPECT_TRUE(book.account->MayRead());
}

// Windows are full when the last of the messages is there, and nothing was sent meanwhile.
TEST(Ledger, WindowsThatWereGrantedMayBeUsed) {
  Book book;
  std::vector<CallCaps::Pass> calls;
  for (int i = 0; i < 16; ++i) {
    calls.push_back(book.Call());
    calls.back().Expect(kMiB);
  }
  book.account->Sent(26);
  for (CallCaps::Pass& call : calls) {
    book.account->Received(kMiB);
    call.Arrived(kMiB);
    ASSERT_TRUE(book.account->MayRead());
  }
}

// Uploads that are given up in the middle, or refused while bytes are on their way.
TEST(Ledger, MessagesThatNeverArriveAreExplained) {
  Book book;
  for (int i = 0; i < 50; ++i) {
    {
      CallCaps::Pass call = book.Call();
      call.Expect(64 * kMiB);
      for (int part = 0; part < 40; ++part) {
        book.account->Received(kMiB);
        book.account->Sent(26);
        ASSERT_TRUE(book.account->MayRead()) << i;
      }
    }
    book.account->Received(kMiB);  // too late
    ASSERT_TRUE(book.account->MayRead()) << i;
    book.ledger.Tick(kStart + seconds(i));
  }
}

TEST(Ledger, LargeAnswersAreAcknowledgedByManySmallFrames) {
  Book book;
  for (int64_t i = 0; i < 2'000'000; ++i) {
    book.account->Sent(16 * kKiB);
    book.account->Received(26 + 30);
    ASSERT_TRUE(book.account->MayRead());
  }
}

TEST(Ledger, PingsOfALongLifeAreExplained) {
  Book book;
  for (int i = 0; i < 1'000'000; ++i) {
    if (i % 10 == 0) book.account->Received(50);
    book.ledger.Tick(kStart + seconds(i));
  }
  EXPECT_TRUE(book.account->MayRead());
}

TEST(Ledger, CallsThatAreRefusedExplainThemselves) {
  Book book;
  book.caps.Drain();
  for (int i = 0; i < 100'000; ++i) {
    book.account->Received(300);
    EXPECT_FALSE(book.caps.Begin(kName, kStart).ok());
    book.account->Sent(50);
  }
  EXPECT_TRUE(book.account->MayRead());
}

// ----------------------------------------------------------------------------------------- names

TEST(Ledger, KnowsConnectionsByName) {
  Ledger ledger(kLimits);
  const auto account = ledger.Open(kName);
  account->Received(1234);
  EXPECT_EQ(ledger.BytesReceived(kName), 1234);
  EXPECT_EQ(ledger.BytesReceived("unix:0:1"), std::nullopt);
  const auto again = ledger.Open(kName);  // the first is gone, and nobody had noticed
  EXPECT_TRUE(account->closed());
  EXPECT_EQ(ledger.BytesReceived(kName), 0);
  ledger.Close(*account);
  EXPECT_EQ(ledger.Find(kName), again);
  ledger.Close(*again);
  EXPECT_EQ(ledger.Find(kName), nullptr);
  EXPECT_EQ(ledger.unexplained(), 0);
}

TEST(Ledger, WhatIsClosedOwesNothing) {
  Ledger ledger(kLimits);
  const auto account = ledger.Open(kName);
  account->Received(kMiB);
  EXPECT_EQ(ledger.unexplained(), kMiB);
  ledger.Close(*account);
  account->Received(kMiB);
  EXPECT_EQ(ledger.unexplained(), 0);
}

}  // namespace
}  // namespace lossd
