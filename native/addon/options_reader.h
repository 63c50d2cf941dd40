#pragma once

#include <cstdint>
#include <string>

#include "addon/napi_setup.h"
#include "core/status.h"

namespace warpgauge {

// The fields of an options object that TypeScript has validated, by plain Node-API calls: where a
// read gives nothing (a wrong type, a getter that throws, worker.terminate() under way)
// node-addon-api would end the process over the empty value. After the first field that is not
// there or not of its type, every further read gives a zero value; the caller reads all it needs
// and then asks status() once. JS thread only; lives within one native call.
class OptionsReader {
 public:
  // `method` is the name for the message, a literal.
  OptionsReader(napi_env env, napi_value options, const char* method);

  double Number(const char* key);
  // A whole number of [least, most]; both ends within 2^53.
  int64_t Integer(const char* key, int64_t least, int64_t most);
  bool Flag(const char* key);
  std::string Text(const char* key);

  // For a text that is none of the words its field may have.
  void Refuse(const char* key);

  // ERR_INVALID_ARGUMENT naming the first field that was wrong.
  [[nodiscard]] Status status() const;

 private:
  // nullptr when there is nothing to read.
  napi_value Get(const char* key);

  napi_env env_;
  napi_value options_;
  const char* method_;
  bool is_object_;
  const char* wrong_ = nullptr;
};

// The largest whole number that a double counts without gaps.
inline constexpr int64_t kMaxInteger = (int64_t{1} << 53) - 1;

}  // namespace warpgauge
