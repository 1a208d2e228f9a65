#ifndef LOSSD_SERVER_ADMISSION_CONNECTION_ACCOUNT_H_
#define LOSSD_SERVER_ADMISSION_CONNECTION_ACCOUNT_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/admission/arrivals.h"
#include "server/admission/instant.h"

namespace lossd {

// What a connection may bring that no call explains. gRPC keeps much of what it is sent until there
// is a call to count it for, and limits none of it: headers without end, messages of any size.
struct LedgerLimits {
  int64_t connection = int64_t{2} << 20;  // of one connection
  int64_t all = int64_t{64} << 20;        // of all together; then the greediest is broken
  int64_t call = 16 << 10;                // explained by a call that begins: its headers
  // Owed by a stream until its call begins. gRPC keeps some 11 KiB of it, and makes streams faster
  // than it shows calls.
  int64_t stream = 2 << 10;
  double forgotten_streams = 64;  // in a second: of which gRPC never shows a call
  // Flow control lets a client send `window` bytes of each call, and of all its calls together,
  // before the server reads; and `reading` bytes at a time of a call that is being read.
  int64_t window = 64 << 10;
  int64_t reading = 1 << 20;
  // Beside a message that is being read and becomes larger than it may: what comes until its call
  // has been refused for that, which takes a turn of the ticker.
  int64_t overrun = int64_t{48} << 20;
  // At most, by calls that ended a few seconds ago: what sockets hold of what was on its way.
  int64_t lingering = int64_t{16} << 20;
  double trickle = 64;             // by a second that passes: pings
  int64_t sent_per_received = 16;  // one byte, by so many that were sent: window updates
};

class Ledger;

// The bytes of one connection. What comes is owed until a call explains it, and nothing can be
// explained beforehand, so that much honest traffic does not pay for a flood. Two rules:
// - What is owed, and is neither of a message that is being read nor in the window of an open call,
//   is at most LedgerLimits::connection; while a message is being read, LedgerLimits::overrun more.
// - What comes while nothing is sent back is at most that and the windows: messages are answered by
//   window updates, and calls by answers. So a flood of headers cannot hide behind calls that wait
//   for messages.
// Thread-safe; takes no lock but its own.
class ConnectionAccount {
 public:
  const std::string& name() const { return name_; }

  // On the socket.
  void Received(int64_t bytes);
  void Sent(int64_t bytes);

  // `waits` tells whether bytes of it wait to be read, from any thread and as long as the account
  // lives. Without it there are none.
  void KnowWaiting(std::function<bool()> waits);
  bool BytesWait();

  // `count` streams were opened on it. Returns false if more wait for their calls than may, here or
  // on all connections together, and this one is broken.
  bool StreamsOpened(int64_t count);

  // Whether more may be read; once it may not, never again. To be asked before reading, when
  // everything that came has been looked at.
  bool MayRead();

  // The calls on it.
  void CallBegan();
  void CallEnded(int64_t expected);               // what it still expected; 0: it was not reading
  void Expect(int64_t before, int64_t expected);  // the bytes of a call's message; likewise
  void Arrived(int64_t bytes);

  // Bytes of messages, in DATA frames; and whether no byte is known of a message that has not
  // arrived as a whole, of whatever call. Of a call that is given up the rest of its message stays.
  void DataCame(int64_t bytes) { data_came_.fetch_add(bytes, std::memory_order_relaxed); }
  bool silent() const {
    return data_came_.load(std::memory_order_relaxed) <=
           data_taken_.load(std::memory_order_relaxed);
  }

  // Whether more came than the messages that are being read may have; then, for one of which the
  // call is refused: what came of it, and is still on its way, is explained.
  bool overrun() const;
  void Forgive();

  bool had_calls() const { return had_calls_.load(std::memory_order_relaxed); }
  bool has_calls() const { return calls_.load(std::memory_order_relaxed) > 0; }
  int64_t received() const { return received_.load(std::memory_order_relaxed); }
  int64_t unexplained() const { return unexplained_.load(std::memory_order_relaxed); }
  bool closed() const { return closed_.load(std::memory_order_relaxed); }

 private:
  friend class Ledger;
  // Of all connections of one address.
  struct Address {
    int64_t connections = 0;  // guarded by the ledger
    std::atomic<int64_t> unexplained{0};
  };

  ConnectionAccount(Ledger* ledger, std::string name, Address* address)
      : ledger_(ledger), name_(std::move(name)), address_(address) {}

  void Break();
  void Retire();
  void Tick(double seconds);

  // With mutex_ held.
  int64_t Windows() const;
  void Count(int64_t expected, int sign);
  void Explain(int64_t bytes);
  void Update();
  void Show(int64_t unexplained);

  Ledger* const ledger_;
  const std::string name_;
  Address* const address_;
  std::atomic<int64_t> received_{0};
  std::atomic<int64_t> data_came_{0};
  std::atomic<int64_t> data_taken_{0};
  std::atomic<int64_t> unexplained_{0};
  std::atomic<bool> broken_{false};
  std::atomic<bool> closed_{false};
  std::atomic<bool> had_calls_{false};
  std::atomic<int64_t> calls_{0};
  bool reported_ = false;  // guarded by the ledger

  std::mutex mutex_;
  std::function<bool()> waits_;
  int64_t owed_ = 0;
  int64_t streams_ = 0;  // whose calls have not begun
  int64_t since_sent_ = 0;
  int64_t granted_ = 0;    // windows, meanwhile
  int64_t sent_ = 0;       // not yet worth a byte
  int64_t expected_ = 0;   // by calls that are reading
  int64_t reading_ = 0;    // calls
  int64_t lingering_ = 0;  // of calls that have ended
};

// The accounts of all open connections. Thread-safe; outlives them.
class Ledger final : public Arrivals {
 public:
  explicit Ledger(const LedgerLimits& limits) : limits_(limits) {}
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // A connection of that name begins. The one before that had the same name, if any, is forgotten.
  std::shared_ptr<ConnectionAccount> Open(std::string_view name);
  void Close(ConnectionAccount& account);

  // Null: there is none of that name.
  std::shared_ptr<ConnectionAccount> Find(std::string_view name) const;

  std::optional<int64_t> BytesReceived(std::string_view name) const override;
  bool BytesWait(std::string_view name) const override;

  // Time passes. Returns the accounts that may not be read any more and were not returned before.
  std::vector<std::shared_ptr<ConnectionAccount>> Tick(Instant now);

  int64_t unexplained() const { return unexplained_.load(std::memory_order_relaxed); }
  int64_t broken() const { return broken_.load(std::memory_order_relaxed); }  // so far
  const LedgerLimits& limits() const { return limits_; }

 private:
  friend class ConnectionAccount;
  using Accounts = std::map<std::string, std::shared_ptr<ConnectionAccount>, std::less<>>;

  void BreakGreediest();
  void Remove(Accounts::iterator account);  // with mutex_ held

  const LedgerLimits limits_;
  std::atomic<int64_t> unexplained_{0};
  std::atomic<int64_t> broken_{0};
  mutable std::mutex mutex_;  // taken before an account's
  Accounts accounts_;
  std::map<std::string, ConnectionAccount::Address, std::less<>> addresses_;
  std::optional<Instant> ticked_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_CONNECTION_ACCOUNT_H_
