#include "commit/write_faults.h"

#include <string>

#include <gtest/gtest.h>

namespace larder::testing {
namespace {

const Status kFull(StatusCode::kNoSpace, "full");

TEST(WriteFaults, TheFirstIsToldAndMayBeTriedAgainAtOnce) {
  WriteFaults faults;
  EXPECT_FALSE(faults.any());
  EXPECT_TRUE(faults.status().ok());
  EXPECT_TRUE(faults.Note(Status::IoError("first")));
  EXPECT_FALSE(faults.Note(Status::IoError("second")));
  EXPECT_TRUE(faults.any());
  EXPECT_EQ(faults.status().message(), "second");
  EXPECT_EQ(faults.count(), 2U);
  EXPECT_FALSE(faults.IsTooSoon());
  EXPECT_FALSE(faults.disk_full());
}

TEST(WriteFaults, ATryThatFailedIsNotFollowedByAnotherAtOnce) {
  WriteFaults faults;
  faults.Note(Status::IoError("first"));
  faults.NoteReopened(Status::IoError("still"));
  EXPECT_TRUE(faults.any());
  EXPECT_TRUE(faults.IsTooSoon());
  EXPECT_EQ(faults.status().message(), "still");
  faults.NoteRebuilt(Status::IoError("not that either"));
  EXPECT_TRUE(faults.any());
  EXPECT_FALSE(faults.IsTooSoon());
  // Nor is one that failed meanwhile put off.
  faults.NoteReopened(Status::IoError("still"));
  EXPECT_FALSE(faults.Note(Status::IoError("another")));
  EXPECT_FALSE(faults.IsTooSoon());
}

TEST(WriteFaults, GoWithAReopeningAndTheNextIsAFirstAgain) {
  WriteFaults faults;
  faults.Note(Status::IoError("first"));
  faults.NoteReopened(Status::Ok());
  EXPECT_FALSE(faults.any());
  EXPECT_TRUE(faults.status().ok());
  EXPECT_TRUE(faults.Note(Status::IoError("again")));
  EXPECT_EQ(faults.count(), 2U);
}

TEST(WriteFaults, AFullDiskStaysSoUntilThereIsRoom) {
  WriteFaults faults;
  faults.Note(kFull);
  EXPECT_TRUE(faults.disk_full());
  EXPECT_FALSE(faults.NoteDiskFull());
  faults.NoteReopened(Status::Ok());  // Reads need no room.
  EXPECT_TRUE(faults.disk_full());
  faults.NoteDiskHasRoom();
  EXPECT_FALSE(faults.disk_full());
  EXPECT_TRUE(faults.NoteDiskFull());
  EXPECT_FALSE(faults.any());
}

}  // namespace
}  // namespace larder::testing
