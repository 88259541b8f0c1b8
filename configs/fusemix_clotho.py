r"""FuseMix on Clotho: sounds and their captions, on frozen latents.

Vouitsis et al., CVPR 2024; encoders and format as in
configs/fusemix_audiocaps.py. Clotho has 3,839 training sounds with five captions
each, hence a smaller batch.

  python -m mmjax.main --mode=prepare --raw_dir=/path/to/clotho \
    --config=configs/encoders_pairs.py:clotho
  python -m mmjax.main --config=configs/fusemix_clotho.py
  python -m mmjax.main --config=configs/fusemix_clotho.py:sample

Published (15 K pairs), R@1 / 5 / 10 in percent: text to audio 15.7 / 39.4 / 53.8,
audio to text 19.7 / 42.9 / 56.5; with the pairs of AudioCaps 17.6 / 41.1 / 53.5
and 21.5 / 44.7 / 57.4.
"""

from configs import fusemix_flickr30k


def get_config(path: str = ''):
  modalities = ('audio', 'text')
  return fusemix_flickr30k.aligned('clotho', path, modalities, batch_size=8_192)
