#ifndef LOSSD_SERVER_LISTEN_LISTEN_SOCKET_H_
#define LOSSD_SERVER_LISTEN_LISTEN_SOCKET_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <string>
#include <utility>

namespace lossd {

// A file descriptor that is closed with its owner. Move-only.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd();

  int get() const { return fd_; }  // -1: none
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// A socket that listens. The file of a Unix socket goes with it. Move-only.
class ListenSocket {
 public:
  ListenSocket() = default;  // does not listen

  // Listens, not blocking. Neither shares a port with another server nor waits for old connections
  // of a port to be forgotten. If it cannot: false, and errno says why.
  // `mode`, of the file of a Unix socket; 0: as the mask of files says.
  bool Listen(int family, const sockaddr* address, socklen_t size, mode_t mode = 0);

  ListenSocket(ListenSocket&& other) noexcept
      : fd_(std::move(other.fd_)), path_(std::exchange(other.path_, std::string())) {}
  ListenSocket& operator=(ListenSocket&& other) noexcept {
    std::swap(fd_, other.fd_);
    path_.swap(other.path_);
    return *this;
  }
  ~ListenSocket();

  int fd() const { return fd_.get(); }
  int Port() const;  // that was bound; 0 of a Unix socket

 private:
  OwnedFd fd_;
  std::string path_;  // of the file; empty: TCP
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_LISTEN_SOCKET_H_
