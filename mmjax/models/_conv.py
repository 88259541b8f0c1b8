"""A 2-D convolution whose weight gradient is fast on CPU as well."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmjax.base import Array

# Multiplications and additions from which the weight gradient of our own is
# faster than the library's on CPU, and the output positions whose patches make
# one of its matrix products: enough to keep it busy, few enough for the cache.
# Both are measured, see benchmarks/README.md.
WORK = 2**27
POSITIONS = 1024


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
  """Weight gradient, some images at a time: gradients against patches."""
  k, _, C, out = kernel_HWIO.shape
  B, height, width, _ = g_BHWO.shape
  fit = max(1, POSITIONS // (height * width))
  images = max(n for n in range(1, min(fit, B) + 1) if B % n == 0)
  # Images far apart go together, so that a batch sharded over devices stays so.
  split = (images, B // images)
  pad = ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0))
  x, g = (
    a.reshape(split + a.shape[1:]) for a in (jnp.pad(x_BHWC, pad), g_BHWO)
  )
  rows = [slice(i, i + stride * (height - 1) + 1, stride) for i in range(k)]
  cols = [slice(j, j + stride * (width - 1) + 1, stride) for j in range(k)]

  def add(dw, i):
    x_nHWC, g_nHWO = (
      jax.lax.dynamic_index_in_dim(a, i, 1, keepdims=False) for a in (x, g)
    )
    patches = jnp.concatenate([x_nHWC[:, r, c] for r in rows for c in cols], -1)
    # In this order the matmul transposes its small operand; the other way
    # round costs a third more.
    return dw + jnp.einsum(
      'nhwo,nhwp->op', g_nHWO, patches, preferred_element_type=jnp.float32
    ), None

  dw = jnp.zeros((out, k * k * C), jnp.float32)
  dw, _ = jax.lax.scan(add, dw, jnp.arange(B // images))
  return dw.T.reshape(kernel_HWIO.shape).astype(kernel_HWIO.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x_BHWC: Array, kernel_HWIO: Array, stride: int = 1) -> Array:
  """Convolution with symmetric padding k // 2, as PyTorch pads, no bias.

  Equal to `jax.lax.conv_general_dilated`. On CPU a large weight gradient is a
  scan of patch matmuls, for XLA's convolution with images as kernels is slow
  there. Which one is decided where the program is lowered, so one trace serves
  every platform. A batch sharded over devices stays right, but on CPU they
  may have to exchange images for it. Reverse-mode differentiation only.

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
  dw = functools.partial(_library_grad, stride=stride)
  if math.prod(g_BHWO.shape[:3]) * kernel_HWIO.size >= WORK:
    own = functools.partial(_scan_grad, stride=stride)
    dw = functools.partial(jax.lax.platform_dependent, cpu=own, default=dw)
  return transpose(g_BHWO)[0], dw(x_BHWC, kernel_HWIO, g_BHWO)


conv.defvjp(_forward, _backward)


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
