# The provider profiles as one generated source file of claviger_oauth. Run as a script it writes the file.
if(CMAKE_SCRIPT_MODE_FILE)
  file(GLOB files ${FOLDER}/*.json)
  list(FILTER files EXCLUDE REGEX "/schema\\.json$")
  list(SORT files)
  set(rows "")
  foreach(file ${files})
    get_filename_component(name ${file} NAME_WE)
    file(READ ${file} text)
    string(FIND "${text}" ")claviger\"" clash)
    if(NOT clash EQUAL -1)
      message(FATAL_ERROR "${file} holds the delimiter of the generated string.")
    endif()
    string(APPEND rows "    {\"${name}\", R\"claviger(${text})claviger\"},\n")
  endforeach()
  file(WRITE ${OUTPUT} "// Generated from oauth/providers/*.json by cmake/providers.cmake.
#include \"oauth/provider_files.h\"

namespace claviger::oauth {

std::span<const ProviderFile> provider_files() {
    static constexpr ProviderFile files[] = {
${rows}    };
    return files;
}

}  // namespace claviger::oauth
")
  return()
endif()

file(GLOB provider_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/oauth/providers/*.json)
set(provider_source ${PROJECT_BINARY_DIR}/generated/provider_files.cpp)
add_custom_command(OUTPUT ${provider_source}
  COMMAND ${CMAKE_COMMAND} -DFOLDER=${PROJECT_SOURCE_DIR}/oauth/providers -DOUTPUT=${provider_source}
          -P ${PROJECT_SOURCE_DIR}/cmake/providers.cmake
  DEPENDS ${provider_files} ${PROJECT_SOURCE_DIR}/cmake/providers.cmake VERBATIM)
target_sources(claviger_oauth PRIVATE ${provider_source})
