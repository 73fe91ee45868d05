#ifndef LARDER_ENGINE_SRC_MESSAGES_REPLY_OFFER_H_
#define LARDER_ENGINE_SRC_MESSAGES_REPLY_OFFER_H_

#include <cstddef>
#include <memory>
#include <span>

#include "larder/engine/command.h"

namespace larder {

/// The replies of one call, offered to a carrier that may decline to answer. To
/// be handed over by value: unless the carrier accepts, they are empty when it
/// returns, or as before if it has not looked at them, so that nothing of what
/// it wrote gets into the answer of the one that is asked next.
///
/// Threads: one thread.
class ReplyOffer {
 public:
  explicit ReplyOffer(std::span<Reply> replies) noexcept : replies_(replies) {}
  ~ReplyOffer() {
    if (used_ && !accepted_) Clear(replies_);
  }
  ReplyOffer(const ReplyOffer&) = delete;
  ReplyOffer& operator=(const ReplyOffer&) = delete;

  [[nodiscard]] Reply& operator[](std::size_t index) noexcept {
    used_ = true;
    return replies_[index];
  }
  /// All replies are complete, and answer the call.
  void Accept() noexcept { accepted_ = true; }

  /// Callers may use the same replies again and again. On the way of every
  /// call: two thirds of the instructions of an assignment.
  static void Clear(std::span<Reply> replies) noexcept {
    for (Reply& reply : replies) {
      std::destroy_at(&reply);
      std::construct_at(&reply);
    }
  }

 private:
  const std::span<Reply> replies_;
  bool used_ = false;
  bool accepted_ = false;
};

}  // namespace larder

#endif  // LARDER_ENGINE_SRC_MESSAGES_REPLY_OFFER_H_
