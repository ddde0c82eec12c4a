"""Generations a second and time to a target: torchweld beside DEAP, PyGAD, pymoo and EvoTorch.

One thread, float32, 30 variables, a batched sphere where the peer can take one, populations of 1000 and 10,000.
"gaot": GAOT's operator counts scaled by N/80, so that 37.5% of the population changes in a generation.
"all": everyone is crossed and every gene mutated.
Peers that are not installed are skipped and said so. Each figure is the best of `ROUNDS`, engines taking turns.
Arguments choose sections: gaot, all, target; without, all three.

    OMP_NUM_THREADS=1 python benchmarks/genetic_speed.py > benchmarks/results/genetic_speed.md
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import random
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from torchweld.genetic import Options, Terminate, apply, ga, multi_nonuniform_mutation, simple_crossover

VARIABLES, LOW, HIGH, ROUNDS = 30, -5.0, 5.0, 2
TARGET, PATIENCE_SECONDS = 1e-3, 8.0
CROSSED, MUTATED = 150 / 1000, 225 / 1000  # shares of the population that GAOT's counts touch
# a run of `generations`, or until the sphere is below TARGET; the generations done and the best value
Engine = Callable[[int, str, int, float | None], tuple[int, float]]


def torchweld_engine(size: int, mode: str, generations: int, target: float | None) -> tuple[int, float]:
    operators = {}
    if mode == "all":
        operators = {
            "crossovers": [apply(simple_crossover, chance=1.0)],
            "mutations": [apply(multi_nonuniform_mutation, chance=1.0)],
        }
    found = ga(
        [(LOW, HIGH)] * VARIABLES,
        lambda x: -x.square().sum(1),
        options=Options(population=size, dtype=torch.float32, horizon=300),
        terminate=Terminate(
            generations=generations,
            target=None if target is None else -target,
            seconds=None if target is None else PATIENCE_SECONDS,
        ),
        **operators,
    )
    return found.generations, -found.best.fitness


def deap_engine(size: int, mode: str, generations: int, target: float | None) -> tuple[int, float]:
    from deap import base, creator, tools

    if not hasattr(creator, "SphereMin"):
        creator.create("SphereMin", base.Fitness, weights=(-1.0,))
        creator.create("SphereRow", list, fitness=creator.SphereMin)
    random.seed(0)

    def evaluate(row: list[float]) -> tuple[float]:
        return (sum(v * v for v in row),)

    population = [creator.SphereRow(random.uniform(LOW, HIGH) for _ in range(VARIABLES)) for _ in range(size)]
    for row in population:
        row.fitness.values = evaluate(row)
    pairs = size // 2 if mode == "all" else round(CROSSED * size / 2)
    mutants = size if mode == "all" else round(MUTATED * size)
    gene_chance = 1.0 if mode == "all" else 2400 / (225 * VARIABLES)
    sigma = 1.0
    began = time.process_time()
    best = min(population, key=lambda r: r.fitness.values)
    for generation in range(generations):
        brood = []
        for parent in tools.selTournament(population, size, 2):
            row = creator.SphereRow(parent)
            row.fitness.values = parent.fitness.values
            brood.append(row)
        order = random.sample(range(size), size)
        stale = set()
        for a, b in zip(order[:pairs], order[pairs : 2 * pairs], strict=True):
            tools.cxBlend(brood[a], brood[b], 0.1) if mode == "gaot" else tools.cxOnePoint(brood[a], brood[b])
            stale |= {a, b}
        order = random.sample(range(size), size)
        sigma = max(1e-3, 1.0 - generation / 300)
        for a in order[:mutants]:
            tools.mutGaussian(brood[a], 0.0, sigma, gene_chance)
            stale.add(a)
        for a in stale:
            brood[a].fitness.values = evaluate(brood[a])
        brood[max(range(size), key=lambda i: brood[i].fitness.values)] = best
        population = brood
        best = min(population, key=lambda r: r.fitness.values)
        if target is not None and (best.fitness.values[0] <= target or time.process_time() - began > PATIENCE_SECONDS):
            return generation + 1, best.fitness.values[0]
    return generations, best.fitness.values[0]


def pygad_engine(size: int, mode: str, generations: int, target: float | None) -> tuple[int, float]:
    import pygad

    began = time.process_time()

    def fitness(_: object, rows: np.ndarray, __: object) -> list[float]:
        return list(-np.square(np.asarray(rows)).sum(1))

    def stop(engine: pygad.GA) -> str | None:
        done = target is not None and (
            -max(engine.last_generation_fitness) <= target or time.process_time() - began > PATIENCE_SECONDS
        )
        return "stop" if done else None

    engine = pygad.GA(
        num_generations=generations,
        sol_per_pop=size,
        num_genes=VARIABLES,
        gene_type=np.float32,
        init_range_low=LOW,
        init_range_high=HIGH,
        num_parents_mating=max(2, size // 10),
        parent_selection_type="sss",
        keep_elitism=1,
        crossover_type="single_point",
        crossover_probability=1.0 if mode == "all" else CROSSED,
        mutation_type="random",
        mutation_probability=1.0 if mode == "all" else 2400 / (1000 * VARIABLES),
        random_mutation_min_val=-0.1,
        random_mutation_max_val=0.1,
        fitness_func=fitness,
        fitness_batch_size=size,
        on_generation=stop,
        random_seed=0,
        suppress_warnings=True,
    )
    engine.run()
    return engine.generations_completed, -float(max(engine.last_generation_fitness))


def pymoo_engine(size: int, mode: str, generations: int, target: float | None) -> tuple[int, float]:
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM

    class Sphere(Problem):
        def __init__(self) -> None:
            super().__init__(n_var=VARIABLES, n_obj=1, xl=LOW, xu=HIGH)

        def _evaluate(self, x: np.ndarray, out: dict, *_: object, **__: object) -> None:
            out["F"] = np.square(x.astype(np.float32)).sum(1)

    everyone = mode == "all"
    engine = GA(
        pop_size=size,
        n_offsprings=size if everyone else round((CROSSED + MUTATED) * size),
        crossover=SBX(prob=1.0 if everyone else CROSSED / (CROSSED + MUTATED)),
        mutation=PM(prob=1.0, prob_var=1.0) if everyone else PM(prob=MUTATED / (CROSSED + MUTATED)),
        eliminate_duplicates=False,
    )
    engine.setup(Sphere(), termination=("n_gen", generations + 1), seed=0, verbose=False)
    began = time.process_time()
    while engine.has_next():
        engine.next()
        best = float(engine.opt[0].F[0])
        if target is not None and (best <= target or time.process_time() - began > PATIENCE_SECONDS):
            break
    return engine.n_gen - 1, best


def evotorch_engine(size: int, mode: str, generations: int, target: float | None) -> tuple[int, float]:
    from evotorch import Problem
    from evotorch.algorithms import GeneticAlgorithm
    from evotorch.decorators import vectorized
    from evotorch.operators import GaussianMutation, OnePointCrossOver

    @vectorized
    def sphere(x: torch.Tensor) -> torch.Tensor:
        return x.square().sum(1)

    problem = Problem("min", sphere, solution_length=VARIABLES, initial_bounds=(LOW, HIGH), seed=0)
    share = {} if mode == "all" else {"num_children": 2 * round((CROSSED + MUTATED) * size / 2)}
    mutated = {} if mode == "all" else {"mutation_probability": 2400 / 375 / VARIABLES}
    engine = GeneticAlgorithm(
        problem,
        popsize=size,
        elitist=True,
        operators=[
            OnePointCrossOver(problem, tournament_size=2, **share),
            GaussianMutation(problem, stdev=0.02, **mutated),
        ],
    )
    began = time.process_time()
    for generation in range(generations):
        engine.step()
        if target is not None:
            best = float(engine.status["best_eval"])
            if best <= target or time.process_time() - began > PATIENCE_SECONDS:
                return generation + 1, best
    return generations, float(engine.status["best_eval"])


ENGINES: dict[str, tuple[str, Engine]] = {
    "torchweld": ("torch", torchweld_engine),
    "DEAP": ("deap", deap_engine),
    "PyGAD": ("pygad", pygad_engine),
    "pymoo": ("pymoo", pymoo_engine),
    "EvoTorch": ("evotorch", evotorch_engine),
}


def seconds_of(engine: Engine, *arguments: object) -> tuple[float, tuple[int, float]]:
    """Processor seconds of the one thread, which a busy machine stretches less than the clock's."""
    began = time.process_time()
    answer = engine(*arguments)  # type: ignore[arg-type]
    return time.process_time() - began, answer


