#ifndef LARDER_ENGINE_SRC_OS_END_PROCESS_H_
#define LARDER_ENGINE_SRC_OS_END_PROCESS_H_

namespace larder {

/// Ends the process with `status` in a second at most, as kill -9 would but for
/// what stdio and the streams of C++ have buffered, which is written unless
/// another thread has a stream locked for as long as that.
///
/// Threads: thread-safe, under any lock, and in a handler of exit.
[[noreturn]] void EndProcess(int status) noexcept;

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_END_PROCESS_H_
