/* Callback ids of the driver API (cupti_driver_cbid.h) of what the fake libcuda exports. */
#ifndef WARPGAUGE_TEST_FAKE_DRIVER_CBIDS_H
#define WARPGAUGE_TEST_FAKE_DRIVER_CBIDS_H

#define FAKE_DRIVER_CBIDS(X)           \
  X(cuInit, 1)                         \
  X(cuDriverGetVersion, 2)             \
  X(cuDeviceGet, 3)                    \
  X(cuDeviceGetCount, 4)               \
  X(cuDeviceGetName, 5)                \
  X(cuDeviceGetAttribute, 9)           \
  X(cuCtxSynchronize, 17)              \
  X(cuModuleLoadDataEx, 20)            \
  X(cuModuleUnload, 22)                \
  X(cuModuleGetFunction, 23)           \
  X(cuMemFreeHost, 38)                 \
  X(cuMemHostAlloc, 39)                \
  X(cuEventCreate, 118)                \
  X(cuEventRecord, 119)                \
  X(cuEventSynchronize, 121)           \
  X(cuEventElapsedTime, 123)           \
  X(cuStreamCreate, 124)               \
  X(cuStreamSynchronize, 126)          \
  X(cuMemsetD8Async, 216)              \
  X(cuMemAlloc_v2, 243)                \
  X(cuMemFree_v2, 245)                 \
  X(cuDeviceTotalMem_v2, 259)          \
  X(cuMemcpyHtoD_v2, 276)              \
  X(cuMemcpyHtoDAsync_v2, 277)         \
  X(cuMemcpyDtoH_v2, 278)              \
  X(cuMemcpyDtoHAsync_v2, 279)         \
  X(cuMemcpyDtoDAsync_v2, 281)         \
  X(cuStreamWaitEvent, 295)            \
  X(cuMemHostUnregister, 302)          \
  X(cuCtxSetCurrent, 303)              \
  X(cuLaunchKernel, 307)               \
  X(cuMemcpyPeerAsync, 319)            \
  X(cuEventDestroy_v2, 325)            \
  X(cuStreamDestroy_v2, 326)           \
  X(cuDeviceGetPCIBusId, 332)          \
  X(cuMemAllocManaged, 371)            \
  X(cuMemHostRegister_v2, 379)         \
  X(cuDevicePrimaryCtxRetain, 386)     \
  X(cuMemPrefetchAsync, 467)           \
  X(cuDeviceGetUuid, 482)              \
  X(cuDevicePrimaryCtxRelease_v2, 544) \
  X(cuDeviceGetUuid_v2, 647)           \
  X(cuEventElapsedTime_v2, 780)

#endif
