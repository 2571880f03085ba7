// Kernels for processors with AMX: an instruction multiplies two tiles of bfloat16 into 16 x 16 sums.
#include "amx_convolve.h"
#include "amx_weight_gradient.h"

namespace segspec {

const Kernels amx_bfloat16 = {convolve_amx<Bfloat16Arrays>, weight_gradient_amx<Bfloat16Arrays>};
const Kernels amx_split = {convolve_amx<Float32Arrays>, weight_gradient_amx<Float32Arrays>};

}  // namespace segspec
