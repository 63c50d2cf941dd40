#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "addon/napi_setup.h"

namespace warpgauge {

// Makes JavaScript values by plain Node-API calls: while worker.terminate() is under way they all
// fail, and node-addon-api would end the process over the empty value. Here a value that cannot be
// made is nullptr, and setting one does nothing. JS thread only.
class ValueMaker {
 public:
  explicit ValueMaker(napi_env env) : env_(env) {}

  [[nodiscard]] napi_value Object() const {
    napi_value value = nullptr;
    napi_create_object(env_, &value);
    return value;
  }
  [[nodiscard]] napi_value Array() const {
    napi_value value = nullptr;
    napi_create_array(env_, &value);
    return value;
  }
  [[nodiscard]] napi_value Text(const std::string& text) const {
    napi_value value = nullptr;
    napi_create_string_utf8(env_, text.data(), text.size(), &value);
    return value;
  }
  [[nodiscard]] napi_value Texts(const std::vector<std::string>& texts) const {
    napi_value array = Array();
    for (const std::string& text : texts) Push(array, Text(text));
    return array;
  }
  [[nodiscard]] napi_value Number(double number) const {
    napi_value value = nullptr;
    napi_create_double(env_, number, &value);
    return value;
  }
  [[nodiscard]] napi_value Flag(bool flag) const {
    napi_value value = nullptr;
    napi_get_boolean(env_, flag, &value);
    return value;
  }
  [[nodiscard]] napi_value Big(int64_t number) const {
    napi_value value = nullptr;
    napi_create_bigint_int64(env_, number, &value);
    return value;
  }
  [[nodiscard]] napi_value BigUnsigned(uint64_t number) const {
    napi_value value = nullptr;
    napi_create_bigint_uint64(env_, number, &value);
    return value;
  }
  void Set(napi_value object, const char* key, napi_value value) const {
    if (object != nullptr && value != nullptr) napi_set_named_property(env_, object, key, value);
  }
  void Push(napi_value array, napi_value value) const {
    uint32_t length = 0;
    if (array == nullptr || value == nullptr) return;
    if (napi_get_array_length(env_, array, &length) == napi_ok) {
      napi_set_element(env_, array, length, value);
    }
  }

 private:
  napi_env env_;
};

}  // namespace warpgauge
