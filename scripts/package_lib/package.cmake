# SPDX-License-Identifier: MIT
# What makes a Debian package of an installation: paths, service, user, maintainer scripts, and
# what cpack writes into it.  scripts/package sets WEIR_PACKAGE and runs cpack.
set(WEIR_ZSH_DIR ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
set(WEIR_EXAMPLES_DIR ${CMAKE_INSTALL_DOCDIR}/examples)
set(WEIR_LICENSE) # in copyright
set(package_lib ${CMAKE_CURRENT_LIST_DIR})
set(package_system ${CMAKE_SOURCE_DIR}/conf/system)

install(FILES ${package_system}/weir.service DESTINATION /usr/lib/systemd/system)
install(FILES ${package_system}/weir.sysusers DESTINATION /usr/lib/sysusers.d RENAME weir.conf)
install(FILES ${package_system}/weir.tmpfiles DESTINATION /usr/lib/tmpfiles.d RENAME weir.conf)
install(FILES ${package_system}/weir.logrotate DESTINATION /etc/logrotate.d RENAME weir)
install(FILES ${package_system}/weir.yaml DESTINATION /etc/weir)
install(FILES ${package_system}/weir.socket DESTINATION ${WEIR_EXAMPLES_DIR})
install(PROGRAMS ${package_system}/running DESTINATION /usr/libexec/weir)
install(FILES ${package_lib}/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})

# package_finish(): after everything has been installed
function(package_finish)
  file(WRITE ${CMAKE_BINARY_DIR}/conffiles "/etc/logrotate.d/weir\n/etc/weir/weir.yaml\n")
  install(CODE "
    set(share \$ENV{DESTDIR}/usr/share)
    execute_process(COMMAND ${package_lib}/changelog ${CMAKE_SOURCE_DIR}/man/guide/changes.md
      OUTPUT_FILE \${share}/doc/weir/changelog COMMAND_ERROR_IS_FATAL ANY)
    file(GLOB pages \${share}/man/man*/*[1-8] \${share}/doc/weir/changelog)
    execute_process(COMMAND gzip -9nf \${pages} COMMAND_ERROR_IS_FATAL ANY)")
endfunction()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME weir)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_THREADS 1)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "logrotate")
set(CPACK_DEBIAN_PACKAGE_SECTION httpd)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "The weir authors <maintainers@weir.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "load balancer for HTTP that tells slow code from load")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
  "weir terminates TLS, accepts HTTP/1.1 and HTTP/2, and spreads requests over a
pool of app servers, with health checks, pinned clients, retries and limits.
.
From live traffic it tells whether a pool has a performance problem (one
request is slow) or a scalability problem (requests are slow only under load),
and what one more backend would change. Configurations and the program itself
are replaced without losing a request. This package has the daemon weir, its
client weirctl, and the guide.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${package_lib}/postinst ${package_lib}/prerm
  ${package_lib}/postrm ${CMAKE_BINARY_DIR}/conffiles)
include(CPack)
