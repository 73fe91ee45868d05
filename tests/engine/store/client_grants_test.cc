#include "store/client_grants.h"

#include <cstdint>

#include <gtest/gtest.h>

namespace larder::testing {
namespace {

constexpr std::uint64_t kClient = 7;
constexpr std::uint64_t kOther = 8;

ClientGrant Of(std::uint64_t uid, std::uint64_t value_size = 1) {
  ClientGrant grant;
  grant.uid = uid;
  grant.value_size = value_size;
  return grant;
}

TEST(ClientGrants, IsUsedOnceByTheClientItIsOf) {
  ClientGrants grants;
  grants.Add(1, Of(kClient, 100));
  EXPECT_EQ(grants.Take(kOther, 1).error().code(), StatusCode::kGone);
  EXPECT_EQ(grants.Take(kClient, 2).error().code(), StatusCode::kGone);
  const auto taken = grants.Take(kClient, 1);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->value_size, 100U);
  EXPECT_EQ(grants.Take(kClient, 1).error().code(), StatusCode::kGone);
  EXPECT_TRUE(grants.IsEmpty());
}

TEST(ClientGrants, AClientHasSoManyAndNoMore) {
  ClientGrants grants;
  for (std::uint64_t i = 0; i < ClientGrants::kPerClientMax; ++i) {
    EXPECT_TRUE(grants.CheckMayHaveMore(kClient).ok());
    grants.Add(i, Of(kClient));
  }
  EXPECT_EQ(grants.CheckMayHaveMore(kClient).code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(grants.CheckMayHaveMore(kOther).ok());
  grants.Drop(kOther, 0);  // Not its own.
  EXPECT_FALSE(grants.CheckMayHaveMore(kClient).ok());
  grants.Drop(kClient, 0);
  EXPECT_TRUE(grants.CheckMayHaveMore(kClient).ok());
}

TEST(ClientGrants, ThoseOfOneClientGoAndTheOthersStay) {
  ClientGrants grants;
  grants.Add(1, Of(kClient));
  grants.Add(2, Of(kOther));
  grants.Add(3, Of(kClient));
  grants.DropAllOf(kClient);
  EXPECT_FALSE(grants.HasAnyOf(kClient));
  EXPECT_TRUE(grants.HasAnyOf(kOther));
  EXPECT_FALSE(grants.Take(kClient, 3));
  EXPECT_TRUE(grants.Take(kOther, 2));
  EXPECT_FALSE(grants.HasAnyOf(kOther));
}

TEST(ClientGrants, NoneIsLeftAfterClear) {
  ClientGrants grants;
  for (std::uint64_t i = 0; i < ClientGrants::kPerClientMax; ++i) {
    grants.Add(i, Of(kClient));
  }
  grants.Clear();
  EXPECT_TRUE(grants.IsEmpty());
  EXPECT_FALSE(grants.HasAnyOf(kClient));
  EXPECT_TRUE(grants.CheckMayHaveMore(kClient).ok());
  EXPECT_FALSE(grants.Take(kClient, 1));
}

}  // namespace
}  // namespace larder::testing
