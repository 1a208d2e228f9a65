#include "server/coverage/interval_set.h"

#include <algorithm>
#include <iterator>

namespace lossd {

IntervalSet::Map::const_iterator IntervalSet::FirstEndingAfter(int64_t point) const {
  const auto next = intervals_.upper_bound(point);
  if (next == intervals_.begin()) return next;
  const auto previous = std::prev(next);
  return previous->second.end > point ? previous : next;
}

std::optional<IntervalSet::Interval> IntervalSet::FirstMeeting(int64_t begin, int64_t end) const {
  const auto it = FirstEndingAfter(begin);
  if (it == intervals_.end() || it->first >= end) return std::nullopt;
  return Interval{it->first, it->second.end, it->second.tag};
}

void IntervalSet::Insert(Interval interval) {
  const auto next = intervals_.find(interval.end);
  if (next != intervals_.end() && next->second.tag == interval.tag) {
    interval.end = next->second.end;
    intervals_.erase(next);
  }
  const auto after = intervals_.lower_bound(interval.begin);
  if (after != intervals_.begin()) {
    const auto previous = std::prev(after);
    if (previous->second.end == interval.begin && previous->second.tag == interval.tag) {
      previous->second.end = interval.end;
      return;
    }
  }
  intervals_.emplace(interval.begin, Rest{interval.end, interval.tag});
}

void IntervalSet::Cover(int64_t begin, int64_t end) {
  auto first = intervals_.upper_bound(begin);
  if (first != intervals_.begin() && std::prev(first)->second.end >= begin) --first;
  auto last = first;
  for (; last != intervals_.end() && last->first <= end; ++last) {
    begin = std::min(begin, last->first);
    end = std::max(end, last->second.end);
  }
  intervals_.erase(first, last);
  intervals_.emplace(begin, Rest{end, 0});
}

void IntervalSet::Cover(const IntervalSet& others) {
  for (const auto& [begin, rest] : others.intervals_) Cover(begin, rest.end);
}

}  // namespace lossd
