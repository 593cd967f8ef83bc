// Does not compile: the error must name this file and line 3.
extern "C" __global__ void broken(float* out) {
    out[0] = undeclared;
}
