// A CUDA driver and an NVRTC in one library, for tests: their memory is the host's, the first kernel
// that a program tries "runs" and others do nothing, and one function answers what it is told.
//
// STUB_FUNCTION names the function and STUB_CODE its answer, both looked up at each call.
#include <stdlib.h>
#include <string.h>

typedef unsigned long long address;

static int told(const char *name) {
  const char *function = getenv("STUB_FUNCTION"), *code = getenv("STUB_CODE");
  return function && code && !strcmp(function, name) ? atoi(code) : 0;
}

#define ANSWER(...)                    \
  {                                    \
    const int answer = told(__func__); \
    if (answer) return answer;         \
    __VA_ARGS__;                       \
    return 0;                          \
  }

int cuInit(unsigned flags) ANSWER((void)flags)
int cuDriverGetVersion(int *version) ANSWER(*version = 13000)
int cuGetErrorName(int error, const char **name) ANSWER((void)error; *name = NULL)
int cuGetErrorString(int error, const char **text) ANSWER((void)error; *text = NULL)

int cuDeviceGetCount(int *count) ANSWER(*count = 1)
int cuDeviceGet(int *device, int ordinal) ANSWER(*device = ordinal)
int cuDeviceGetName(char *name, int room, int device)
    ANSWER((void)device; strncpy(name, "Stub", room))
int cuDeviceTotalMem_v2(size_t *bytes, int device) ANSWER((void)device; *bytes = 1u << 30)
// 75 and 76 are the compute capability, all else is large enough.
int cuDeviceGetAttribute(int *value, int attribute, int device)
    ANSWER((void)device; *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1 << 16)
int cuDevicePrimaryCtxRetain(void **context, int device) ANSWER((void)device; *context = (void *)1)
int cuDevicePrimaryCtxRelease_v2(int device) ANSWER((void)device)
int cuCtxGetCurrent(void **context) ANSWER(*context = NULL)
int cuCtxSetCurrent(void *context) ANSWER((void)context)

int cuStreamCreate(void **stream, unsigned flags) ANSWER((void)flags; *stream = (void *)2)
int cuStreamDestroy_v2(void *stream) ANSWER((void)stream)
int cuStreamSynchronize(void *stream) ANSWER((void)stream)
int cuStreamBeginCapture_v2(void *stream, int mode) ANSWER((void)stream; (void)mode)
int cuStreamEndCapture(void *stream, void **graph) ANSWER((void)stream; *graph = (void *)3)
// No status that a header lists.
int cuStreamIsCapturing(void *stream, int *status) ANSWER((void)stream; *status = 12345)

int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags)
    ANSWER((void)graph; (void)flags; *executable = (void *)4)
int cuGraphLaunch(void *executable, void *stream) ANSWER((void)executable; (void)stream)
int cuGraphExecDestroy(void *executable) ANSWER((void)executable)
int cuGraphDestroy(void *graph) ANSWER((void)graph)

int cuEventCreate(void **event, unsigned flags) ANSWER((void)flags; *event = (void *)5)
int cuEventDestroy_v2(void *event) ANSWER((void)event)
int cuEventRecord(void *event, void *stream) ANSWER((void)event; (void)stream)
// Never ready, so that it is waited for.
int cuEventQuery(void *event) ANSWER((void)event; return 600)
int cuEventSynchronize(void *event) ANSWER((void)event)
int cuEventElapsedTime_v2(float *milliseconds, void *start, void *end)
    ANSWER((void)start; (void)end; *milliseconds = 0.5f)

int cuMemAlloc_v2(address *place, size_t bytes) ANSWER(*place = (address)malloc(bytes))
int cuMemFree_v2(address place) ANSWER(free((void *)place))
int cuMemGetInfo_v2(size_t *unused, size_t *total) ANSWER(*unused = *total = 1u << 30)
int cuMemHostAlloc(void **place, size_t bytes, unsigned flags)
    ANSWER((void)flags; *place = malloc(bytes))
int cuMemFreeHost(void *place) ANSWER(free(place))
int cuMemcpyHtoDAsync_v2(address target, const void *source, size_t bytes, void *stream)
    ANSWER((void)stream; memcpy((void *)target, source, bytes))
int cuMemcpyDtoHAsync_v2(void *target, address source, size_t bytes, void *stream)
    ANSWER((void)stream; memcpy(target, (void *)source, bytes))
int cuMemcpyDtoDAsync_v2(address target, address source, size_t bytes, void *stream)
    ANSWER((void)stream; memcpy((void *)target, (void *)source, bytes))
int cuMemsetD8Async(address target, unsigned char value, size_t bytes, void *stream)
    ANSWER((void)stream; memset((void *)target, value, bytes))

int cuModuleLoadData(void **module, const void *image) ANSWER((void)image; *module = (void *)6)
int cuModuleUnload(void *module) ANSWER((void)module)
// 7 is the kernel that a device is tried out with, 8 any other.
int cuModuleGetFunction(void **function, void *module, const char *name)
    ANSWER((void)module; *function = (void *)(strcmp(name, "probe") ? 8L : 7L))
int cuFuncGetAttribute(int *value, int attribute, void *function)
    ANSWER((void)attribute; (void)function; *value = 1024)
int cuFuncSetAttribute(void *function, int attribute, int value)
    ANSWER((void)function; (void)attribute; (void)value)
// No parameter is known of any.
int cuFuncGetParamInfo(void *function, size_t index, size_t *offset, size_t *size)
    ANSWER((void)function; (void)index; *offset = *size = 0; return 801)
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void *stream, void **parameters, void **extra)
    ANSWER((void)gx; (void)gy; (void)gz; (void)bx; (void)by; (void)bz; (void)shared; (void)stream;
           (void)extra; if (function == (void *)7) **(unsigned **)parameters[0] = 1)

int nvrtcVersion(int *major, int *minor) ANSWER(*major = 13; *minor = 0)
int nvrtcGetNumSupportedArchs(int *count) ANSWER(*count = 1)
int nvrtcGetSupportedArchs(int *archs) ANSWER(*archs = 90)
int nvrtcCreateProgram(void **program, const char *source, const char *name, int count,
                       const char **headers, const char **names)
    ANSWER((void)source; (void)name; (void)count; (void)headers; (void)names;
           *program = (void *)9)
int nvrtcDestroyProgram(void **program) ANSWER(*program = NULL)
int nvrtcCompileProgram(void *program, int count, const char **options)
    ANSWER((void)program; (void)count; (void)options)
int nvrtcGetCUBINSize(void *program, size_t *size) ANSWER((void)program; *size = 5)
int nvrtcGetCUBIN(void *program, char *code) ANSWER((void)program; memcpy(code, "cubin", 5))
int nvrtcGetPTXSize(void *program, size_t *size) ANSWER((void)program; *size = 4)
int nvrtcGetPTX(void *program, char *code) ANSWER((void)program; memcpy(code, "ptx", 4))
int nvrtcGetProgramLogSize(void *program, size_t *size) ANSWER((void)program; *size = 1)
int nvrtcGetProgramLog(void *program, char *log) ANSWER((void)program; *log = 0)
