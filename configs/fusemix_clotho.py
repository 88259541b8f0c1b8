r"""FuseMix on Clotho: sounds and their captions, on latents of yours.

Vouitsis et al., CVPR 2024; encoders and format as in
configs/fusemix_audiocaps.py. Clotho has 3,839 training sounds with five captions
each, hence a smaller batch.

  python -m mmjax.main --config=configs/fusemix_clotho.py

Published (15 K pairs), R@1 / 5 / 10 in percent: text to audio 15.7 / 39.4 / 53.8,
audio to text 19.7 / 42.9 / 56.5; with the pairs of AudioCaps 17.6 / 41.1 / 53.5
and 21.5 / 44.7 / 57.4.
"""

from configs import fusemix_flickr30k


def get_config(path: str = 'latents/clotho'):
  return fusemix_flickr30k.aligned(path, ('audio', 'text'), batch_size=8_192)
