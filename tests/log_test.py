"""The log of a run: whole, resumable, readable, and robust to a full disk."""

import errno
import io
import json
import struct
import time
import types

import jax.numpy as jnp
import numpy as np
import pytest
import rich.console

from mmjax import _log_files, log


def open_logger(workdir, **kwargs):
  quiet = rich.console.Console(file=io.StringIO(), width=120)
  return log.Logger(workdir, 100, 10, 32, **({'console': quiet} | kwargs))


def lines_of(workdir):
  text = (workdir / log.METRICS).read_text()
  assert text.endswith('\n') or not text
  return [json.loads(line) for line in text.splitlines()]


def timeless(workdir):
  return [{**line, 'time': 0} for line in lines_of(workdir)]


def write(logger, first, last):
  for step in range(first, last + 1):
    logger.metrics(step, 'lap', {'loss': np.float32(1 / step)})
    if step % 5 == 0:
      logger.evaluation(step, 'validation', {'joint/accuracy': step / 100})


def events_of(workdir):
  """Returns (step, tag, value) of the TensorBoard files, and where they purge."""
  from tensorboardX.proto import event_pb2

  found, purges = [], []
  for path in sorted(workdir.glob('events.out.tfevents.*')):
    data = path.read_bytes()
    while data:
      (size,) = struct.unpack('<Q', data[:8])
      event = event_pb2.Event.FromString(data[12 : 12 + size])
      data = data[16 + size :]
      if event.HasField('session_log'):
        purges.append(event.step)
      found += [
        (event.step, value.tag, value.simple_value)
        for value in event.summary.value
      ]
  return found, purges


def test_a_line_holds_what_was_logged(tmp_path):
  with open_logger(tmp_path) as logger:
    values = {'loss': jnp.float32(0.1), 'loss/audio': jnp.array([0.5, 2.0])}
    logger.metrics(5, 'lap', values)
    logger.evaluation(10, 'validation', {'joint/accuracy': 0.25})
  first, second = lines_of(tmp_path)
  assert first.pop('time') > 1e9
  assert first == {
    'step': 5,
    'epoch': 0.5,
    'phase': 'lap',
    'split': 'train',
    'values': {'loss': 0.1, 'loss/audio': [0.5, 2.0]},
  }
  assert (second['split'], second['epoch']) == ('validation', 1.0)


def test_nan_and_infinity_are_valid_json_and_read_back(tmp_path):
  values = {'a': np.nan, 'b': [np.inf, -np.inf, 1.0], 'c': jnp.bfloat16(0.5)}
  with open_logger(tmp_path) as logger:
    logger.metrics(1, 'lap', values)

  def refuse(word):
    raise AssertionError(f'{word} is not JSON')

  text = (tmp_path / log.METRICS).read_text()
  assert json.loads(text, parse_constant=refuse)['values']['a'] == 'NaN'
  (record,) = log.read(tmp_path)
  assert np.isnan(record['values']['a'])
  assert record['values']['b'] == [np.inf, -np.inf, 1.0]
  assert record['values']['c'] == 0.5


def test_a_line_is_on_disk_at_once(tmp_path):
  logger = open_logger(tmp_path)
  write(logger, 1, 1)
  assert len(lines_of(tmp_path)) == 1
  logger.close()
  logger.close()


def test_resumed_equals_uninterrupted(tmp_path):
  whole, killed = tmp_path / 'whole', tmp_path / 'killed'
  with open_logger(whole) as logger:
    logger.truncate(0)
    write(logger, 1, 20)
  logger = open_logger(killed)
  write(logger, 1, 13)
  logger.close()
  with open(killed / log.METRICS, 'a') as file:
    file.write('{"step": 14, "epo')
  assert len(log.read(killed)) == 13 + 2
  with open_logger(killed) as logger:
    logger.truncate(10)
    write(logger, 11, 20)
  assert timeless(killed) == timeless(whole)
  assert {
    path.name for path in killed.iterdir() if path.suffix == '.tmp'
  } == set()


def test_the_step_resumed_from_is_not_evaluated_twice(tmp_path):
  with open_logger(tmp_path) as logger:
    write(logger, 1, 10)
  with open_logger(tmp_path) as logger:
    logger.truncate(10)
    logger.evaluation(10, 'validation', {'joint/accuracy': 0.5})
    logger.evaluation(10, 'test', {'joint/accuracy': 0.7})
  last = timeless(tmp_path)[-2:]
  assert [line['split'] for line in last] == ['validation', 'test']
  assert last[0]['values'] == {'joint/accuracy': 0.1}


def test_a_damaged_line_is_left_out_with_a_warning(tmp_path):
  (tmp_path / log.METRICS).write_text(
    '{"step": 1, "split": "train", "values": {}}\n[oops]\n'
  )
  with pytest.warns(UserWarning, match='line 2 is damaged'):
    assert [record['step'] for record in log.read(tmp_path)] == [1]


def test_tensorboard_gets_the_mean_over_seeds_and_the_purge(tmp_path):
  with open_logger(tmp_path) as logger:
    logger.metrics(3, 'lap', {'loss': [1.0, 2.0]})
  with open_logger(tmp_path) as logger:
    logger.truncate(2)
    logger.evaluation(3, 'validation', {'joint/accuracy': 0.5})
  found, purges = events_of(tmp_path)
  assert (3, 'train/loss', 1.5) in found
  assert (3, 'validation/joint/accuracy', 0.5) in found
  assert purges == [3]


def test_an_event_is_framed_as_tensorboardx_does(tmp_path):
  from tensorboardX.proto import event_pb2
  from tensorboardX.record_writer import RecordWriter

  event = event_pb2.Event(step=7, wall_time=1.5)
  writer = RecordWriter(str(tmp_path / 'events'))
  writer.write(event.SerializeToString())
  writer.close()
  assert (tmp_path / 'events').read_bytes() == _log_files._framed(event)


