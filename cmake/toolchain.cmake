# Flags every target shares, and the one way a folder becomes a library.
add_library(claviger_flags INTERFACE)
target_include_directories(claviger_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(claviger_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Werror=unused-result
  -Werror=return-type -Werror=switch -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection -fno-plt)
target_compile_definitions(claviger_flags INTERFACE
  _GLIBCXX_ASSERTIONS BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
  SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL CLAVIGER_VERSION="${PROJECT_VERSION}")
target_link_options(claviger_flags INTERFACE -fuse-ld=lld -pie -Wl,-z,relro,-z,now,-z,noexecstack)
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

# claviger_precompile(NAME headers…): an object library whose precompiled header others take with REUSE_FROM.
option(CLAVIGER_PRECOMPILE "Read others' headers once, not in every file; OFF shows what a file forgot to include" ON)
function(claviger_precompile name)
  file(WRITE ${PROJECT_BINARY_DIR}/${name}.cpp "")
  add_library(${name} OBJECT ${PROJECT_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE claviger_flags)
  target_compile_options(${name} PRIVATE -Xclang -fno-pch-timestamp)
  target_precompile_headers(${name} PRIVATE ${ARGN})
endfunction()
function(claviger_reuse target folder suffix)  # of the kind that the folder needs
  if(CLAVIGER_PRECOMPILE)
    if(folder IN_LIST claviger_async_folders)
      target_precompile_headers(${target} REUSE_FROM claviger_async${suffix})
    else()
      target_precompile_headers(${target} REUSE_FROM claviger_common${suffix})
    endif()
  endif()
endfunction()

set(claviger_common_headers
  <algorithm> <array> <atomic> <chrono> <condition_variable> <cstdint> <cstring> <expected> <filesystem> <fstream> <functional>
  <map> <memory> <mutex> <optional> <set> <span> <sstream> <string> <string_view> <thread> <unordered_map> <variant> <vector>
  <nlohmann/json.hpp>)
set(claviger_async_headers ${claviger_common_headers} ${PROJECT_SOURCE_DIR}/net/awaitable.h)  # drags Asio's code into every program
set(claviger_async_folders net notify oauth proxy admin server)
claviger_precompile(claviger_common ${claviger_common_headers})
claviger_precompile(claviger_async ${claviger_async_headers})

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
  claviger_reuse(claviger_${folder} ${folder} "")
endfunction()
