# Looks for TensorRT's headers, SVF_TENSORRT_INCLUDE: first in the system (JetPack), then among the Python packages of
# Python_EXECUTABLE.
include(${CMAKE_CURRENT_LIST_DIR}/../cuda/toolkit.cmake)
find_path(
  SVF_TENSORRT_INCLUDE NvInferRuntime.h
  HINTS ${TENSORRT_ROOT} $ENV{TENSORRT_ROOT}
  PATHS /usr/include/${CMAKE_SYSTEM_PROCESSOR}-linux-gnu /usr/local/tensorrt ${svf_site_packages}/kernel_lens
  PATH_SUFFIXES include include/tensorrt)
