"""What one decision costs other libraries, beside hermod's own figure from the same run.

    python3 benches/peers.py --hermod target/release/hermod [--json FILE]

MABWiser, river and Vowpal Wabbit decide in their own process, by Thompson sampling or the nearest they have, among 5, 50 and 500
variants that all have some history; hermod decides over gRPC, with everything recorded. CPU time of one core per decision.
Libraries that are not installed are left out, and said to be.
"""

import argparse
import json
import subprocess
import sys
import time

VARIANTS = (5, 50, 500)
SECONDS = 2.0


def timed(decide):
    """CPU microseconds of one call, over about SECONDS of them."""
    decide()
    calls, begun = 0, time.process_time()
    while time.process_time() - begun < SECONDS:
        decide()
        calls += 1
    return (time.process_time() - begun) / calls * 1e6


def mabwiser(variants):
    from mabwiser.mab import MAB, LearningPolicy

    arms = list(range(variants))
    mab = MAB(arms, LearningPolicy.ThompsonSampling(), seed=1)
    mab.fit(decisions=arms * 20, rewards=[(arm + round) % 20 == 0 for round in range(20) for arm in arms])
    return mab.predict


def river(variants):
    from river import bandit, proba

    policy = bandit.ThompsonSampling(reward_obj=proba.Beta(), seed=1)
    arms = list(range(variants))
    for round in range(20):
        for arm in arms:
            policy.update(arm, (arm + round) % 20 == 0)
    return lambda: policy.pull(arms)


def vowpal_wabbit(variants):
    import vowpalwabbit

    workspace = vowpalwabbit.Workspace(f"--cb_explore {variants} --epsilon 0.1 --quiet")
    for round in range(20):
        for arm in range(1, variants + 1):
            cost = -1 if (arm + round) % 20 == 0 else 0
            workspace.learn(f"{arm}:{cost}:{1 / variants} | segment_{round % 8}")
    return lambda: workspace.predict("| segment_3")


def hermod(program, variants, method):
    """CPU microseconds of the whole server per decision, everything recorded."""
    command = [program, "bench", "calls", "--methods", method, "--people", "20000", "--experiments", "4",
               "--variants", str(variants), str(variants), "--turns", "3", "--seconds", str(SECONDS), "--json", "-"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output)[0]["rows"][0]["server_cpu_us"]["median"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hermod", required=True, help="the program")
    parser.add_argument("--json", help="also write the results to this file")
    arguments = parser.parse_args()
    rows = {}
    for name, prepare in (("MABWiser", mabwiser), ("river", river), ("Vowpal Wabbit", vowpal_wabbit)):
        try:
            rows[name] = {variants: timed(prepare(variants)) for variants in VARIANTS}
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    for title, method in (("hermod, ChooseVariant", "choose"), ("hermod, BatchDecide", "batch")):
        rows[title] = {variants: hermod(arguments.hermod, variants, method) for variants in VARIANTS}
    print("CPU microseconds per decision among so many variants")
    print(f"{'':<24}" + "".join(f"{variants:>12}" for variants in VARIANTS))
    for name, costs in rows.items():
        print(f"{name:<24}" + "".join(f"{costs[variants]:>12.1f}" for variants in VARIANTS))
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
