r"""FuseMix on COCO captions, on frozen latents.

Vouitsis et al., CVPR 2024; data and format as in configs/fusemix_flickr30k.py,
with Karpathy's splits and 5,000 test pictures.

  python -m mmjax.main --mode=prepare --raw_dir=/path/to/coco \
    --config=configs/encoders_pairs.py:coco
  python -m mmjax.main --config=configs/fusemix_coco.py
  python -m mmjax.main --config=configs/fusemix_coco.py:sample

Published (DINOv2 and BGE, 5 M pairs, COCO among them), R@1 / 5 / 10 in percent:
text to image 46.3 / 74.6 / 83.4, image to text 62.7 / 86.4 / 92.7.
"""

from configs import fusemix_flickr30k


def get_config(path: str = ''):
  return fusemix_flickr30k.aligned('coco', path, ('image', 'text'))
