r"""MLA as its authors' released code runs it, on the net of mla_digits.

  python -m mmjax.main --config=configs/mla_released_digits.py

`method.projection=True` and `method.fusion='entropy_released'` make what was
meant to run apply.
"""

from configs import mla_digits


def get_config():
  config = mla_digits.get_config()
  config.method = dict(name='mla_released')
  return config
