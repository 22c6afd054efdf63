call kernel-function#77
exit
