"""Convolution and max-pooling whose gradients are fast on CPU as well."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array

# Images with at least this many output positions take the weight gradient of
# our own on CPU: below it the library's is as fast or faster, see
# benchmarks/README.md.
LARGE = 28 * 28


def _library(x_BHWC: Array, kernel_HWIO: Array, stride: int) -> Array:
  pad = kernel_HWIO.shape[0] // 2
  return jax.lax.conv_general_dilated(
    x_BHWC,
    kernel_HWIO,
    (stride, stride),
    ((pad, pad), (pad, pad)),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )


def _library_grad(x_BHWC, kernel_HWIO, g_BHWO, *, stride):
  transpose = jax.linear_transpose(
    lambda kernel: _library(x_BHWC, kernel, stride), kernel_HWIO
  )
  return transpose(g_BHWO)[0]


def _scan_grad(x_BHWC, kernel_HWIO, g_BHWO, *, stride):
  """Weight gradient, image by image: patches [HW, kkC] against g [HW, O]."""
  k = kernel_HWIO.shape[0]
  _, height, width, out = g_BHWO.shape
  pad = ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0))
  rows = [slice(i, i + stride * (height - 1) + 1, stride) for i in range(k)]
  cols = [slice(j, j + stride * (width - 1) + 1, stride) for j in range(k)]

  def add(dw, image):
    x_HWC, g_HWO = image
    patches = jnp.concatenate([x_HWC[r, c] for r in rows for c in cols], -1)
    # This order leaves the small operand to be transposed by the matmul; the
    # other way round costs a third more.
    return dw + jnp.einsum(
      'hwo,hwp->op', g_HWO, patches, preferred_element_type=jnp.float32
    ), None

  dw = jnp.zeros((out, kernel_HWIO.size // out), jnp.float32)
  dw, _ = jax.lax.scan(add, dw, (jnp.pad(x_BHWC, pad), g_BHWO))
  return dw.T.reshape(kernel_HWIO.shape).astype(kernel_HWIO.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x_BHWC: Array, kernel_HWIO: Array, stride: int = 1) -> Array:
  """Convolution with symmetric padding k // 2, as PyTorch pads, no bias.

  Equal to `jax.lax.conv_general_dilated`. On CPU the weight gradient of large
  images is a scan of patch matmuls, for XLA's own convolution over whole
  images as a kernel is slow there; the choice falls when the program is
  lowered, so one trace serves every platform. A batch sharded over devices
  stays right, but on CPU its large images are gathered for that gradient.
  Reverse-mode differentiation only.

  Args:
    x_BHWC: images.
    kernel_HWIO: weights, height = width and odd.
    stride: steps between output positions, the same in both directions.

  Returns:
    f[B, H', W', O].
  """
  return _library(x_BHWC, kernel_HWIO, stride)


def _forward(x_BHWC, kernel_HWIO, stride):
  return _library(x_BHWC, kernel_HWIO, stride), (x_BHWC, kernel_HWIO)


def _backward(stride, residuals, g_BHWO):
  x_BHWC, kernel_HWIO = residuals
  transpose = jax.linear_transpose(
    lambda x: _library(x, kernel_HWIO, stride), x_BHWC
  )
  grad = functools.partial(_library_grad, stride=stride)
  if g_BHWO.shape[1] * g_BHWO.shape[2] >= LARGE:
    own = functools.partial(_scan_grad, stride=stride)
    grad = functools.partial(jax.lax.platform_dependent, cpu=own, default=grad)
  return transpose(g_BHWO)[0], grad(x_BHWC, kernel_HWIO, g_BHWO)


conv.defvjp(_forward, _backward)


def max_pool(x_BHWC: Array) -> Array:
  """Max-pooling 3x3, stride 2, padding 1: f[B, H, W, C] -> f[B, H/2, W/2, C].

  As maxima of shifted slices: the gradient of XLA's windowed maximum is a
  scatter that takes four times as long on CPU. Where maxima tie, they share
  the gradient.
  """
  pad = ((0, 0), (1, 1), (1, 1), (0, 0))
  x = jnp.pad(x_BHWC, pad, constant_values=-jnp.inf)
  H, W = (x_BHWC.shape[1] - 1) // 2, (x_BHWC.shape[2] - 1) // 2
  rows = [slice(i, i + 2 * H + 1, 2) for i in range(3)]
  cols = [slice(j, j + 2 * W + 1, 2) for j in range(3)]
  return functools.reduce(jnp.maximum, [x[:, r, c] for r in rows for c in cols])


class Conv(nn.Module):
  """`conv` with its weights; kaiming-normal over the fan-out, no bias."""

  features: int
  kernel: int = 3
  stride: int = 1
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x_BHWC: Array) -> Array:
    kernel_HWIO = self.param(
      'kernel',
      nn.initializers.variance_scaling(2.0, 'fan_out', 'normal'),
      (self.kernel, self.kernel, x_BHWC.shape[-1], self.features),
    )
    dtype = jnp.dtype(self.dtype)
    return conv(x_BHWC.astype(dtype), kernel_HWIO.astype(dtype), self.stride)
