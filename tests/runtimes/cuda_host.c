// Stands in for libcuda.so.1 where there is no GPU: memory is the host's, and SVF_CUDA_STATUS is what cuInit
// returns.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int live;  // buffers and streams not yet freed

int cuInit(unsigned flags) {
  const char* status = getenv("SVF_CUDA_STATUS");
  return flags != 0 ? 1 : status == NULL ? 0 : atoi(status);
}

int cuDeviceGet(int* device, int ordinal) {
  *device = 7;
  return ordinal;
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
  *value = attribute == 75 ? 12 : attribute == 76 ? 1 : -1;
  return device == 7 ? 0 : 101;
}

int cuDevicePrimaryCtxRetain(void** context, int device) {
  *context = (void*)(intptr_t)0x123456789abc;
  return device == 7 ? 0 : 101;
}

int cuDevicePrimaryCtxRelease_v2(int device) { return device == 7 && live == 0 ? 0 : 101; }

int cuCtxSetCurrent(void* context) { return context == (void*)(intptr_t)0x123456789abc ? 0 : 201; }

int cuStreamCreate(void** stream, unsigned flags) {
  *stream = malloc(1);
  ++live;
  return (int)flags;
}

int cuStreamDestroy_v2(void* stream) {
  free(stream);
  --live;
  return 0;
}

int cuStreamSynchronize(void* stream) { return stream == NULL; }

int cuMemAlloc_v2(uint64_t* address, size_t size) {
  *address = (uint64_t)(uintptr_t)malloc(size);
  ++live;
  return 0;
}

int cuMemFree_v2(uint64_t address) {
  free((void*)(uintptr_t)address);
  --live;
  return 0;
}

int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t size) {
  memcpy((void*)(uintptr_t)to, from, size);
  return 0;
}

int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t size) {
  memcpy(to, (const void*)(uintptr_t)from, size);
  return 0;
}

int cuGetErrorString(int status, const char** text) {
  *text = status == 100 ? "no CUDA-capable device is detected" : "invalid";
  return 0;
}
