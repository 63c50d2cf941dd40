// The part of glibc_floor.h that cannot be an assembler directive. g++ 12 lets every std::vector
// call a function that libstdc++ has only since GCC 11 (GLIBCXX_3.4.29); an addon that imports it
// does not load on systems with Node 20's own floor. Defined here, the call stays inside the addon.
// It is reached only by a request for more elements than an address can count, and without
// exceptions there is nothing to do then but stop.
#include <cstdlib>

namespace std {

// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming,cert-dcl58-cpp)
[[noreturn]] void __throw_bad_array_new_length() { abort(); }

}  // namespace std
