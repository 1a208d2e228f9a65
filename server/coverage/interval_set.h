#ifndef LOSSD_SERVER_COVERAGE_INTERVAL_SET_H_
#define LOSSD_SERVER_COVERAGE_INTERVAL_SET_H_

#include <cstdint>
#include <optional>

#include "absl/container/btree_map.h"

namespace lossd {

// Half-open, disjoint, non-empty intervals [begin, end) of int64, each with a tag. Operations take
// logarithmic time; Cover pays for the intervals it swallows, which were paid for when they came.
class IntervalSet {
 public:
  struct Interval {
    int64_t begin = 0;
    int64_t end = 0;
    int64_t tag = 0;

    friend bool operator==(const Interval&, const Interval&) = default;
  };

  bool empty() const { return intervals_.empty(); }
  int64_t size() const { return static_cast<int64_t>(intervals_.size()); }
  // The first interval that intersects [begin, end), which is not empty.
  std::optional<Interval> FirstMeeting(int64_t begin, int64_t end) const;
  bool Intersects(int64_t begin, int64_t end) const { return FirstMeeting(begin, end).has_value(); }
  std::optional<Interval> Find(int64_t point) const { return FirstMeeting(point, point + 1); }

  // Adds an interval that intersects none; neighbours that touch it and carry its tag become one
  // with it.
  void Insert(Interval interval);

  // Adds an interval, united with all it touches or overlaps, whatever their tags.
  void Cover(int64_t begin, int64_t end);
  void Cover(const IntervalSet& others);

  // Precondition: `interval` is in the set.
  void Remove(const Interval& interval) { intervals_.erase(interval.begin); }
  void Clear() { intervals_.clear(); }

 private:
  struct Rest {
    int64_t end;
    int64_t tag;
  };
  using Map = absl::btree_map<int64_t, Rest>;  // by begin

  // The first interval that ends after `point`.
  Map::const_iterator FirstEndingAfter(int64_t point) const;

  Map intervals_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_COVERAGE_INTERVAL_SET_H_
