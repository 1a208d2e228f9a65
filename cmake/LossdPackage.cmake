# cpack -G DEB in a built tree makes lossd_*.deb (the programs, a systemd unit, settings in /etc) and
# lossd-dev_*.deb (the client library). docs/deploy.md.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME lossd)
set(CPACK_PACKAGE_CONTACT "lossd <root@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Losses and gradients for trainers, over gRPC")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL programs service dev)
set(CPACK_COMPONENT_PROGRAMS_GROUP server)
set(CPACK_COMPONENT_SERVICE_GROUP server)
set(CPACK_COMPONENT_DEV_GROUP dev)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_SERVER_PACKAGE_NAME lossd)
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA
  ${PROJECT_SOURCE_DIR}/packaging/debian/conffiles ${PROJECT_SOURCE_DIR}/packaging/debian/postinst
  ${PROJECT_SOURCE_DIR}/packaging/debian/prerm ${PROJECT_SOURCE_DIR}/packaging/debian/postrm)
set(CPACK_DEBIAN_DEV_PACKAGE_NAME lossd-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
# The libraries are static: who links with them needs what they were built with.
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
  "libgrpc++-dev, libprotobuf-dev, protobuf-compiler-grpc, libssl-dev, libabsl-dev")
include(CPack)
