// A driver for a machine that has none, so that cuDNN can make plans there: it loads whatever code the library gives
// it and says yes. Nothing else works.
#include <stddef.h>

#define NOT_INITIALIZED 3
// Names that the library looks up; they must be there.
#define NAMES(X)                                                                                   \
    X(cuInit)                                                                                      \
    X(cuGetErrorName)                                                                              \
    X(cuGetErrorString) X(cuDeviceGet) X(cuDeviceGetCount) X(cuDeviceGetAttribute)                 \
        X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxRelease) X(cuDevicePrimaryCtxReset)        \
            X(cuCtxGetCurrent) X(cuCtxGetDevice) X(cuCtxGetLimit) X(cuCtxPopCurrent)               \
                X(cuCtxPushCurrent) X(cuStreamGetCtx) X(cuStreamSynchronize) X(cuLinkCreate)       \
                    X(cuLinkCreate_v2) X(cuLinkAddData) X(cuLinkAddData_v2) X(cuLinkAddFile_v2)    \
                        X(cuLinkComplete) X(cuLinkDestroy) X(cuLaunchKernel) X(cuLaunchKernelEx)   \
                            X(cuLaunchCooperativeKernel) X(cuTensorMapEncodeTiled) X(              \
                                cuTensorMapEncodeIm2col) X(cuMemcpyDtoH_v2)                        \
                                X(cuOccupancyMaxPotentialClusterSize) X(                           \
                                    cuOccupancyMaxActiveBlocksPerMultiprocessor) X(cuModuleUnload) \
                                    X(cuModuleLoadFatBinary) X(cuModuleLoadData)                   \
                                        X(cuModuleLoadDataEx) X(cuModuleGetGlobal_v2)              \
                                            X(cuModuleGetFunction) X(cuLibraryLoadFromFile)        \
                                                X(cuFuncGetAttribute) X(cuKernelGetAttribute)      \
                                                    X(cuKernelGetFunction) X(cuLibraryGetGlobal)   \
                                                        X(cuThreadExchangeStreamCaptureMode)

#define REFUSE(name)                                                                               \
    int name(void);                                                                                \
    int name(void)                                                                                 \
    {                                                                                              \
        return NOT_INITIALIZED;                                                                    \
    }
NAMES(REFUSE)

int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version)
{
    *version = 13000;
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
