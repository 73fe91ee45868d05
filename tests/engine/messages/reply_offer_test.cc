#include "messages/reply_offer.h"

#include <array>
#include <string>

#include <gtest/gtest.h>

namespace larder {
namespace {

// A carrier that has filled in all it can when it decides.
void Answer(bool accepts, ReplyOffer offer) {
  offer[1].status = Status::IoError("of the carrier");
  offer[1].applied = true;
  offer[1].value = ValueHandle::FromString("value");
  offer[1].info.tag = "tag";
  offer[1].integer = 7;
  if (accepts) offer.Accept();
}

TEST(ReplyOffer, WhoDeclinesLeavesNothingBehind) {
  std::array<Reply, 2> replies;
  Answer(/*accepts=*/false, ReplyOffer(replies));
  EXPECT_TRUE(replies[1].status.ok());
  EXPECT_FALSE(replies[1].applied);
  EXPECT_EQ(replies[1].value.size(), 0U);
  EXPECT_EQ(replies[1].info.tag, "");
  EXPECT_EQ(replies[1].integer, 0);
}

TEST(ReplyOffer, WhoAcceptsHasAnswered) {
  std::array<Reply, 2> replies;
  Answer(/*accepts=*/true, ReplyOffer(replies));
  EXPECT_FALSE(replies[1].status.ok());
  EXPECT_EQ(replies[1].value.bytes(), "value");
}

}  // namespace
}  // namespace larder
