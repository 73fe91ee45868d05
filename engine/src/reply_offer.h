#ifndef LARDER_ENGINE_SRC_REPLY_OFFER_H_
#define LARDER_ENGINE_SRC_REPLY_OFFER_H_

#include <cstddef>
#include <span>

#include "larder/engine/command.h"

namespace larder {

/// The replies of one call, offered to a carrier that may decline to answer. To
/// be handed over by value: unless the carrier accepts, the replies are empty
/// when it returns, whatever it has written into them, so that nothing of it
/// gets into the answer of the one that is asked next.
///
/// Threads: one thread.
class ReplyOffer {
 public:
  explicit ReplyOffer(std::span<Reply> replies) noexcept : replies_(replies) {}
  ~ReplyOffer() {
    if (!accepted_) Clear(replies_);
  }
  ReplyOffer(const ReplyOffer&) = delete;
  ReplyOffer& operator=(const ReplyOffer&) = delete;

  [[nodiscard]] Reply& operator[](std::size_t index) noexcept {
    return replies_[index];
  }
  /// All replies are complete, and answer the call.
  void Accept() noexcept { accepted_ = true; }

  static void Clear(std::span<Reply> replies) noexcept {
    for (Reply& reply : replies) reply = Reply();
  }

 private:
  const std::span<Reply> replies_;
  bool accepted_ = false;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_REPLY_OFFER_H_
