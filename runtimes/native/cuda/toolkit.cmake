# Looks for a CUDA compiler, SVF_NVCC: first in the system (JetPack, or a CUDA toolkit), then among the Python packages
# of Python_EXECUTABLE. svf_enable_cuda() turns the language on with it.
if(Python_EXECUTABLE AND NOT DEFINED svf_site_packages)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import sysconfig; print(sysconfig.get_path('purelib'))"
    OUTPUT_VARIABLE svf_site_packages OUTPUT_STRIP_TRAILING_WHITESPACE)
  file(GLOB svf_python_cuda ${svf_site_packages}/nvidia/cu*/bin)
endif()
find_program(SVF_NVCC nvcc PATHS /usr/local/cuda/bin ${svf_python_cuda})

macro(svf_enable_cuda)
  if(NOT CMAKE_CUDA_COMPILER_LOADED)
    if(NOT SVF_NVCC)
      message(FATAL_ERROR "svf: nvcc was not found; put the CUDA toolkit's bin folder on PATH, or: pip install "
                          "'nvidia-cuda-nvcc==13.0.*' 'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cccl==13.0.*'")
    endif()
    set(CMAKE_CUDA_COMPILER ${SVF_NVCC})
    # The Python packages keep the CUDA runtime in lib, where nvcc itself looks only in lib64.
    if(SVF_NVCC MATCHES "/nvidia/cu[0-9]+/bin/nvcc$")
      string(REGEX REPLACE "/bin/nvcc$" "/lib" svf_cuda_library_dir ${SVF_NVCC})
      string(APPEND CMAKE_CUDA_FLAGS_INIT " -L${svf_cuda_library_dir}")
    endif()
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 87-real) # narrowed or widened below, once the compiler's version is known
      set(svf_choose_architectures ON)
    endif()
    enable_language(CUDA)
    if(svf_choose_architectures)
      # Orin, Hopper, Thor, RTX Blackwell; the last also as PTX, for what comes after.
      if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13.0)
        set(CMAKE_CUDA_ARCHITECTURES 87-real 90-real 110-real 120)
      else()
        set(CMAKE_CUDA_ARCHITECTURES 87-real 90)
      endif()
    endif()
    set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  endif()
endmacro()
