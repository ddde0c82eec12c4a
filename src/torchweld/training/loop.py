"""The training loop: top to bottom on one screen; whatever happens around it is a watcher."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from torchweld.core import CheckFailed
from torchweld.data import Splits
from torchweld.layers.views import one_view, view_count
from torchweld.training.build import set_training
from torchweld.training.config import Config
from torchweld.training.folder import Checkpoints, claim, config_of, newest
from torchweld.training.machine import device_of
from torchweld.training.memory import kept_memory
from torchweld.training.metrics import Scores
from torchweld.training.records import Record, Run, StepRecord
from torchweld.training.score import evaluate, per_sample
from torchweld.training.session import Session, new_session
from torchweld.training.signals import asked_to_stop
from torchweld.training.team import joined
from torchweld.training.watchers import Watcher


def train(
    config: Config,
    folder: str | os.PathLike[str] | None = None,
    watchers: Sequence[Watcher] = (),
    splits: Splits | None = None,
) -> Run:
    """Trains the network that `config` names on the data that it names, from fresh weights drawn by its seed.

    `folder` receives checkpoints and records; without one nothing is written. `splits`, if given, are the data, already
    read. The same config gives the same weights, bit for bit, with the same threads, dtype and layout on the same
    machine; so does a run that was killed and resumed. Raises `InputError` for what does not exist or does not fit,
    and if the folder holds a run already; `CheckFailed` if the loss leaves the finite numbers.
    """
    with joined(device_of(config)) as team:
        place = None if folder is None else claim(Path(folder), team)
        return _run(new_session(config, team, place, splits), watchers)


def resume(
    folder: str | os.PathLike[str],
    watchers: Sequence[Watcher] = (),
    splits: Splits | None = None,
) -> Run:
    """Goes on with the run in `folder` from its newest checkpoint that verifies, as if it had never stopped.

    Raises `InputError` if there is no run, or none of its checkpoints verifies.
    """
    place = Path(folder)
    config = config_of(place)
    with joined(device_of(config)) as team:
        found = team.agreed(newest(place, team))
        session = new_session(config, team, place, splits)
        if found is not None:
            session.restore(found.state, str(found.path))
        return _run(session, watchers)


@kept_memory()
def _run(session: Session, watchers: Sequence[Watcher]) -> Run:
    """Epochs until the last, or until patience or a signal ends them; then the chosen epoch's scores on the test."""
    config, team = session.config, session.team
    kept = [Checkpoints(session)] if session.folder is not None else []
    told = [*watchers, *kept] if team.leads else []
    with session.machine.environment(), asked_to_stop() as stop:
        try:
            for watcher in told:
                watcher.begin(session)
            while session.epoch < config.epochs and session.stopped is None:
                record = run_epoch(session, told, stop)
                if record is not None:
                    for watcher in told:
                        watcher.epoch_done(session, record)
                session.check_patience()
        finally:
            for watcher in told:
                watcher.end(session)
        if session.stopped == "interrupted":
            raise KeyboardInterrupt
        session.take_best()
        run = session.finished(*_tested(session))
        for keeper in kept if team.leads else ():
            keeper.finished(run)
        return run


def run_epoch(session: Session, watchers: Sequence[Watcher] = (), stop: Sequence[bool] = (False,)) -> Record | None:
    """The rest of an epoch, and what it came to; None if it was asked to stop."""
    config, machine, model = session.config, session.machine, session.wrapped
    set_training(model)
    began = mark = time.perf_counter()
    if session.step == 0:
        session.pruning.begin(session.epoch, session.batches.reaches_all)
    among = session.pruning.rows
    waited, seen, steps = 0.0, 0, session.batches.steps_among(among)
    rate = session.rate(session.epoch + max(session.step - 1, 0) / steps)
    before = session.seconds
    for batch in session.batches.epoch(session.epoch, session.step, among):
        waiting = time.perf_counter() - mark
        rate = session.rate(session.epochs_done)
        for group in session.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        session.seed_step()
        weights = session.pruning.weights[batch.rows]
        whole = [part.to(machine.device) for part in (batch.inputs, batch.targets, weights)]
        step_loss, step_weight, newest, parts = 0.0, weights.sum().item(), [], min(config.accumulate, len(weights))
        for i, (x, y, w) in enumerate(zip(*(part.chunk(parts) for part in whole), strict=True)):
            with session.team.apart(model, last=i == parts - 1):
                with machine.precision():
                    losses, scores = per_sample(model, x, y, session.loss, config, session.class_weights)
                # DistributedDataParallel divides by the number of processes; samples are what is to be divided by.
                loss = (losses * w).sum()
                (loss * (session.team.world / batch.samples)).backward()
            step_loss += loss.item()
            newest.append(losses.detach())
            session.note(scores, y, w)
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(session.model.parameters(), config.clip_norm)
        session.optimizer.step()
        session.optimizer.zero_grad(set_to_none=True)
        if session.average is not None:
            session.average.update_parameters(session.model)
        session.pruning.note(batch.rows, torch.cat(newest), session.team, batch.samples)
        session.step += 1
        session.loss_sum += step_loss
        session.samples += step_weight
        if not math.isfinite(step_loss):
            raise CheckFailed(f"the loss is not finite in epoch {session.epoch + 1}; lower learning_rate={rate:g}")
        waited, seen = waited + waiting, seen + batch.samples
        now = time.perf_counter()
        session.seconds = before + now - began
        note = StepRecord(session.total_steps, session.epoch + 1, rate, step_loss / step_weight, now - mark,
                          waiting, batch.samples)  # fmt: skip
        mark = now
        for watcher in watchers:
            watcher.step_done(session, note)
        if session.team.total(torch.tensor(float(stop[0]))) > 0:
            session.stopped = "interrupted"
            return None
    passed = time.perf_counter() - began
    record = _judged(session, rate, passed, seen / max(passed, 1e-9), waited / max(passed, 1e-9))
    session.seconds = before + time.perf_counter() - began
    return record


def _tested(session: Session) -> tuple[Scores | None, Scores | None]:
    """Scores on the test part, and those of a single view where the network averages over several."""
    test, model = session.splits.test, session.judged
    if test is None:
        return None, None
    scores = evaluate(model, test, session.splits, team=session.team)
    if view_count(model) == 1:
        return scores, None
    with one_view(model):
        return scores, evaluate(model, test, session.splits, team=session.team)


def _judged(session: Session, rate: float, seconds: float, speed: float, waiting: float) -> Record:
    """The epoch's record: its own sums over all processes, and the scores on what is held out."""
    own = torch.tensor([session.loss_sum, session.right, session.answers, session.samples], dtype=torch.float64)
    loss_sum, right, answers, samples = session.team.total(own).tolist()
    scores = None
    if len(session.splits.held_out):
        with session.machine.precision():
            scores = evaluate(session.judged, session.splits.held_out, session.splits, machine=session.machine,
                              team=session.team)  # fmt: skip
    record = Record(
        session.epoch + 1,
        rate,
        loss_sum / max(samples, 1),
        right / answers if answers else None,
        None if scores is None else scores.loss,
        None if scores is None else scores.accuracy,
        None if scores is None else scores.score,
        seconds,
        speed,
        waiting,
        session.pruning.kept,
    )
    session.close_epoch(record)
    return record
