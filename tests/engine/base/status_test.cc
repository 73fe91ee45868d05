#include "larder/engine/status.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace larder {
namespace {

TEST(Status, DefaultIsOk) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().ToString(), "kOk");
}

TEST(Status, ToStringNamesTheCode) {
  EXPECT_EQ(Status::TooLarge("9 > 8").ToString(), "kTooLarge: 9 > 8");
}

TEST(Status, ErrnoPicksTheCode) {
  EXPECT_EQ(Status::FromErrno(ENOSPC, "write").code(), StatusCode::kNoSpace);
  EXPECT_EQ(Status::FromErrno(EACCES, "open").code(),
            StatusCode::kPermissionDenied);
  EXPECT_EQ(Status::FromErrno(ENOENT, "open").code(), StatusCode::kNotFound);
  EXPECT_EQ(Status::FromErrno(EIO, "read").code(), StatusCode::kIoError);
}

TEST(Status, EveryCodeHasAName) {
  for (int code = 0; code <= static_cast<int>(kStatusCodeLast); ++code) {
    EXPECT_EQ(StatusCodeName(static_cast<StatusCode>(code)).front(), 'k');
  }
}

TEST(Result, CarriesValueOrStatus) {
  const Result<int> good = 7;
  const Result<int> bad = Fail(Status::NotFound("no such thing"));
  EXPECT_EQ(*good, 7);
  EXPECT_EQ(bad.error().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace larder
