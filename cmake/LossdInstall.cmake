# What is installed. Component `dev`: find_package(lossd): lossd::client and lossd::client_testing. The static
# libraries behind them are exported because a user's link line needs them, not as an interface.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/lossd)
set(client_libraries
  lossd_types lossd_files lossd_protos lossd_wire lossd_client lossd_client_testing)
foreach(library IN LISTS client_libraries)
  string(REPLACE "lossd_" "" name ${library})
  set_target_properties(${library} PROPERTIES EXPORT_NAME ${name})
endforeach()

install(TARGETS ${client_libraries} EXPORT lossdTargets COMPONENT dev)
install(EXPORT lossdTargets NAMESPACE lossd:: DESTINATION ${package_dir} COMPONENT dev)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/lossdConfig.cmake.in
  ${PROJECT_BINARY_DIR}/lossdConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/lossdConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/lossdConfig.cmake ${PROJECT_BINARY_DIR}/lossdConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT dev)

install(DIRECTORY core/types/include/ client/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT dev)
install(FILES client/testing/fake_transport.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lossd/testing COMPONENT dev)

# Component `programs`: what a machine needs that runs lossd and builds nothing.
install(TARGETS lossd lossctl COMPONENT programs)
install(FILES protos/lossd/v1/loss.proto
  DESTINATION ${CMAKE_INSTALL_DATADIR}/lossd/protos/lossd/v1 COMPONENT programs)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT programs)

# Component `service`: what only the .deb has. Its paths are those of a machine, under no prefix.
install(FILES packaging/systemd/lossd.service DESTINATION lib/systemd/system
  COMPONENT service EXCLUDE_FROM_ALL)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright
  COMPONENT service EXCLUDE_FROM_ALL)
install(FILES packaging/debian/lossd.conf DESTINATION /etc/lossd COMPONENT service EXCLUDE_FROM_ALL)
install(FILES packaging/debian/lossd.default DESTINATION /etc/default RENAME lossd
  COMPONENT service EXCLUDE_FROM_ALL)
