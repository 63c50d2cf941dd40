#include "addon/options_reader.h"

#include <cmath>

namespace warpgauge {

OptionsReader::OptionsReader(napi_env env, napi_value options, const char* method)
    : env_(env), options_(options), method_(method) {
  napi_valuetype type = napi_undefined;
  is_object_ = napi_typeof(env, options, &type) == napi_ok && type == napi_object;
}

napi_value OptionsReader::Get(const char* key) {
  napi_value value = nullptr;
  if (wrong_ != nullptr) return nullptr;
  if (is_object_ && napi_get_named_property(env_, options_, key, &value) == napi_ok) return value;
  wrong_ = key;
  return nullptr;
}

double OptionsReader::Number(const char* key) {
  napi_value value = Get(key);
  double number = 0;
  if (value == nullptr) return 0;
  if (napi_get_value_double(env_, value, &number) == napi_ok && std::isfinite(number)) {
    return number;
  }
  Refuse(key);
  return 0;
}

int64_t OptionsReader::Integer(const char* key, int64_t least, int64_t most) {
  const double number = Number(key);
  if (wrong_ != nullptr) return 0;
  // Compared as doubles: converting first what an integer cannot hold is undefined.
  if (number >= static_cast<double>(least) && number <= static_cast<double>(most) &&
      std::trunc(number) == number) {
    return static_cast<int64_t>(number);
  }
  Refuse(key);
  return 0;
}

bool OptionsReader::Flag(const char* key) {
  napi_value value = Get(key);
  bool flag = false;
  if (value != nullptr && napi_get_value_bool(env_, value, &flag) != napi_ok) Refuse(key);
  return flag;
}

std::string OptionsReader::Text(const char* key) {
  napi_value value = Get(key);
  size_t bytes = 0;
  if (value == nullptr) return {};
  if (napi_get_value_string_utf8(env_, value, nullptr, 0, &bytes) != napi_ok) {
    Refuse(key);
    return {};
  }
  std::string text(bytes, '\0');
  napi_get_value_string_utf8(env_, value, text.data(), bytes + 1, nullptr);
  return text;
}

void OptionsReader::Refuse(const char* key) {
  if (wrong_ == nullptr) wrong_ = key;
}

Status OptionsReader::status() const {
  if (wrong_ == nullptr) return Status::Ok();
  return {"ERR_INVALID_ARGUMENT",
          std::string(method_) + " received no valid '" + wrong_ +
              "' (or its environment is being terminated)"};
}

}  // namespace warpgauge
