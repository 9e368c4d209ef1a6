# Flags every target shares, and the one way a folder becomes a library.
add_library(claviger_flags INTERFACE)
target_include_directories(claviger_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(claviger_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Werror=unused-result
  -Werror=return-type -Werror=switch -fstack-protector-strong -fstack-clash-protection -fcf-protection -fno-plt)
target_compile_definitions(claviger_flags INTERFACE
  _GLIBCXX_ASSERTIONS BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
  SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL CLAVIGER_VERSION="${PROJECT_VERSION}")
target_link_options(claviger_flags INTERFACE -fuse-ld=lld -Wl,-z,relro,-z,now,-z,noexecstack)
target_link_libraries(claviger_flags INTERFACE pthread)

if(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_definitions(claviger_flags INTERFACE _FORTIFY_SOURCE=2)
endif()
if(CLAVIGER_SANITIZE)
  target_compile_options(claviger_flags INTERFACE -fsanitize=${CLAVIGER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(claviger_flags INTERFACE -fsanitize=${CLAVIGER_SANITIZE})
  if(CLAVIGER_SANITIZE MATCHES "undefined")
    # UBSan's function check cannot express coroutine clean-up ("difference across sections").
    target_compile_options(claviger_flags INTERFACE -fno-sanitize=function)
  endif()
  if(CLAVIGER_SANITIZE MATCHES "thread")
    target_compile_definitions(claviger_flags INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()
if(CLAVIGER_FUZZ)
  target_compile_options(claviger_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# claviger_library(folder USES other folders LINKS system libraries): every .cpp below the folder, main.cpp excepted.
function(claviger_library folder)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "USES;LINKS")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  if(NOT sources)
    return()
  endif()
  add_library(claviger_${folder} STATIC ${sources})
  target_link_libraries(claviger_${folder} PUBLIC claviger_flags)
  foreach(used ${ARG_USES})
    target_link_libraries(claviger_${folder} PUBLIC claviger_${used})
  endforeach()
  target_link_libraries(claviger_${folder} PUBLIC ${ARG_LINKS})
endfunction()
