# The variables that the loader ignores in secure-execution mode (ld.so(8)). NixOS's security wrapper reads them each with a zero byte at
# its end.
mkdir -p "$out"
{
    printf '#define UNSECURE_ENVVARS'
    for variable in GCONV_PATH GETCONF_DIR HOSTALIASES LD_AUDIT LD_BIND_NOT LD_DEBUG LD_DEBUG_OUTPUT LD_DYNAMIC_WEAK LD_LIBRARY_PATH \
        LD_ORIGIN_PATH LD_PRELOAD LD_PROFILE LD_PROFILE_OUTPUT LD_SHOW_AUXV LOCALDOMAIN LOCPATH MALLOC_TRACE NIS_PATH NLSPATH \
        RESOLV_HOST_CONF RES_OPTIONS TMPDIR TZDIR; do
        printf ' "%s\\0"' "$variable"
    done
    echo
} >"$out/unsecvars.h"
