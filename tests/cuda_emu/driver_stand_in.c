// A driver for a machine that has none, so that cuDNN can make plans there: it loads whatever code the library gives
// it and says yes. Nothing else works.
#include <stddef.h>
#include <stdlib.h>

// Names that the library looks up; they must be there.
#define REFUSE(name)                                                                               \
    int name(void);                                                                                \
    int name(void)                                                                                 \
    {                                                                                              \
        return 3; /* not initialised */                                                            \
    }
REFUSE(cuInit)
REFUSE(cuGetErrorName)
REFUSE(cuGetErrorString)
REFUSE(cuDeviceGet)
REFUSE(cuDeviceGetCount)
REFUSE(cuDeviceGetAttribute)
REFUSE(cuDevicePrimaryCtxRetain)
REFUSE(cuDevicePrimaryCtxRelease)
REFUSE(cuDevicePrimaryCtxReset)
REFUSE(cuCtxGetCurrent)
REFUSE(cuCtxGetDevice)
REFUSE(cuCtxGetLimit)
REFUSE(cuCtxPopCurrent)
REFUSE(cuCtxPushCurrent)
REFUSE(cuStreamGetCtx)
REFUSE(cuStreamSynchronize)
REFUSE(cuLinkCreate)
REFUSE(cuLinkCreate_v2)
REFUSE(cuLinkAddData)
REFUSE(cuLinkAddData_v2)
REFUSE(cuLinkAddFile_v2)
REFUSE(cuLinkComplete)
REFUSE(cuLinkDestroy)
REFUSE(cuLaunchKernel)
REFUSE(cuLaunchKernelEx)
REFUSE(cuLaunchCooperativeKernel)
REFUSE(cuTensorMapEncodeTiled)
REFUSE(cuMemcpyDtoH_v2)
REFUSE(cuOccupancyMaxPotentialClusterSize)
REFUSE(cuModuleUnload)
REFUSE(cuModuleLoadFatBinary)
REFUSE(cuModuleLoadData)
REFUSE(cuModuleLoadDataEx)
REFUSE(cuModuleGetGlobal_v2)
REFUSE(cuModuleGetFunction)
REFUSE(cuLibraryLoadFromFile)
REFUSE(cuFuncGetAttribute)
REFUSE(cuKernelGetAttribute)
REFUSE(cuKernelGetFunction)
REFUSE(cuLibraryGetGlobal)
REFUSE(cuThreadExchangeStreamCaptureMode)

int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version)
{
    const char *given = getenv("AXL_STAND_IN_VERSION");

    *version = given != NULL ? atoi(given) : 13000;
    return 0;
}

int cuLibraryLoadData(void **out, const void *code, void *a, void *b, unsigned n, void *c, void *d,
                      unsigned m);
int cuLibraryLoadData(void **out, const void *code, void *a, void *b, unsigned n, void *c, void *d,
                      unsigned m)
{
    static char library;

    (void)a, (void)b, (void)c, (void)d, (void)n, (void)m;
    *out = &library;
    return code != NULL ? 0 : 1;
}

int cuLibraryGetKernel(void **out, void *library, const char *name);
int cuLibraryGetKernel(void **out, void *library, const char *name)
{
    *out = library;
    return name != NULL ? 0 : 1;
}

int cuLibraryUnload(void *library);
int cuLibraryUnload(void *library)
{
    (void)library;
    return 0;
}

int cuFuncSetAttribute(void *function, int attribute, int value);
int cuFuncSetAttribute(void *function, int attribute, int value)
{
    (void)function, (void)attribute, (void)value;
    return 0;
}

int cuKernelSetAttribute(int attribute, int value, void *kernel, int device);
int cuKernelSetAttribute(int attribute, int value, void *kernel, int device)
{
    (void)kernel, (void)attribute, (void)value, (void)device;
    return 0;
}
