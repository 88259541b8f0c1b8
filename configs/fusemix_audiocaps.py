r"""FuseMix on AudioCaps: sounds and their captions, on frozen latents.

Vouitsis et al., CVPR 2024. The authors put latents of Whisper and of HTS-AT side
by side for audio, and take BGE-large for text; here it is Whisper alone. Latents
of yours have the format of configs/fusemix_flickr30k.py, audio.npz and text.npz.

  python -m mmjax.main --mode=prepare --raw_dir=/path/to/audiocaps \
    --config=configs/encoders_pairs.py:audiocaps
  python -m mmjax.main --config=configs/fusemix_audiocaps.py
  python -m mmjax.main --config=configs/fusemix_audiocaps.py:sample

Published (50 K pairs), R@1 / 5 / 10 in percent: text to audio 41.3 / 76.9 / 87.6,
audio to text 50.3 / 81.0 / 89.6; with the pairs of Clotho 43.1 / 77.4 / 87.4 and
52.4 / 83.4 / 92.4.
"""

from configs import fusemix_flickr30k


def get_config(path: str = ''):
  return fusemix_flickr30k.aligned('audiocaps', path, ('audio', 'text'))
