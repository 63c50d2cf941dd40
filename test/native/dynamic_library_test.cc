#include "core/dynamic_library.h"

#include <doctest/doctest.h>

#include <string>

namespace warpgauge {
namespace {

TEST_CASE("the first name that loads wins, and the path is the file that was mapped") {
  const Result<DynamicLibrary> library =
      DynamicLibrary::Open({"libwarpgauge-absent.so.1", "libm.so.6"});
  REQUIRE(library.ok());
  CHECK(library.value.loaded());
  CHECK(library.value.path().front() == '/');
  CHECK(library.value.path().find("libm.so.6") != std::string::npos);
}

TEST_CASE("a found symbol can be called, a missing one is nullptr and no failure") {
  const Result<DynamicLibrary> library = DynamicLibrary::Open({"libm.so.6"});
  REQUIRE(library.ok());
  double (*cube_root)(double) = nullptr;
  CHECK(library.value.Load("cbrt", &cube_root));
  REQUIRE(bool(cube_root));
  CHECK(cube_root(27.0) == doctest::Approx(3.0));
  CHECK_FALSE(library.value.Load("warpgauge_absent_symbol", &cube_root));
  CHECK_FALSE(bool(cube_root));
}

TEST_CASE("when nothing loads, the status names every attempt with the loader's reason") {
  const Result<DynamicLibrary> library =
      DynamicLibrary::Open({"libwarpgauge-absent.so.1", "/etc/hostname"});
  REQUIRE_FALSE(library.ok());
  CHECK(std::string(library.status.code()) == "ERR_LIBRARY_MISSING");
  const std::string& message = library.status.message();
  CHECK(message.find("libwarpgauge-absent.so.1: cannot open shared object file") !=
        std::string::npos);
  CHECK(message.find("/etc/hostname: ") != std::string::npos);
  CHECK(DynamicLibrary::Open({}).status.message() == "no library name was given");
}

TEST_CASE("an empty library has no symbols") {
  const DynamicLibrary none;
  CHECK_FALSE(none.loaded());
  CHECK(none.Find("cbrt") == nullptr);
}

}  // namespace
}  // namespace warpgauge
