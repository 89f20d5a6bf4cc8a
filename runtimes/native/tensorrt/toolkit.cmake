# Looks for what the TensorRT plug-in is built with: SVF_NVCC and SVF_TENSORRT_INCLUDE, first in the system (JetPack, or
# a CUDA toolkit), then among the Python packages of Python_EXECUTABLE.
if(Python_EXECUTABLE)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import sysconfig; print(sysconfig.get_path('purelib'))"
    OUTPUT_VARIABLE svf_site_packages OUTPUT_STRIP_TRAILING_WHITESPACE)
  file(GLOB svf_python_cuda ${svf_site_packages}/nvidia/cu*/bin)
endif()
find_program(SVF_NVCC nvcc PATHS /usr/local/cuda/bin ${svf_python_cuda})
find_path(
  SVF_TENSORRT_INCLUDE NvInferRuntime.h
  HINTS ${TENSORRT_ROOT} $ENV{TENSORRT_ROOT}
  PATHS /usr/include/${CMAKE_SYSTEM_PROCESSOR}-linux-gnu /usr/local/tensorrt ${svf_site_packages}/kernel_lens
  PATH_SUFFIXES include include/tensorrt)
