"""Data sets of the sweeps, each with the net and the budget of all methods.

Learning rates and lengths were chosen by hand before any method was compared,
and never per method. All but `digits` read <data_root>/<name>/data.npz.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs import common

SGD = dict(name='sgd', momentum=0.9, weight_decay=1e-4)
TCN = dict(name='tcn', channels=32, blocks=3)
MLP = dict(name='mlp', hidden=(128,))


def _digits(config):
  """Image, speech and text of the embedded digits."""
  config.encoders = dict(
    image=MLP, speech=TCN, text=dict(name='text', vocab=27, layers=0)
  )
  config.optim = dict(SGD, lr=0.1)
  return 30


def _cmu_mosi(config):
  """Utterance features; text is strong, audio and video are weak."""
  config.data.modalities = ('text', 'audio', 'video')
  _vectors(config, dropout=0.3)
  return 30


def _cremad_votes(config):
  """What people heard in the voice and saw in the face of CREMA-D's clips."""
  config.data.modalities = ('voice_votes', 'face_votes')
  _vectors(config)
  return 20


def _wikipedia_xmodal(config):
  """Articles: a strong text of ten topics, weak words of their pictures."""
  config.data.modalities = ('image_sift128', 'text_lda10')
  _vectors(config, dropout=0.3)
  return 30


def _mfeat(config):
  """Six views of handwritten digits, from weak to nearly perfect."""
  config.data.modalities = (
    *('pix240', 'fou76', 'fac216', 'zer47', 'kar64', 'mor6'),
  )
  _vectors(config)
  return 30


def _utd_mhad(config):
  """Actions, cross-subject: inertial and skeleton sequences, depth frames."""
  config.data.modalities = ('inertial', 'skeleton', 'depth')
  config.encoders = dict(
    inertial=TCN, skeleton=TCN, depth=dict(MLP, dropout=0.3)
  )
  config.data.max_len = 128
  config.batch_size = 32
  config.optim = dict(SGD, lr=0.03)
  return 40


def _avletters(config):
  """Spoken letters: lip video and MFCC, aligned sequences."""
  config.data.modalities = ('video', 'audio')
  config.encoders = dict(video=TCN, audio=TCN)
  config.batch_size = 32
  config.optim = dict(SGD, lr=0.03)
  return 60


def _cub_emb(config):
  """Birds: embeddings of pictures and of descriptions by published nets."""
  config.data.modalities = ('image_googlenet1024', 'text_doc2vec300')
  _vectors(config, dropout=0.3)
  return 60


def _vectors(config, dropout: float = 0.0):
  """All modalities are vectors: one kind of net, and a vmap over seeds pays."""
  net = dict(MLP, dropout=dropout) if dropout else MLP
  config.encoders = {m: dict(net) for m in config.data.modalities}
  config.optim = dict(SGD, lr=0.01)
  config.seeds_how = 'vmap'


DATA = dict(
  digits=_digits,
  cmu_mosi=_cmu_mosi,
  cremad_votes=_cremad_votes,
  wikipedia_xmodal=_wikipedia_xmodal,
  mfeat=_mfeat,
  utd_mhad=_utd_mhad,
  avletters=_avletters,
  cub_emb=_cub_emb,
)


def run(
  data: str,
  data_root: str,
  method: Mapping,
  head: str | Mapping,
  phases: tuple[str, ...] | Mapping[str, float],
  seeds: int = 5,
) -> ConfigDict:
  """The config of one method on one data set; net and budget are of the data.

  Args:
    data: of DATA.
    data_root: folder of the data sets.
    method: section of the config.
    head: section of the config, or its name alone.
    phases: which share the epochs evenly, or {phase: its share}.
    seeds: models.
  """
  config: Any = common.get_config()
  if data != 'digits':
    path = str(pathlib.Path(data_root) / data / 'data.npz')
    config.data = dict(name='arrays', path=path, modalities=(), max_len=0)
  epochs = DATA[data](config)
  config.method = dict(method)
  config.head = dict(name=head) if isinstance(head, str) else dict(head)
  if not isinstance(phases, Mapping):
    phases = dict.fromkeys(phases, 1 / len(phases))
  config.phases = tuple((p, epochs * share) for p, share in phases.items())
  config.num_seeds = seeds
  config.run.checkpoint_epochs = float(epochs)
  config.run.eval_epochs = 5.0
  return config


def modalities(data: str) -> int:
  """How many there are."""
  config: Any = common.get_config()
  DATA[data](config)
  return len(config.encoders)
