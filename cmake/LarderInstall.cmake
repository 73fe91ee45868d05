# Install rules: libraries with their headers, a CMake package and a pkg-config
# file. All of it is component larder_development, so that
# `cmake --install BUILD --component larder_development` needs no tools built.
include(CMakePackageConfigHelpers)

set(larder_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/larder")

install(
  TARGETS larder_cache larder_engine larder_serializers
  EXPORT larderTargets
  COMPONENT larder_development
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
  FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(
  EXPORT larderTargets
  NAMESPACE larder::
  DESTINATION "${larder_package_dir}"
  COMPONENT larder_development)

# A static library hands the libraries that it uses privately on to the link of
# whoever uses it, so their packages are needed there too.
get_target_property(larder_library_type larder_engine TYPE)
if(larder_library_type STREQUAL "STATIC_LIBRARY")
  set(LARDER_IS_STATIC ON)
else()
  set(LARDER_IS_STATIC OFF)
endif()
configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/larderConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/larderConfig.cmake"
  INSTALL_DESTINATION "${larder_package_dir}")
# Before 1.0 a new minor version may break what was there.
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/larderConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(
  FILES "${PROJECT_BINARY_DIR}/larderConfig.cmake"
        "${PROJECT_BINARY_DIR}/larderConfigVersion.cmake"
  DESTINATION "${larder_package_dir}"
  COMPONENT larder_development)

# larder.pc, which finds its prefix from where it lies: an installation may be
# moved. CMAKE_INSTALL_*DIR may be absolute; then it may not.
foreach(dir IN ITEMS LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${dir}}")
    set(larder_pc_${dir} "${CMAKE_INSTALL_${dir}}")
  else()
    set(larder_pc_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
  endif()
endforeach()
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(larder_pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
  file(RELATIVE_PATH larder_pc_up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  set(larder_pc_prefix "\${pcfiledir}/${larder_pc_up}")
  string(REGEX REPLACE "/$" "" larder_pc_prefix "${larder_pc_prefix}")
endif()
configure_file("${PROJECT_SOURCE_DIR}/cmake/larder.pc.in"
               "${PROJECT_BINARY_DIR}/larder.pc" @ONLY)
install(
  FILES "${PROJECT_BINARY_DIR}/larder.pc"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
  COMPONENT larder_development)
