"""Malta Gaming Authority, remote gaming: data, read from the files beside this one."""
