#ifndef LOSSD_TESTS_SERVER_RAW_SOCKET_H_
#define LOSSD_TESTS_SERVER_RAW_SOCKET_H_

#include <string>
#include <string_view>

namespace lossd::testing {

// A TCP connection of a test, to 127.0.0.1:PORT, from an address of loopback.
class RawSocket {
 public:
  explicit RawSocket(const std::string& address, const std::string& from = "127.0.0.1");
  ~RawSocket();
  RawSocket(RawSocket&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  RawSocket& operator=(RawSocket&&) = delete;

  bool connected() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  // The server may have closed it.
  void Send(std::string_view bytes) const;

  // Whether the server has closed it by now; reads what came.
  bool Closed() const;

  // Reads until the server closes the connection; false: it does not within 30 s.
  bool WaitForClose() const;

 private:
  int fd_ = -1;
};

// How a client of HTTP/2 begins: preface and empty SETTINGS.
inline constexpr std::string_view kHttp2Begin{
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 33};

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SERVER_RAW_SOCKET_H_
