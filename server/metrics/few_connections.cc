#include "server/metrics/few_connections.h"

#include <algorithm>
#include <utility>

namespace lossd {

size_t FewConnections::CountOf(const std::string& address) const {
  return std::count_if(connections_.begin(), connections_.end(),
                       [&](const Connection& one) { return one.address == address; });
}

std::optional<int> FewConnections::EvictOldestOf(const std::string& address) {
  const auto oldest = std::find_if(connections_.begin(), connections_.end(),
                                   [&](const Connection& one) { return one.address == address; });
  const int fd = oldest->fd;
  connections_.erase(oldest);
  return fd;
}

std::optional<int> FewConnections::Add(int fd, std::string address, Instant now) {
  std::optional<int> evicted;
  if (CountOf(address) >= limits_.of_address) {
    evicted = EvictOldestOf(address);
  } else if (connections_.size() >= limits_.all) {
    const auto most = std::max_element(connections_.begin(), connections_.end(),
                                       [&](const Connection& a, const Connection& b) {
                                         return CountOf(a.address) < CountOf(b.address);
                                       });
    evicted = EvictOldestOf(std::string(most->address));
  }
  connections_.push_back({fd, std::move(address), now + limits_.time});
  return evicted;
}

void FewConnections::Remove(int fd) {
  std::erase_if(connections_, [&](const Connection& one) { return one.fd == fd; });
}

std::vector<int> FewConnections::Expire(Instant now) {
  std::vector<int> expired;
  std::erase_if(connections_, [&](const Connection& one) {
    if (now < one.end) return false;
    expired.push_back(one.fd);
    return true;
  });
  return expired;
}

Instant FewConnections::next() const {
  return connections_.empty() ? Instant::max() : connections_.front().end;
}

}  // namespace lossd
