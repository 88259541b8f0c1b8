"""Studies: what is done is done once, and what goes wrong is said."""

import json
import os
import pathlib
import signal

import pytest
import tiny

from mmjax import _compose, folder, sweep, train
from mmjax import _sweep_runs as runs

ROOT = pathlib.Path(__file__).resolve().parent.parent
SWEEPS = sorted(ROOT.glob('configs/sweeps/[!_]*.py'))
ON_DATA = ('study', 'mla', 'missing')  # with one net and budget per data set
SWEEP = """
import tiny

JOINT = dict(
  head=dict(name='sum'), method=dict(name='joint'), phases=(('joint', 1),)
)


def get_runs(data_root, lr='0.1'):
  def run(path, **sections):
    given = dict(JOINT, optim=dict(name='sgd', lr=float(lr)))
    return tiny.config(path, ('audio', 'visual'), **given | sections)

  here = f'{data_root}/audio_visual.npz'
  return {
    'tiny/sum': run(here),
    'tiny/late': run(here, head=dict(name='late')),
    'gone/sum': run(f'{data_root}/gone.npz'),
    'tiny/last': run(here, LAST),
  }
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  place = tmp_path_factory.mktemp('data')
  tiny.write(place, ('audio', 'visual'))
  return place


@pytest.fixture
def command(data, tmp_path, monkeypatch):
  """Gives the command for a sweep whose last run has these sections."""
  told = []
  monkeypatch.setattr(train.report, 'write', lambda path: path / 'report.html')
  monkeypatch.setattr(sweep.report, 'main', lambda argv: told.append(argv))

  def give(*arguments, argument='', **last):
    file = tmp_path / 'tiny_sweep.py'
    file.write_text(SWEEP.replace('LAST', f'**{last!r}'))
    return sweep.main(
      [
        f'--config={file}{argument}',
        f'--root={tmp_path / "root"}',
        f'--data_root={data}',
        *arguments,
      ]
    )

  give.root, give.reports = tmp_path / 'root', told
  return give


@pytest.fixture
def pretend(monkeypatch):
  """Runs that only claim their folder, and fail where the lr is huge."""

  def run(exp, path):
    with folder.claimed(path, exp.config):
      print('trained')
      if exp.config['optim']['lr'] > 1:
        raise FloatingPointError('the loss is infinite')
      folder.write_json(path / folder.RESULTS, {'test': {}})

  monkeypatch.setattr(sweep.train, 'run', run)


def lines(command) -> list[tuple[str, str]]:
  """(run, state) of all that was noted."""
  text = (command.root / sweep.LINES).read_text()
  found = [json.loads(line) for line in text.splitlines()]
  assert all(line['seconds'] > 0 and line['device'] for line in found)
  return [(line['run'], line['state']) for line in found]


@pytest.mark.usefixtures('pretend')
def test_it_trains_all_once_and_skips_them_then(command, capsys, data):
  head = dict(name='concat')
  assert command(head=head) == 0
  told = capsys.readouterr().out
  assert f'{data}/gone.npz is not there; left out for it: 1.' in told
  assert '1 of 3  tiny/sum  done  ' in told and 'trained' not in told
  names = ['tiny/sum', 'tiny/late', 'tiny/last']
  assert lines(command) == [(name, 'done') for name in names]
  *folders, page, _, table = command.reports[0]
  assert folders == [str(command.root / name) for name in names]
  assert page == f'--out={command.root}/report.html'
  assert table == f'--out={command.root}/report.csv'
  log = (command.root / sweep.LOG).read_text()
  assert log.split() == sum(([name, 'trained'] for name in names), [])
  before = sorted((p, p.stat().st_mtime) for p in command.root.rglob('*'))
  assert command(head=head) == 0
  assert capsys.readouterr().out.count('skipped') == 3
  after = sorted((p, p.stat().st_mtime) for p in command.root.rglob('*'))
  assert before == after
  assert command('--list', head=head) == 0
  states = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
  assert states == ['done', 'done', 'no', 'done']


@pytest.mark.usefixtures('pretend')
def test_a_run_that_fails_is_said_and_the_others_train(command, capsys):
  ruined = dict(name='sgd', lr=3e38)
  assert command('--only=*/late,tiny/last', optim=ruined) == 1
  assert lines(command) == [('tiny/late', 'done'), ('tiny/last', 'failed')]
  told = capsys.readouterr().out
  assert 'Failed: tiny/last: FloatingPointError: ' in told
  assert 'Traceback' not in told
  assert 'Traceback' in (command.root / sweep.LOG).read_text()
  command('--list', optim=ruined)
  assert 'tiny/last  unfinished' in capsys.readouterr().out


def test_what_is_wrong_is_all_said_before_anything_trains(command, capsys):
  assert command(method=dict(name='joint', speed=3)) == 1
  told = capsys.readouterr().err
  assert 'tiny/last: config.method.speed does not exist' in told
  assert not command.root.exists() and not command.reports


@pytest.mark.usefixtures('pretend')
def test_a_folder_of_another_config_is_refused_by_name(command, capsys):
  assert command('--only=tiny/sum') == 0
  assert command('--only=tiny', argument=':0.2') == 1
  told = capsys.readouterr().err
  assert 'tiny/sum: ' in told and 'config.optim.lr: 0.1 -> 0.2' in told
  assert 'tiny/late' not in told
  assert lines(command) == [('tiny/sum', 'done')]
  assert command('--only=tiny/sum', '--seeds=2') == 1
  assert 'config.num_seeds: 1 -> 2' in capsys.readouterr().err


def test_a_signal_stops_it_and_the_command_goes_on(
  command, capsys, monkeypatch
):
  whole, seen = train.run, []

  def run(exp, path):
    """The second one hears the signal in its third step."""
    seen.append(path.name)
    if len(seen) != 2:
      return whole(exp, path)
    step = exp.lifted['joint']

    def stepped(states, batch):
      if exp.seeds.step(states) == 2:
        os.kill(os.getpid(), signal.SIGTERM)
      return step(states, batch)

    return whole(exp._replace(lifted={'joint': stepped}), path)

  monkeypatch.setattr(sweep.train, 'run', run)
  before = signal.getsignal(signal.SIGTERM)
  assert command('--only=tiny/sum,tiny/late') == sweep.STOPPED
  assert signal.getsignal(signal.SIGTERM) is before
  told = capsys.readouterr().out
  assert 'tiny/late  stopped' in told and 'The same command goes on' in told
  assert lines(command) == [('tiny/sum', 'done'), ('tiny/late', 'stopped')]
  assert not command.reports
  assert command('--only=tiny/sum,tiny/late') == 0
  assert 'Resuming at step 3 of 6' in (command.root / sweep.LOG).read_text()
  assert lines(command)[2:] == [('tiny/late', 'resumed')]


def test_a_signal_between_two_runs_stops_it_as_well(command, monkeypatch):
  def built(entries):  # noqa: ARG001
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError('went on')

  monkeypatch.setattr(sweep, 'check', built)
  assert command() == sweep.STOPPED


@pytest.mark.parametrize(
  'arguments, says',
  [
    (('--only=tiny/lat',), '--only=tiny/lat fits no run. There are: tiny/sum'),
    (('--only=gone',), 'No run is left. Look at --data_root'),
    (('--config=configs/sweeps/stody.py',), 'There are: configs/sweeps/'),
    (('--config=configs/mla_digits.py',), 'mla_digits.py: it has no get_runs'),
  ],
)
def test_bad_arguments_are_told(command, capsys, arguments, says):
  assert command(*arguments) == 1
  assert says in capsys.readouterr().err


def test_a_sweep_that_raises_is_told_with_its_line(tmp_path, command, capsys):
  (tmp_path / 'bad.py').write_text('def get_runs(data_root):\n  return 1 / 0\n')
  assert command(f'--config={tmp_path}/bad.py') == 1
  assert 'bad.py, line 2: division by zero' in capsys.readouterr().err


@pytest.mark.parametrize('path', SWEEPS, ids=lambda path: path.stem)
def test_all_that_a_sweep_names_exists(path, tmp_path):
  entries = runs.load(str(path), tmp_path, 'nowhere')
  for entry in entries:
    config, given = entry.config, ('modalities', 'num_classes')
    _compose.lookup('methods', config['method'], entry.name, ('kit',))
    _compose.lookup('models.fusion', config['head'], entry.name, given)
    _compose.lookup('data', config['data'], entry.name, ('split',))
    for section in config['encoders'].values():
      _compose.lookup('models', section, entry.name)
    for name, section in config['evals'].items():
      _compose.lookup('evals', {'name': name, **section}, entry.name)


@pytest.mark.parametrize('name', ON_DATA)
def test_methods_share_all_that_is_not_theirs(name, tmp_path):
  """Nets, data, optimizer, batches, seeds and the number of epochs."""
  path = str(ROOT / 'configs' / 'sweeps' / f'{name}.py')
  shared = {}
  for entry in runs.load(path, tmp_path, 'nowhere'):
    rest = {
      k: v for k, v in entry.config.items() if k not in ('method', 'head')
    }
    rest['phases'] = sum(amount for _, amount in rest['phases'])
    assert rest == shared.setdefault(entry.name.rpartition('/')[0], rest)
    assert rest['num_seeds'] == 5
  assert len(shared) > 1


@pytest.mark.parametrize('sampler', ['exact', 'cpm'])
def test_rates_of_missing_are_those_that_can_be(sampler, tmp_path):
  path = f'{ROOT}/configs/sweeps/missing.py:{sampler}'
  found = {}
  for entry in runs.load(path, tmp_path, 'nowhere'):
    missing, rates = entry.config['missing'], found.setdefault
    rates(entry.name.split('/')[0], set()).add(missing['test'])
    assert missing['train'] == missing['validation'] == missing['test']
    assert missing['sampler'] == sampler
  every = {0, 0.2, 0.4, 0.6, 0.8}
  ends = {'cmu_mosi': {0, 0.2, 0.4, 0.6, 1 - 1 / 3}}
  ends['cremad_votes'] = {0, 0.2, 0.4, 0.5}
  assert found == (ends if sampler == 'exact' else dict.fromkeys(found, every))
