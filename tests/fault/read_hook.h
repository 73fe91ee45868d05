#ifndef LARDER_TESTS_FAULT_READ_HOOK_H_
#define LARDER_TESTS_FAULT_READ_HOOK_H_

#include <cstddef>
#include <functional>

#include <sys/types.h>

namespace larder::testing {

/// Called before every pread of the program, RocksDB's, too, on any thread;
/// returns 0 or the errno that it fails with.
using ReadHook = std::function<int(int fd, std::size_t size, off_t offset)>;

/// Replaces the hook; an empty one: the system's call. Threads: while nobody
/// reads.
void SetReadHook(ReadHook hook);

}  // namespace larder::testing

#endif  // LARDER_TESTS_FAULT_READ_HOOK_H_
