#ifndef LARDER_TOOLS_REPLAY_TRACE_ROW_H_
#define LARDER_TOOLS_REPLAY_TRACE_ROW_H_

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "trace_layout.h"

namespace larder::replay {

/// Turns the fields of a line into a request. Every number has a bound that
/// the simulator relies on.
///
/// Threads: thread-compatible.
class RowParser {
 public:
  explicit RowParser(const TableLayout& layout);

  /// What is wrong with a row.
  struct Fault {
    std::string expected;
    std::string got;
  };
  /// The request in `line`, whose fields are then in fields().
  [[nodiscard]] tl::expected<TraceRow, Fault> Parse(std::string_view line);
  /// Whether the field of `role` is what it should be; true if there is none.
  /// REQUIRES: Parse has split a line into as many fields as there are columns.
  [[nodiscard]] bool Fits(ColumnRole role) const;
  [[nodiscard]] bool has(ColumnRole role) const noexcept {
    return places_[static_cast<std::size_t>(role)] != kAbsent;
  }

 private:
  template <typename T>
  using Parsed = tl::expected<T, Fault>;

  static constexpr std::size_t kAbsent = ~std::size_t{0};

  /// Splits `line`; nullopt if it has the fields that it should have.
  [[nodiscard]] std::optional<Fault> Split(std::string_view line);
  /// The field of `role` without spaces around it. REQUIRES: has(role).
  [[nodiscard]] std::string_view Text(ColumnRole role) const;
  [[nodiscard]] Parsed<std::uint64_t> Time() const;
  [[nodiscard]] Parsed<std::uint64_t> Size() const;
  [[nodiscard]] Parsed<std::uint32_t> Ttl() const;
  [[nodiscard]] Parsed<TraceOp> Op() const;
  [[nodiscard]] Parsed<float> Cost() const;

  const TableLayout layout_;
  std::array<std::size_t, kColumnRoleCount> places_;
  std::array<TimeUnit, kColumnRoleCount> units_{};
  Fields fields_;
};

}  // namespace larder::replay

#endif  // LARDER_TOOLS_REPLAY_TRACE_ROW_H_
