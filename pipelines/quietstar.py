"""The DAG: judge a champion, bake it when thinking helps, verify, publish. No logic: the stages decide, this connects.

    resolve-champion -> prepare-questions ----------+
            |                                       |
            +-> load-and-extend --------------------+-> [evaluate-round x cells] -> significance-gate
                                                                                          |
                        If bake: [collect-traces x shards] -> bake -> verify -> If publish: push-artifact
                                                                                Else: keep-champion
                        Elif no_bake, Else (inconclusive): keep-champion

Everything after resolve-champion is skipped when this very bake is published already. Tasks are cached by the digests
and by the part of the configuration that they read, all of which resolve-champion, never cached, hands out.
"""

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.bake import bake
from components.collect_traces import collect_traces
from components.evaluate_round import evaluate_round
from components.keep_champion import keep_champion, keep_rejected
from components.load_and_extend import load_and_extend
from components.prepare_questions import prepare_questions
from components.push_artifact import push_artifact
from components.resolve_champion import resolve_champion
from components.significance_gate import significance_gate
from components.verify import verify
from pipelines.placement import place
from pipelines.platform import Platform

NAME = "quietstar-bake"
# What a run can end with: the names of the branches that its last task stands in.
ENDS = ("published", "rejected", "no-bake", "inconclusive")


def define(platform: Platform) -> BaseComponent:
    """Return the pipeline for a platform, ready to be compiled."""

    @dsl.pipeline(name=NAME, display_name="Quiet-STaR bake", description=_description(platform))
    def quietstar(
        model_path: str = "bundled://champion",
        output_path: str = "pipeline://",
        eval_dataset: str = "arithmetic",
        eval_samples: int = 200,
        ab_test_rounds: int = 3,
        config: str = "",
    ):
        """Judge a champion and bake it when thinking helps.

        Args:
            model_path: Champion: bundled://champion, s3://bucket/prefix, hf://owner/name or a mounted directory.
            output_path: Publication root: s3://bucket/prefix, a mounted directory, or pipeline:// (by the artifacts).
            eval_dataset: Target tasks: arithmetic, gsm8k, math, reasoning or a file of questions; several by commas.
            eval_samples: Questions per task that the gate judges on.
            ab_test_rounds: Independent rounds.
            config: Further fields as a JSON object. Empty: the bundled champion's own for it, the defaults for others.
        """
        resolved = resolve_champion(
            model_path=model_path,
            output_path=output_path,
            eval_dataset=eval_dataset,
            eval_samples=eval_samples,
            ab_test_rounds=ab_test_rounds,
            config=config,
        )
        place(resolved, "resolve-champion", platform)
        told = resolved.outputs
        code = told["code_digest"]
        with dsl.If(told["already_published"] == "false", name="not-published-yet"):
            prepared = prepare_questions(
                config=told["prepare_questions_config"],
                champion_selection=told["champion_selection"],
                question_digests=told["question_digests"],
                code_digest=code,
            )
            place(prepared, "prepare-questions", platform)
            loaded = load_and_extend(
                config=told["load_and_extend_config"],
                champion_uri=told["champion_uri"],
                champion_digest=told["champion_digest"],
                code_digest=code,
            )
            place(loaded, "load-and-extend", platform)
            sampled = {"extended": loaded.outputs["extended"], "questions": prepared.outputs["questions"]}
            with dsl.ParallelFor(
                prepared.outputs["cells"], name="cells", parallelism=platform.parallelism.cells
            ) as cell:
                evaluated = evaluate_round(config=told["evaluate_round_config"], cell=cell, code_digest=code, **sampled)
                place(evaluated, "evaluate-round", platform)
            judged = significance_gate(
                config=told["significance_gate_config"],
                code_digest=code,
                results=dsl.Collected(evaluated.outputs["results"]),
                questions=prepared.outputs["questions"],
            )
            place(judged, "significance-gate", platform)
            known = {
                "config": told["full_config"],
                "champion": told["champion"],
                "extension": loaded.outputs["extension"],
                "questions": prepared.outputs["questions"],
                "evaluation": judged.outputs["evaluation"],
                "gate": judged.outputs["gate"],
            }
            with dsl.If(judged.outputs["verdict"] == "bake", name="thinking-helps"):
                with dsl.ParallelFor(
                    prepared.outputs["shards"], name="shards", parallelism=platform.parallelism.shards
                ) as shard:
                    collected = collect_traces(
                        config=told["collect_traces_config"], shard=shard, code_digest=code, **sampled
                    )
                    place(collected, "collect-traces", platform)
                baked = bake(
                    config=told["bake_config"],
                    code_digest=code,
                    traces=dsl.Collected(collected.outputs["traces"]),
                    **sampled,
                )
                place(baked, "bake", platform)
                checked = verify(
                    config=told["verify_config"], code_digest=code, baked=baked.outputs["baked"], **sampled
                )
                place(checked, "verify", platform)
                made = {
                    **known,
                    "trace_set": baked.outputs["trace_set"],
                    "baked": baked.outputs["baked"],
                    "bake_report": baked.outputs["bake_report"],
                    "verification": checked.outputs["verification"],
                    "verification_results": checked.outputs["verification_results"],
                }
                with dsl.If(checked.outputs["verdict"] == "publish", name="published"):
                    place(push_artifact(**made), "push-artifact", platform)
                with dsl.Else(name="rejected"):
                    place(keep_rejected(**made), "keep-champion", platform)
            with dsl.Elif(judged.outputs["verdict"] == "no_bake", name="no-bake"):
                place(keep_champion(**known), "keep-champion", platform)
            with dsl.Else(name="inconclusive"):
                place(keep_champion(**known), "keep-champion", platform)

    return quietstar


def _description(platform: Platform) -> str:
    return (
        f"Judges whether thinking first helps a model; bakes, verifies and publishes it if so. {platform.description}"
    )
