#include "commands/interruption.h"

#include <sys/prctl.h>

namespace larder::tools {
namespace {

std::atomic<int> noted_signal = 0;
// A handler may use nothing else.
static_assert(std::atomic<int>::is_always_lock_free);

void NoteSignal(int signal) { noted_signal.store(signal); }

}  // namespace

Interruption::Interruption() noexcept {
  struct sigaction action {};
  action.sa_handler = NoteSignal;
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) {
      ::sigaction(kSignals[i], &action, nullptr);
    }
  }
}

Interruption::~Interruption() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], &before_[i], nullptr);
  }
}

const std::atomic<int>& Interruption::signal() noexcept { return noted_signal; }

void Interruption::EndIfNoted() noexcept {
  const int noted = noted_signal.load();
  if (noted == 0) return;
  ::signal(noted, SIG_DFL);
  ::raise(noted);
}

void Interruption::LeaveToParent() noexcept {
  for (const int signal : kSignals) ::signal(signal, SIG_IGN);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
}

}  // namespace larder::tools