def rate(engine: Engine, size: int, mode: str) -> float:
    """Generations a second, set-up taken out: the difference of a run of one generation and one of about 0.3 s."""
    once = seconds_of(engine, size, mode, 1, None)[0]
    twice = seconds_of(engine, size, mode, 2, None)[0]
    each = max(twice - once, 1e-4)
    if each > 0.3:
        return 1 / each
    long = max(4, min(2000, int(0.3 / each)))
    spent = seconds_of(engine, size, mode, long, None)[0] - seconds_of(engine, size, mode, 1, None)[0]
    return (long - 1) / spent


def floor_rate(size: int, mode: str) -> float:
    """Generations a second if nothing were done but what no batched version can leave out: draw the random numbers,
    gather the parents, write the children once and evaluate them."""
    changed = size if mode == "all" else round((CROSSED + MUTATED) * size)
    rows, children = torch.rand(size, VARIABLES), torch.rand(changed, VARIABLES)
    full = size if mode == "all" else round(0.075 * size)  # individuals whose every gene is redrawn

    def generation() -> None:
        chosen = torch.rand(size).mul_(size).long()
        torch.rand(full, VARIABLES)
        torch.rand(3 * changed)
        new = rows.index_select(0, chosen)
        new[:changed] = children
        (-new[:changed].square().sum(1)).max().item()

    for _ in range(20):
        generation()
    began, count = time.process_time(), 0
    while time.process_time() - began < 0.3:
        generation()
        count += 1
    return count / (time.process_time() - began)