class Full:
  """A file on a disk that fills up in the middle of a line."""

  def __init__(self, file):
    self.file, self.room = file, 7

  def write(self, data):
    part, self.room = data[: self.room], 0
    if not part:
      raise OSError(errno.ENOSPC, 'No space left on device')
    return self.file.write(part)

  def __getattr__(self, name):
    return getattr(self.file, name)


def test_a_full_disk_is_one_warning_and_no_torn_line(tmp_path):
  with open_logger(tmp_path) as logger:
    write(logger, 1, 2)
    file = logger._lines._file
    logger._lines._file = Full(file)
    with pytest.warns(UserWarning, match='is full') as caught:
      write(logger, 3, 6)
    assert len(caught) == 1
    logger._lines._file = file  # room again
    write(logger, 7, 8)
  assert [line['step'] for line in lines_of(tmp_path)] == [1, 2, 7, 8]


def test_a_full_disk_under_tensorboard_does_not_stop_the_lines(tmp_path):
  with open_logger(tmp_path) as logger:
    write(logger, 1, 1)
    file = logger._events._file
    logger._events._file = Full(file)
    with pytest.warns(UserWarning, match='is full'):
      write(logger, 2, 3)
    logger._events._file = file
    write(logger, 4, 4)
  assert [line['step'] for line in lines_of(tmp_path)] == [1, 2, 3, 4]
  assert [step for step, _, _ in events_of(tmp_path)[0]] == [1, 4]


def test_another_error_is_not_hidden(tmp_path):
  logger = open_logger(tmp_path)
  logger._lines.close()
  logger._lines._file = open(tmp_path / log.METRICS, 'rb', buffering=0)
  with pytest.raises(OSError):
    logger.metrics(1, 'lap', {})
  logger.close()


def test_other_processes_say_and_write_nothing(tmp_path):
  with open_logger(tmp_path / 'run', enabled=False) as logger:
    logger.truncate(0)
    write(logger, 1, 5)
    logger.progress(5, 0.1)
    logger.message('hello')
  assert not (tmp_path / 'run').exists()


def test_lines_without_a_terminal_are_few(tmp_path):
  console = rich.console.Console(file=io.StringIO(), width=40)
  with open_logger(tmp_path, console=console) as logger:
    for step in range(1, 101):
      logger.progress(step, jnp.array([1.0, 2.0]), 'lap[1]')
    logger.message('[done]')
  said = console.file.getvalue().splitlines()
  assert said[0] == 'step 1/100  lap[1]  epoch 0.1/10  loss 1.5000'
  assert said[1] == 'step 100/100  lap[1]  epoch 10.0/10  loss 1.5000'
  assert said[2:] == ['[done]']


def test_the_speed_counts_examples_of_the_last_seconds(tmp_path, monkeypatch):
  now = iter([0.0, 10.0, 20.0, 50.0, 60.0])
  clock = types.SimpleNamespace(monotonic=lambda: next(now), time=time.time)
  monkeypatch.setattr(log, 'time', clock)
  console = rich.console.Console(file=io.StringIO(), width=200)
  with open_logger(tmp_path, console=console) as logger:
    for step in (0, 1, 2, 32, 42):
      logger.progress(step)
  last = console.file.getvalue().splitlines()[-1]
  # From 20 s (step 2) or later: 30 steps in 30 s, then 10 in 10 s.
  assert '32 examples/s' in last and '0:00:58 left' in last


def test_steps_told_in_bursts_do_not_look_fast(tmp_path, monkeypatch):
  now = iter([0.0, 0.001, 20.0, 20.001, 40.0, 40.001])
  clock = types.SimpleNamespace(monotonic=lambda: next(now), time=time.time)
  monkeypatch.setattr(log, 'time', clock)
  console = rich.console.Console(
    file=io.StringIO(), width=200, force_terminal=True, color_system=None
  )
  with open_logger(tmp_path, console=console) as logger:
    for step in (9, 10, 19, 20, 29, 30):
      logger.progress(step)
  # 10 steps of 32 examples in 20 s.
  assert '16 examples/s' in console.file.getvalue()


def test_the_bar_on_a_terminal(tmp_path):
  console = rich.console.Console(
    file=io.StringIO(), width=120, force_terminal=True, color_system=None
  )
  with open_logger(tmp_path, console=console) as logger:
    logger.progress(20, 0.5, 'lap')
    logger.message('above')
    logger.progress(30, 0.25)
  said = console.file.getvalue()
  assert 'above' in said and '30/100' in said and 'loss 0.2500' in said


def test_table_has_a_row_per_modality_and_the_fused_last(tmp_path):
  def cell(*values):
    mean, std = np.mean(values), np.std(values)
    return {'mean': mean, 'std': std, 'values': list(values)}

  results = {
    'test': {
      'joint': {'accuracy': cell(0.9, 1.0), 'ece': cell(0.05)},
      '[b]au': {'accuracy': cell(0.5, 0.6), 'ece': cell(float('nan'))},
      'subsets': {'[b]au': {'accuracy': cell(0.5)}},
      'shapley': {'[b]au': cell(0.4)},
      'gap': {},
    }
  }
  console = rich.console.Console(file=io.StringIO(), width=80)
  with open_logger(tmp_path, console=console) as logger:
    logger.message(log.table(results))
  said = console.file.getvalue()
  rows = [line.split() for line in said.splitlines()][-3:-1]
  assert [row[0] for row in rows] == ['[b]au', 'fused']
  assert '95.0 ± 5.0' in said and '55.0 ± 5.0' in said
  assert rows[0].count('–') == 1  # a NaN
