#ifndef LARDER_ENGINE_SRC_OS_SIGNAL_MASK_H_
#define LARDER_ENGINE_SRC_OS_SIGNAL_MASK_H_

#include <signal.h>

namespace larder {

/// Blocks all signals while a thread of ours is started, which inherits it:
/// signals of the application are for its own threads.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &old_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &old_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t old_;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_OS_SIGNAL_MASK_H_
