"""How much each gene decides the rank of a trial: functional ANOVA over random forests (Hutter & al. 2014).

Optuna's own measure looks at completed trials only, of which halving leaves few; here the rank among all individuals is
explained, pruned ones too.
"""

from __future__ import annotations

import optuna
from optuna import Study
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from torchweld.search.individuals import individuals, worst_first
from torchweld.search.space import Space

_LEAST = 4


def importances(study: Study, space: Space) -> dict[str, float]:
    """Shares by gene, the largest first, that add up to 1; empty for fewer than four individuals."""
    names = set(space.names)
    ranked = worst_first(
        [trial for trial in individuals(study.get_trials(deepcopy=False)) if names <= set(trial.params)]
    )
    if len(ranked) < _LEAST:
        return {}
    ranks = optuna.create_study(direction="maximize")
    ranks.add_trials(
        [
            create_trial(
                value=float(rank), params={n: t.params[n] for n in space.names}, distributions=space.distributions()
            )
            for rank, t in enumerate(ranked)
        ]
    )
    found = get_param_importances(ranks, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in found.items()}
