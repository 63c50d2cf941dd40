/* Names and texts of the errors the fake libcuda gives. */
#ifndef WARPGAUGE_TEST_FAKE_CUDA_ERRORS_H
#define WARPGAUGE_TEST_FAKE_CUDA_ERRORS_H

#include <stddef.h>

static const struct {
  int code;
  const char* name;
  const char* text;
} kErrors[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "simulated: invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "simulated: out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "simulated: initialization error"},
    {100, "CUDA_ERROR_NO_DEVICE", "simulated: no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "simulated: invalid device ordinal"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "simulated: invalid device context"},
    {218, "CUDA_ERROR_INVALID_PTX", "simulated: a PTX JIT compilation failed"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "simulated: unsupported PTX version"},
    {500, "CUDA_ERROR_NOT_FOUND", "simulated: named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "simulated: device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "simulated: an illegal memory access was encountered"},
    {712,
     "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "simulated: part of the memory is already mapped"},
    {713, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "simulated: pointer is not mapped"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "simulated: unspecified launch failure"},
    {999, "CUDA_ERROR_UNKNOWN", "simulated: unknown error"},
};

static int ErrorText(int code, const char** text, int name) {
  size_t i;
  for (i = 0; i < sizeof(kErrors) / sizeof(kErrors[0]); ++i) {
    if (kErrors[i].code == code) {
      *text = name ? kErrors[i].name : kErrors[i].text;
      return 0;
    }
  }
  *text = NULL;
  return 1;
}

#endif
