#include "gpu/cuda/context.h"

#include <cctype>

namespace warpgauge {

Result<std::unique_ptr<CudaContext>> CudaContext::Open(const CudaTable& table, int ordinal) {
  if (CuResult r = table.cuInit(0); r != kCuSuccess) {
    return CudaStatus(table, r, "cuInit", "Initializing CUDA");
  }
  int count = 0;
  if (CuResult r = table.cuDeviceGetCount(&count); r != kCuSuccess) {
    return CudaStatus(table, r, "cuDeviceGetCount", "Counting the devices");
  }
  if (ordinal < 0 || ordinal >= count) {
    return Status("ERR_NO_DEVICE",
                  "There is no CUDA device " + std::to_string(ordinal) + ": the driver shows " +
                      std::to_string(count))
        .WithFix(count > 0
                     ? "choose --device 0 to " + std::to_string(count - 1)
                     : "check nvidia-smi -L, CUDA_VISIBLE_DEVICES and, in a container, --gpus all");
  }
  // From here on the destructor releases what was taken.
  std::unique_ptr<CudaContext> context(new CudaContext(table));
  if (CuResult r = table.cuDeviceGet(&context->device_, ordinal); r != kCuSuccess) {
    return CudaStatus(table, r, "cuDeviceGet", "Opening device " + std::to_string(ordinal));
  }
  if (Status status = context->ReadInfo(); !status.ok()) return status;
  if (CuResult r = table.cuDevicePrimaryCtxRetain(&context->context_, context->device_);
      r != kCuSuccess) {
    context->context_ = nullptr;
    return CudaStatus(
        table, r, "cuDevicePrimaryCtxRetain", "Creating the context of " + context->info_.name);
  }
  if (CuResult r = table.cuCtxSetCurrent(context->context_); r != kCuSuccess) {
    return CudaStatus(table, r, "cuCtxSetCurrent", "Using the context of " + context->info_.name);
  }
  return context;
}

CudaContext::~CudaContext() {
  if (context_ == nullptr) return;
  table_.cuCtxSetCurrent(nullptr);
  table_.cuDevicePrimaryCtxRelease_v2(device_);
}

Status CudaContext::ReadInfo() {
  char text[128] = {};
  if (CuResult r = table_.cuDeviceGetName(text, sizeof(text), device_); r != kCuSuccess) {
    return CudaStatus(table_, r, "cuDeviceGetName", "Reading the device's name");
  }
  info_.name = text;
  size_t memory = 0;
  if (CuResult r = table_.cuDeviceTotalMem_v2(&memory, device_); r != kCuSuccess) {
    return CudaStatus(table_, r, "cuDeviceTotalMem_v2", "Reading the memory size of " + info_.name);
  }
  info_.memory_bytes = memory;
  if (CuResult r = table_.cuDeviceGetAttribute(&info_.multiprocessors, kCuMultiprocessors, device_);
      r != kCuSuccess) {
    return CudaStatus(table_, r, "cuDeviceGetAttribute", "Reading attributes of " + info_.name);
  }

  // What follows is for the report only: absence is shown as absence.
  int major = 0;
  int minor = 0;
  if (table_.cuDeviceGetAttribute(&major, kCuComputeMajor, device_) == kCuSuccess &&
      table_.cuDeviceGetAttribute(&minor, kCuComputeMinor, device_) == kCuSuccess) {
    info_.compute_capability = std::to_string(major) + "." + std::to_string(minor);
  }
  int value = 0;
  if (table_.cuDeviceGetAttribute(&value, kCuPageableAccess, device_) == kCuSuccess) {
    info_.pageable_access = value;
  }
  if (table_.cuDeviceGetAttribute(&value, kCuHostPageTables, device_) == kCuSuccess) {
    info_.host_page_tables = value;
  }
  if (table_.cuDriverGetVersion != nullptr && table_.cuDriverGetVersion(&value) == kCuSuccess) {
    info_.cuda = std::to_string(value / 1000) + "." + std::to_string(value % 1000 / 10);
  }
  if (table_.cuDeviceGetPCIBusId != nullptr &&
      table_.cuDeviceGetPCIBusId(text, sizeof(text), device_) == kCuSuccess) {
    for (const char* c = text; *c != '\0'; ++c) {
      info_.pci_address += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
    }
  }
  CuUuid uuid{};
  if (auto* get = table_.GetUuid(); get != nullptr && get(&uuid, device_) == kCuSuccess) {
    static constexpr char kDigits[] = "0123456789abcdef";
    for (const unsigned char byte : uuid.bytes) {
      info_.uuid_hex += kDigits[byte >> 4U];
      info_.uuid_hex += kDigits[byte & 15U];
    }
  }
  return Status::Ok();
}

}  // namespace warpgauge
