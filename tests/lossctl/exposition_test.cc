// Prometheus' text format, as lossctl bench reads it.
#include "client/lossctl/bench/exposition.h"

#include <cmath>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd::lossctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(Exposition, SamplesOfEveryForm) {
  const auto samples = ParseExposition(
      "# HELP a_total Help, with {braces}.\n"
      "# TYPE a_total counter\n"
      "a_total 3\n"
      "\n"
      "b:c{} -1.5e-3 1700000000000\r\n"
      "  d { x = \"1\" , y=\"a,b}\", } +Inf  \n"
      "e{quoted=\"\\\"\\\\n\\n\"} NaN");
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_EQ(samples->size(), 4u);
  EXPECT_EQ((*samples)[0].name, "a_total");
  EXPECT_EQ((*samples)[0].value, 3);
  EXPECT_THAT((*samples)[0].labels, IsEmpty());
  EXPECT_EQ((*samples)[1].name, "b:c");
  EXPECT_EQ((*samples)[1].value, -1.5e-3);
  EXPECT_THAT((*samples)[2].labels, ElementsAre(Pair("x", "1"), Pair("y", "a,b}")));
  EXPECT_EQ((*samples)[2].value, std::numeric_limits<double>::infinity());
  EXPECT_THAT((*samples)[3].labels, ElementsAre(Pair("quoted", "\"\\n\n")));
  EXPECT_TRUE(std::isnan((*samples)[3].value));
  EXPECT_TRUE(ParseExposition("")->empty());
}

TEST(Exposition, WhatIsNoSuchTextIsRefusedWithItsLine) {
  for (const char* line :
       {"<html>", "a", "a ", "1a 2", "a{x=\"1\" 2", "a{x=1} 2", "a{x} 2", "a{=\"1\"} 2",
        "a{x=\"1} 2", "a{x=\"1\\", "a{x=\"1\"y=\"2\"} 3", "a{x=\"1\",x=\"2\"} 3", "a{x=\"1\"} two",
        "a 1 noon", "a 1 2 3", "a\x1b[31m"}) {
    const absl::Status error = ParseExposition(std::string("good 1\n") + line).status();
    EXPECT_TRUE(absl::IsInvalidArgument(error)) << line;
    EXPECT_THAT(std::string(error.message()), HasSubstr("line 2 is '"));
    EXPECT_EQ(error.message().find('\x1b'), error.message().npos);
  }
  const absl::Status long_one = ParseExposition(std::string(1 << 20, '{')).status();
  EXPECT_LT(long_one.message().size(), 200u);
}

}  // namespace
}  // namespace lossd::lossctl
