# cmake -DSOURCE=… -DHEADER=… -P: writes the commit that SOURCE is at into HEADER, which is touched only when it differs, so
# that a build of the same commit compiles nothing. "" where it is not known, as in an archive of the sources.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND git -C "${SOURCE}" describe --always --dirty --abbrev=12 --exclude=*
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit "")
endif()
file(CONFIGURE OUTPUT "${HEADER}" CONTENT "#define MUSTER_COMMIT \"@commit@\"\n" @ONLY)
