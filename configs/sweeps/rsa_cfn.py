r"""The eight heads of the RSA-CFN family on real speech + text, five seeds.

  python -m mmjax.sweep --config=configs/sweeps/rsa_cfn.py --root=runs/rsa_cfn

The paper's hybrid is a vote of models that were trained apart:

  cd runs/rsa_cfn/cmu_mosi && python -m mmjax.vote early late residual rsa_cfn \
    --workdir=vote
"""

import pathlib

from configs import rsa_cfn_cmu_mosi


def get_runs(data_root='../shared/data'):
  path = str(pathlib.Path(data_root) / 'cmu_mosi' / 'data.npz')
  return {
    f'cmu_mosi/{head}': rsa_cfn_cmu_mosi.get_config(head, path)
    for head in rsa_cfn_cmu_mosi.HEADS
  }