def main() -> None:
    sections = sys.argv[1:] or ["gaot", "all", "target"]
    torch.set_num_threads(1)
    logging.disable(logging.INFO)  # EvoTorch tells of every problem it makes
    present, absent, versions = {}, [], [f"torch {torch.__version__}"]
    for name, (package, engine) in ENGINES.items():
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if name != "torchweld":
                absent.append(name)
                continue
        else:
            versions += [] if name == "torchweld" else [f"{package} {version}"]
        present[name] = engine
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    if "gaot" in sections:
        print("# Genetic algorithm: speed beside its peers\n")
        print("`OMP_NUM_THREADS=1 python benchmarks/genetic_speed.py`\n")
        print(f"{', '.join(versions)}; one thread, float32, {VARIABLES} variables; processor seconds.")
        print(f"Not installed: {absent or 'none'}.")
        print('"floor": only the random numbers, one gather, one write and the evaluation, in torch.')
    for mode in [section for section in sections if section != "target"]:
        print(f"\nOperators: {mode} ({load}).\n")
        print("| population | engine | generations/s | torchweld's multiple |")
        print("| --- | --- | --- | --- |")
        for size in (1000, 10_000):
            rates: dict[str, float] = dict.fromkeys(present, 0.0)
            for _ in range(ROUNDS):
                for name, engine in present.items():
                    if not 0 < rates[name] < 3:  # seconds a generation: once is enough
                        rates[name] = max(rates[name], rate(engine, size, mode))
            rates["floor"] = floor_rate(size, mode)
            for name, value in rates.items():
                factor = "" if name == "torchweld" else f"x{rates['torchweld'] / value:.2f}"
                print(f"| {size} | {name} | {value:,.1f} | {factor} |", flush=True)
    if "target" not in sections:
        return
    print(f"\nTime until the sphere is below {TARGET}, at most {PATIENCE_SECONDS:.0f} s, operators gaot ({load}):\n")
    print("| population | engine | seconds | generations | value |")
    print("| --- | --- | --- | --- | --- |")
    for size in (1000, 10_000):
        for name, engine in present.items():
            spent, (generations, value) = seconds_of(engine, size, "gaot", 100_000, TARGET)
            shown = f"{spent:.2f}" if value <= TARGET else f"not in {spent:.0f}"
            print(f"| {size} | {name} | {shown} | {generations} | {value:.2g} |", flush=True)


if __name__ == "__main__":
    main()
