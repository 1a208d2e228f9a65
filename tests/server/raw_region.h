#ifndef LOSSD_TESTS_SERVER_RAW_REGION_H_
#define LOSSD_TESTS_SERVER_RAW_REGION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

// The client's end of protos/wire/region_socket.h by hand; shares no code with client or server.
namespace lossd::testing {

// Memory as a client makes it, or as one that is up to no good does.
class RawMemory {
 public:
  static constexpr int kSealed = 0x1 | 0x2 | 0x4;  // F_SEAL_SEAL, _SHRINK, _GROW

  explicit RawMemory(int64_t bytes, int seals = kSealed, unsigned flags = 0);
  ~RawMemory();
  RawMemory(const RawMemory&) = delete;
  RawMemory& operator=(const RawMemory&) = delete;

  int descriptor() const { return descriptor_; }
  std::byte* data() const { return data_; }  // null where it cannot be mapped

  // Values of type T at a byte offset.
  template <class T>
  T* At(int64_t offset) const {
    return reinterpret_cast<T*>(data_ + offset);
  }

 private:
  int descriptor_ = -1;
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// A connection to the socket for shared memory.
class RawRegion {
 public:
  explicit RawRegion(const std::string& path);
  ~RawRegion();
  RawRegion(const RawRegion&) = delete;
  RawRegion& operator=(const RawRegion&) = delete;

  // Sends `text` with these descriptors. False: the server does not take it.
  bool Send(const std::string& text, const std::vector<int>& descriptors);

  // The next answer's body, which may be a token; nullopt: the connection is over.
  struct Answer {
    absl::StatusCode code = absl::StatusCode::kOk;
    std::string body;

    friend bool operator==(const Answer&, const Answer&) = default;
  };
  std::optional<Answer> Receive();

  // Shares memory, as a client that is in order.
  Answer Share(const RawMemory& memory);

  int socket() const { return socket_; }

 private:
  int socket_ = -1;
};

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SERVER_RAW_REGION_H_
