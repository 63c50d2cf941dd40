#pragma once

#include <type_traits>

namespace warpgauge {

template <typename A, typename B>
struct CompatibleFunctions;

// Whether a value of type A may be passed where the real header says B: same register, same size,
// same direction. Our handles are pointers to types of our own; NVIDIA's are pointers to its types
// or structs that hold just one pointer; our ints stand for its enums.
template <typename A, typename B>
constexpr bool CompatibleTypes() {
  if constexpr (std::is_void_v<A> || std::is_void_v<B>) {
    return std::is_void_v<A> && std::is_void_v<B>;
  } else if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>) {
    using ToA = std::remove_pointer_t<A>;
    using ToB = std::remove_pointer_t<B>;
    if constexpr (std::is_const_v<ToA> != std::is_const_v<ToB>) {
      return false;
    } else if constexpr (std::is_class_v<ToA> && std::is_class_v<ToB>) {
      return true;  // handles; structs with contents are compared field by field where they are
                    // used
    } else if constexpr (std::is_function_v<ToA> && std::is_function_v<ToB>) {
      return CompatibleFunctions<ToA, ToB>::value;
    } else {
      return CompatibleTypes<std::remove_cv_t<ToA>, std::remove_cv_t<ToB>>();
    }
  } else if constexpr (std::is_pointer_v<A> && std::is_class_v<B>) {
    return sizeof(A) == sizeof(B) && std::is_trivially_copyable_v<B>;
  } else if constexpr (std::is_floating_point_v<A> || std::is_floating_point_v<B>) {
    return std::is_same_v<A, B>;
  } else if constexpr ((std::is_integral_v<A> || std::is_enum_v<A>)&&(std::is_integral_v<B> ||
                                                                      std::is_enum_v<B>)) {
    if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
      return sizeof(A) == sizeof(B) && std::is_signed_v<A> == std::is_signed_v<B>;
    } else {
      return sizeof(A) == sizeof(B);
    }
  } else {
    return false;
  }
}

template <typename A, typename B>
struct CompatibleFunctions : std::false_type {};

template <typename R1, typename... A1, typename R2, typename... A2>
struct CompatibleFunctions<R1(A1...), R2(A2...)> {
  static constexpr bool Check() {
    if constexpr (sizeof...(A1) == sizeof...(A2)) {
      return CompatibleTypes<R1, R2>() && (CompatibleTypes<A1, A2>() && ...);
    } else {
      return false;
    }
  }
  static constexpr bool value = Check();
};

}  // namespace warpgauge
