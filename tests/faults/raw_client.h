#ifndef LOSSD_TESTS_FAULTS_RAW_CLIENT_H_
#define LOSSD_TESTS_FAULTS_RAW_CLIENT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/faults/http2.h"

namespace lossd {

// One TCP connection to a server, by hand. Nothing happens behind the caller's back but this: while
// it waits for something, it notes what it reads.
class RawClient {
 public:
  // Connects; `address` is host:port with an IPv4 host. Does not greet.
  explicit RawClient(const std::string& address);
  ~RawClient();
  RawClient(RawClient&& other) noexcept;
  RawClient& operator=(RawClient&&) = delete;

  // The connection preface and SETTINGS: no header table, stream windows of `window`; and, if
  // `ack`, waits for the server's SETTINGS and acknowledges them.
  void Greet(uint32_t window = 1 << 20, bool ack = true);

  // False where the server has closed the connection, or took nothing for `seconds`.
  bool Send(absl::string_view bytes, int seconds = 10);

  // A call's header; false like Send.
  bool Open(uint32_t stream, const std::string& path, const http2::Fields& more = {},
            uint8_t flags = http2::kEndHeaders);
  // DATA frames of at most 16 KiB, without regard to windows.
  bool SendData(uint32_t stream, absl::string_view bytes, bool end = false);

  // The next frame; nullopt: the connection ended, or nothing came for `seconds`.
  std::optional<http2::Frame> Read(double seconds = 10);

  // Reads until the call has its trailers, which are kept by name; nullopt: the stream was reset
  // ("RST" is then in what() with the code), the connection ended, or time was up.
  std::optional<int> Status(uint32_t stream, double seconds = 10);
  const std::string& message() const { return message_; }
  const std::string& reason() const { return reason_; }

  // How the connection ended, or the stream last waited for: "", "RST n", "GOAWAY n", "closed".
  const std::string& what() const { return what_; }

  // Whether the server closes within that time; reads and drops what comes before.
  bool Ends(double seconds);

  // A port of one's own can be closed so that the peer gets a reset instead of a FIN.
  void CloseWithReset();

 private:
  bool Fill(double seconds);
  void Note(const http2::Frame& frame);

  int fd_ = -1;
  std::string buffer_;
  std::map<uint32_t, int> statuses_;
  std::map<uint32_t, std::string> resets_;
  std::string message_;
  std::string reason_;
  std::string what_;
};

// An IPv4 TCP connection to host:port; -1 where it is refused. On loopback it comes from 127.0.0.2:
// another peer than the sentinel's victim, so that what a peer is refused is not refused to that.
int ConnectTcp(const std::string& address);

}  // namespace lossd

#endif  // LOSSD_TESTS_FAULTS_RAW_CLIENT_H_
