#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>

#include <gtest/gtest.h>

#include "larder/cache/cache.h"

#include "cache/null_engine.h"

// The facade is on the path of every call, so it must not allocate there. This
// program counts each allocation.

namespace {

std::atomic<long> allocations = 0;

void* Allocate(std::size_t size) {
  ++allocations;
  if (void* bytes = std::malloc(size)) return bytes;
  throw std::bad_alloc();
}

}  // namespace

// Not inlined: where gcc sees through one of a pair only, as with
// ThreadSanitizer, it warns that malloc and delete do not match.
[[gnu::noinline]] void* operator new(std::size_t size) {
  return Allocate(size);
}
[[gnu::noinline]] void operator delete(void* bytes) noexcept {
  std::free(bytes);
}
[[gnu::noinline]] void operator delete(void* bytes, std::size_t) noexcept {
  std::free(bytes);
}

namespace larder::testing {
namespace {

class CacheAllocations : public ::testing::Test {
 protected:
  template <typename Fn>
  long CountIn(Fn&& fn) {
    fn();  // The first call may fill what is kept, like the settings.
    const long before = allocations;
    fn();
    return allocations - before;
  }

  std::unique_ptr<Cache> cache_ =
      Cache::OnEngine(std::make_unique<NullEngine>());
  const std::string value_ = std::string(100, 'v');
};

TEST_F(CacheAllocations, CounterCounts) {
  EXPECT_EQ(CountIn([] {
              int* volatile kept = new int(5);  // Or the pair is left out.
              delete kept;
            }),
            1);
}

TEST_F(CacheAllocations, SetAllocatesNothing) {
  EXPECT_EQ(CountIn([&] {
              ASSERT_TRUE(cache_->Set("key", value_, {.tag = "red"}).ok());
            }),
            0);
}

TEST_F(CacheAllocations, TypedSetOfAnIntegerAllocatesNothing) {
  EXPECT_EQ(CountIn([&] { ASSERT_TRUE(cache_->Set("key", 12345).ok()); }), 0);
}

TEST_F(CacheAllocations, GetAllocatesNothing) {
  EXPECT_EQ(CountIn([&] { ASSERT_TRUE(cache_->Get("key")->has_value()); }), 0);
}

TEST_F(CacheAllocations, OtherCallsOnOneItemAllocateNothing) {
  EXPECT_EQ(CountIn([&] {
              ASSERT_TRUE(cache_->Add("key", value_).has_value());
              ASSERT_TRUE(cache_->Incr("key").has_value());
              ASSERT_TRUE(cache_->Touch("key", {}).has_value());
              ASSERT_TRUE(cache_->Delete("key").has_value());
              ASSERT_TRUE(cache_->Pop("key").has_value());
              ASSERT_TRUE(cache_->Contains("key").has_value());
              ASSERT_TRUE(cache_->CompareAndSet("key", 1, value_).has_value());
            }),
            0);
}

}  // namespace
}  // namespace larder::testing
