r"""Unimodal training on the digits, fused late: as mla_digits otherwise.

python -m mmjax.main --config=configs/unimodal_digits.py
"""

from configs import mla_digits


def get_config():
  config = mla_digits.get_config()
  config.head = dict(name='late')
  config.method = dict(name='unimodal')
  config.phases = (('unimodal', 30),)
  return config
