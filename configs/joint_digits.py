r"""Joint training on the digits: the net and the budget of mla_digits.

python -m mmjax.main --config=configs/joint_digits.py
python -m mmjax.main --config=configs/joint_digits.py:sum
"""

from configs import mla_digits


def get_config(head='concat'):
  config = mla_digits.get_config()
  config.head = dict(name=head)
  config.method = dict(name='joint')
  config.phases = (('joint', 30),)
  return config
