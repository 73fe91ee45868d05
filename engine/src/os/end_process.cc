#include "os/end_process.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <semaphore>

#include "os/start_thread.h"

namespace larder {
namespace {

// Another thread may have the lock of a stream for as long as it likes: one
// that waits for input, say.
constexpr std::chrono::seconds kFlushTimeMax{1};

// Nothing is allocated here but by the thread: there may be no memory left.
//
// Standard output first, and the streams of C++ where they have buffers of
// their own: what follows waits for any stream that another thread has, or this
// one has locked.
void FlushAll() noexcept {
  std::fflush(stdout);
  for (std::ostream* const stream : {&std::cout, &std::clog}) {
    try {
      stream->flush();
    } catch (...) {  // If the user wants it to throw: there is nobody to tell.
    }
  }
  std::fflush(nullptr);
}

// Without a thread that could wait: what nobody has.
void FlushUnlocked() noexcept {
  for (std::FILE* const stream : {stdout, stderr}) {
    if (::ftrylockfile(stream) != 0) continue;
    std::fflush(stream);
    ::funlockfile(stream);
  }
}

}  // namespace

void EndProcess(int status) noexcept {
  std::binary_semaphore flushed{0};  // The thread may have it: no return.
  auto flusher = StartThread([&] {
    FlushAll();
    flushed.release();
  });
  if (flusher) {
    static_cast<void>(flushed.try_acquire_for(kFlushTimeMax));
    flusher->detach();
  } else {
    FlushUnlocked();
  }
  std::_Exit(status);
}

}  // namespace larder
