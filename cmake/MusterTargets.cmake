# Helpers that give every target of the project the same flags, include root and alias.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

find_program(MUSTER_CCACHE ccache)
if(MUSTER_CCACHE)
  # Paths relative to the project, so that another checkout of the same code compiles nothing anew.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1
    "${MUSTER_CCACHE}")
endif()
find_program(MUSTER_MOLD mold)

# Flags travel by this target, never by CMAKE_CXX_FLAGS. muster_flags is for our code, muster_link for all that we link.
add_library(muster_flags INTERFACE)
target_compile_options(muster_flags INTERFACE -Wall -Wextra -Wshadow -Werror
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
# Release is RelWithDebInfo: -O2, line tables for profiles, and asserts off.
add_library(muster_common INTERFACE)
target_include_directories(muster_common INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
  $<INSTALL_INTERFACE:include/muster>)
target_compile_features(muster_common INTERFACE cxx_std_20)
# Line tables and no more: profiles and stacks have lines, and a compile takes a quarter less time and memory.
target_compile_options(muster_common INTERFACE $<$<CONFIG:RelWithDebInfo>:-g1>)
if(MUSTER_MOLD)
  target_link_options(muster_flags INTERFACE -fuse-ld=mold)
endif()
if(MUSTER_SANITIZE)
  string(REPLACE ";" "," muster_sanitize_list "${MUSTER_SANITIZE}")
  # -O1 and line tables only: half the time to compile, and better stacks.
  target_compile_options(muster_common INTERFACE -fsanitize=${muster_sanitize_list} -fno-omit-frame-pointer -O1 -g1)
  target_link_options(muster_common INTERFACE -fsanitize=${muster_sanitize_list})
  # Protobuf's headers lay out maps in another way for this sanitizer, and Debian's library is built without it.
  if("thread" IN_LIST MUSTER_SANITIZE)
    target_compile_options(muster_common INTERFACE -U__SANITIZE_THREAD__ -DMUSTER_TEST_SANITIZED=1)
  endif()
  # The UndefinedBehaviorSanitizer ends the process at a finding, so that a test can fail by it.
  if("undefined" IN_LIST MUSTER_SANITIZE)
    target_compile_options(muster_common INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()
if(MUSTER_FUZZ)
  target_compile_options(muster_common INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Most of a compile is reading headers of protobuf, gRPC and Abseil; sources that are compiled together read them once.
# The price is that touching one source compiles its batch. See cmake/decisions/.
option(MUSTER_UNITY "Compile the sources of a target in batches" ON)
function(muster_compile_in_batches target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${MUSTER_UNITY} UNITY_BUILD_BATCH_SIZE 6)
endfunction()

# muster_library(NAME SOURCES ... HEADERS ... DEPS ... [PRIVATE_DEPS ...]) makes library muster_NAME, alias muster::NAME.
function(muster_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;HEADERS;DEPS;PRIVATE_DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(muster_${name} STATIC ${ARG_SOURCES})
    target_sources(muster_${name} PUBLIC FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}" FILES ${ARG_HEADERS})
    target_link_libraries(muster_${name} PUBLIC muster_common ${ARG_DEPS})
    target_link_libraries(muster_${name} PRIVATE $<BUILD_INTERFACE:muster_flags> ${ARG_PRIVATE_DEPS})
    muster_compile_in_batches(muster_${name})
  else()
    add_library(muster_${name} INTERFACE)
    target_sources(muster_${name} INTERFACE FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}" FILES ${ARG_HEADERS})
    target_link_libraries(muster_${name} INTERFACE muster_common ${ARG_DEPS})
  endif()
  set_target_properties(muster_${name} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
  add_library(muster::${name} ALIAS muster_${name})
endfunction()

# muster_binary(NAME SOURCES ... DEPS ...) makes bin/NAME; in a release without debug information, which is in bin/NAME.debug:
# gdb, perf and addr2line find it there by the name that bin/NAME has noted.
function(muster_binary name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE muster_common muster_flags ${ARG_DEPS})
  muster_compile_in_batches(${name})
  if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" AND CMAKE_OBJCOPY AND NOT MUSTER_SANITIZE AND NOT MUSTER_FUZZ)
    target_link_options(${name} PRIVATE -Wl,--build-id=sha1 -Wl,--as-needed -Wl,--gc-sections)
    add_custom_command(TARGET ${name} POST_BUILD VERBATIM
      COMMAND "${CMAKE_OBJCOPY}" --only-keep-debug --compress-debug-sections "$<TARGET_FILE:${name}>" "$<TARGET_FILE:${name}>.debug"
      COMMAND "${CMAKE_OBJCOPY}" --strip-unneeded "--add-gnu-debuglink=$<TARGET_FILE:${name}>.debug" "$<TARGET_FILE:${name}>")
    set_target_properties(${name} PROPERTIES ADDITIONAL_CLEAN_FILES "$<TARGET_FILE:${name}>.debug")
  endif()
endfunction()

# muster_test(NAME LABEL unit|contract|simulation SOURCES ... DEPS ... [TIMEOUT seconds] [ARGS ...])
# makes a GoogleTest binary with one ctest entry of that label.
function(muster_test name)
  cmake_parse_arguments(ARG "" "LABEL;TIMEOUT" "SOURCES;DEPS;ARGS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(MUSTER_SANITIZE)
    math(EXPR ARG_TIMEOUT "5 * ${ARG_TIMEOUT}")
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE muster_common muster_flags ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  muster_compile_in_batches(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME ${name} COMMAND ${name} ${ARG_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan_suppressions.txt")
endfunction()
