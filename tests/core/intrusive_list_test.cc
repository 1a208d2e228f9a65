#include "core/types/intrusive_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "tests/support/random.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

struct Item : ListNode<Item> {
  explicit Item(int n) : number(n) {}
  int number;
};

std::vector<int> Numbers(const IntrusiveList<Item>& list) {
  std::vector<int> numbers;
  for (const Item& item : list) numbers.push_back(item.number);
  return numbers;
}

TEST(IntrusiveList, AnEmptyOneHasNoFront) {
  IntrusiveList<Item> list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.front(), nullptr);
  EXPECT_EQ(list.PopFront(), nullptr);
  EXPECT_THAT(Numbers(list), IsEmpty());
}

TEST(IntrusiveList, BothEndsTakeElements) {
  Item one(1), two(2), three(3);
  IntrusiveList<Item> list;
  list.PushBack(&two);
  list.PushBack(&three);
  list.PushFront(&one);
  EXPECT_THAT(Numbers(list), ElementsAre(1, 2, 3));
  EXPECT_EQ(list.front(), &one);
}

TEST(IntrusiveList, AnElementIsRemovedWhereverItStands) {
  for (int removed = 0; removed < 3; ++removed) {
    Item items[] = {Item(0), Item(1), Item(2)};
    IntrusiveList<Item> list;
    for (Item& item : items) list.PushBack(&item);
    list.Remove(&items[removed]);
    std::vector<int> left = {0, 1, 2};
    left.erase(left.begin() + removed);
    EXPECT_THAT(Numbers(list), ElementsAreArray(left));
    list.PushBack(&items[removed]);  // at the end, which the list still knows
    left.push_back(removed);
    EXPECT_THAT(Numbers(list), ElementsAreArray(left));
  }
}

TEST(IntrusiveList, TheOnlyElementComesAndGoes) {
  Item only(7);
  IntrusiveList<Item> list;
  for (int i = 0; i < 2; ++i) {
    list.PushFront(&only);
    EXPECT_THAT(Numbers(list), ElementsAre(7));
    list.Remove(&only);
    EXPECT_TRUE(list.empty());
    list.PushBack(&only);
    EXPECT_EQ(list.PopFront(), &only);
    EXPECT_TRUE(list.empty());
  }
}

TEST(IntrusiveList, APoppedElementMayStandInAnotherList) {
  Item one(1), two(2);
  IntrusiveList<Item> from, to;
  from.PushBack(&one);
  from.PushBack(&two);
  to.PushBack(from.PopFront());
  EXPECT_THAT(Numbers(from), ElementsAre(2));
  to.PushBack(from.PopFront());
  EXPECT_THAT(Numbers(to), ElementsAre(1, 2));
}

TEST(IntrusiveList, AMovedOneTakesItsElementsAlong) {
  Item one(1), two(2), three(3);
  IntrusiveList<Item> from;
  from.PushBack(&one);
  from.PushBack(&two);
  IntrusiveList<Item> to(std::move(from));
  to.PushBack(&three);
  EXPECT_THAT(Numbers(to), ElementsAre(1, 2, 3));
  EXPECT_TRUE(from.empty());  // NOLINT(bugprone-use-after-move)
}

// Against a deque of pointers.
TEST(IntrusiveList, RandomStepsAgreeWithADeque) {
  SCOPED_TRACE(testing::Message() << "LOSSD_TEST_SEED=" << oracle::TestSeed());
  oracle::Random random(/*stream=*/31);
  std::deque<Item> items;
  for (int i = 0; i < 20; ++i) items.emplace_back(i);
  IntrusiveList<Item> list;
  std::deque<Item*> expected;
  for (int step = 0; step < 2000; ++step) {
    Item* const item = &items[random.Below(20)];
    const auto found = std::find(expected.begin(), expected.end(), item);
    if (found != expected.end()) {
      list.Remove(item);
      expected.erase(found);
    } else if (random.OneIn(2)) {
      list.PushFront(item);
      expected.push_front(item);
    } else {
      list.PushBack(item);
      expected.push_back(item);
    }
    std::vector<int> numbers;
    for (const Item* e : expected) numbers.push_back(e->number);
    ASSERT_EQ(Numbers(list), numbers) << "step " << step;
  }
}

}  // namespace
}  // namespace lossd
