# `cmake --install BUILD --prefix P` installs the client libraries, the protos and the binaries; `--component dev` only the
# first two, `--component bin` only the last, and `--component debug` what debuggers need of those. Another project then
# says find_package(Muster) and links Muster::sdk, or find_package(Muster COMPONENTS loading) and links Muster::loading.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# Headers and protos keep the paths of the tree below this one, so that "client/sdk/client.h" can't meet another "client".
set(MUSTER_INSTALL_INCLUDEDIR "${CMAKE_INSTALL_INCLUDEDIR}/muster")
set(MUSTER_INSTALL_CMAKEDIR "${CMAKE_INSTALL_LIBDIR}/cmake/Muster")

install(TARGETS muster_common muster_base muster_files muster_proto muster_grpc muster_sdk muster_tls muster_object muster_http_object muster_shell muster_encoding muster_server_keys muster_hash muster_cache muster_transfer
    muster_format muster_torch muster_checkpoint muster_assemble muster_loading
  EXPORT MusterTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT dev
  FILE_SET HEADERS DESTINATION "${MUSTER_INSTALL_INCLUDEDIR}" COMPONENT dev)
install(EXPORT MusterTargets NAMESPACE Muster:: DESTINATION "${MUSTER_INSTALL_CMAKEDIR}" COMPONENT dev)

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/MusterConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/MusterConfig.cmake" INSTALL_DESTINATION "${MUSTER_INSTALL_CMAKEDIR}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/MusterConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/MusterConfig.cmake" "${PROJECT_BINARY_DIR}/MusterConfigVersion.cmake"
  DESTINATION "${MUSTER_INSTALL_CMAKEDIR}" COMPONENT dev)

# For clients in other languages.
install(DIRECTORY "${PROJECT_SOURCE_DIR}/proto/muster/v1" DESTINATION "${CMAKE_INSTALL_DATADIR}/muster/proto/muster"
  COMPONENT dev FILES_MATCHING PATTERN "*.proto")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/proto/google" DESTINATION "${CMAKE_INSTALL_DATADIR}/muster/proto"
  COMPONENT dev FILES_MATCHING PATTERN "*.proto")

foreach(binary musterd muster)
  if(TARGET ${binary})
    install(TARGETS ${binary} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT bin)
    # Where gdb looks for it.
    install(FILES "$<TARGET_FILE:${binary}>.debug" DESTINATION "${CMAKE_INSTALL_BINDIR}/.debug" COMPONENT debug OPTIONAL)
  endif()
endforeach()
# One manual page for each command, which the command itself writes.
if(TARGET muster)
  install(CODE "execute_process(COMMAND_ERROR_IS_FATAL ANY
    COMMAND \"$<TARGET_FILE:muster>\" __man \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}/man1\")" COMPONENT bin)
endif()
