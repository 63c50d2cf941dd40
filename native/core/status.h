#pragma once

#include <string>
#include <utility>

namespace warpgauge {

// How every native call outside addon/ reports failure: a stable code (the same text as
// ErrorCode in lib/errors.ts), a sentence for people, the command that mends it, and the
// number the kernel or driver gave. Plain data, owned by the caller, no exceptions anywhere.
// An empty code means success.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(const char* code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Ok() { return {}; }

  [[nodiscard]] bool ok() const { return code_[0] == '\0'; }
  [[nodiscard]] const char* code() const { return code_; }
  [[nodiscard]] const std::string& message() const { return message_; }
  [[nodiscard]] const std::string& fix() const { return fix_; }
  [[nodiscard]] const std::string& source() const { return source_; }
  // errno, CUresult or nvmlReturn_t, as `source` tells; 0 when there is none.
  [[nodiscard]] int number() const { return number_; }

  Status&& WithFix(std::string fix) && {
    fix_ = std::move(fix);
    return std::move(*this);
  }
  Status&& WithSource(std::string source, int number) && {
    source_ = std::move(source);
    number_ = number;
    return std::move(*this);
  }

 private:
  const char* code_ = "";
  std::string message_;
  std::string fix_;
  std::string source_;
  int number_ = 0;
};

// A value or the reason why there is none. `value` is meaningful only when status.ok().
template <typename T>
struct [[nodiscard]] Result {
  Status status;
  T value{};

  Result() = default;
  // NOLINTBEGIN(google-explicit-constructor): a status or a value reads as a plain return
  Result(Status s) : status(std::move(s)) {}
  Result(T v) : value(std::move(v)) {}
  // NOLINTEND(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return status.ok(); }
};

}  // namespace warpgauge
