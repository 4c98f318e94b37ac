// Part of every program of the asan preset: what the leak checker must know about MPI.

const char *__lsan_default_suppressions(void);
int dlclose(void *handle);

// What MPI, its helpers, HDF5 and the gemm library keep until the process ends (HDF5 also what a
// damaged file made it give up). Some stacks end in __vasprintf_internal, where unwinding stops; none
// of our own do, for nothing here calls asprintf.
const char *__lsan_default_suppressions(void)
{
    return "leak:libmpi\nleak:libopen-pal\nleak:libopen-rte\nleak:libpmix\nleak:libhwloc\n"
           "leak:libevent\nleak:mca_\nleak:__vasprintf_internal\nleak:libmkl\nleak:libgomp\n"
           "leak:libhdf5\n";
}

// MPI closes its plug-ins at the end and the checker looks afterwards: of a closed plug-in it
// sees only addresses, which no line above matches. Plug-ins that stay open keep their names.
int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
