#include "index/opening_file_system.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "temporary_directory.h"

namespace larder {
namespace {

using rocksdb::IOOptions;

class OpeningFileSystemTest : public ::testing::Test {
 protected:
  std::string At(const std::string& name) { return directory_.path() / name; }
  void Write(rocksdb::FileSystem& files, const std::string& name,
             const std::string& bytes) {
    EXPECT_TRUE(rocksdb::WriteStringToFile(&files, bytes, At(name)).ok());
  }
  std::string Read(const std::string& name) {
    std::string bytes;
    const auto read = rocksdb::ReadFileToString(disk_.get(), At(name), &bytes);
    return read.ok() ? bytes : "none";
  }

  testing::TemporaryDirectory directory_;
  std::shared_ptr<rocksdb::FileSystem> disk_ = rocksdb::FileSystem::Default();
  OpeningFileSystem files_{disk_};
};

TEST_F(OpeningFileSystemTest, NothingIsDeletedBeforeKeep) {
  Write(*disk_, "old", "bytes");
  EXPECT_TRUE(files_.DeleteFile(At("old"), IOOptions(), nullptr).ok());
  EXPECT_EQ(Read("old"), "bytes");
  files_.Keep();
  EXPECT_EQ(Read("old"), "none");
}

TEST_F(OpeningFileSystemTest, AfterKeepAllGoesThrough) {
  Write(*disk_, "old", "bytes");
  files_.Keep();
  EXPECT_TRUE(files_.DeleteFile(At("old"), IOOptions(), nullptr).ok());
  EXPECT_EQ(Read("old"), "none");
  Write(files_, "new", "bytes");
  files_.Undo();
  EXPECT_EQ(Read("new"), "bytes");
}

TEST_F(OpeningFileSystemTest, UndoTakesAwayWhatWasMade) {
  Write(files_, "new", "bytes");
  Write(files_, "temporary", "bytes");
  EXPECT_TRUE(
      files_.RenameFile(At("temporary"), At("renamed"), IOOptions(), nullptr)
          .ok());
  files_.Undo();
  for (const char* name : {"new", "temporary", "renamed"}) {
    EXPECT_EQ(Read(name), "none") << name;
  }
}

TEST_F(OpeningFileSystemTest, UndoRestoresWhatWasWrittenOver) {
  Write(*disk_, "CURRENT", "MANIFEST-000001\n");
  for (const char* manifest : {"MANIFEST-000002\n", "MANIFEST-000003\n"}) {
    Write(files_, "temporary", manifest);
    EXPECT_TRUE(
        files_.RenameFile(At("temporary"), At("CURRENT"), IOOptions(), nullptr)
            .ok());
    EXPECT_EQ(Read("CURRENT"), manifest);
  }
  files_.Undo();
  EXPECT_EQ(Read("CURRENT"), "MANIFEST-000001\n");
}

TEST_F(OpeningFileSystemTest, WhatItMadeItselfIsDeletedAtOnce) {
  Write(files_, "new", "bytes");
  EXPECT_TRUE(files_.DeleteFile(At("new"), IOOptions(), nullptr).ok());
  EXPECT_EQ(Read("new"), "none");
  EXPECT_FALSE(files_.DeleteFile(At("new"), IOOptions(), nullptr).ok());
}

}  // namespace
}  // namespace larder
