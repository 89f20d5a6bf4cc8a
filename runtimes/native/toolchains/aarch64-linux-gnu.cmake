# 64-bit ARM Linux from another machine, with Debian's cross compiler (apt install g++-aarch64-linux-gnu):
#   cmake -S . -B build-aarch64 -DCMAKE_TOOLCHAIN_FILE=runtimes/native/toolchains/aarch64-linux-gnu.cmake \
#         -DSVF_WITH_ORT=OFF -DSVF_WITH_EXECUTORCH=OFF -DSVF_WITH_TENSORRT=OFF
# What was built runs here too, emulated, where qemu-user is installed.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(SVF_AARCH64_SYSROOT /usr/aarch64-linux-gnu CACHE PATH "Libraries of the target, as its compiler sees them")
list(APPEND CMAKE_FIND_ROOT_PATH ${SVF_AARCH64_SYSROOT}) # -DCMAKE_FIND_ROOT_PATH=... adds trees of other libraries
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER) # Python, ninja and the rest run here
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)

find_program(SVF_QEMU_AARCH64 NAMES qemu-aarch64 qemu-aarch64-static)
if(SVF_QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${SVF_QEMU_AARCH64} -L ${SVF_AARCH64_SYSROOT})
endif()
