r"""Pictures of spoken digits, by a generator that has only ever read.

Vouitsis et al., CVPR 2024, section 5.3: audio is aligned to the text latents that
a text-to-image generator was trained on, and drives it. Here a small generator
learns to draw digits from the latents of their spelled words; speech is aligned
to these by FuseMix, with the words' latents left as they are; then it draws what
voices say that neither has heard.

  python -m mmjax.main --mode=generate --config=configs/generate_digits.py
"""

from configs import encoders_digits, fusemix_digits


def get_config():
  config = fusemix_digits.get_config('speech-text')
  config.encoders.text = dict(name='identity')  # the generator's own space
  config.method.anchor = 'text'
  config.num_seeds = 1
  config.generate = dict(
    source='speech',
    condition='text',
    target='image',
    condition_noise=1.2,  # this and the next by the validation voices
    guidance=3.0,
    data=encoders_digits.get_config().data.to_dict(),
  )
  return config
