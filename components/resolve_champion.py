"""resolve-champion: a reference in, content digests out; never cached."""

from kfp import dsl

from components.container import run_stage


@dsl.container_component
def resolve_champion(
    model_path: str,
    output_path: str,
    eval_dataset: str,
    eval_samples: int,
    ab_test_rounds: int,
    config: str,
    champion: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    champion_uri: dsl.OutputPath(str),
    champion_digest: dsl.OutputPath(str),
    champion_selection: dsl.OutputPath(str),
    question_digests: dsl.OutputPath(str),
    code_digest: dsl.OutputPath(str),
    bake_id: dsl.OutputPath(str),
    already_published: dsl.OutputPath(str),
    full_config: dsl.OutputPath(str),
    prepare_questions_config: dsl.OutputPath(str),
    load_and_extend_config: dsl.OutputPath(str),
    evaluate_round_config: dsl.OutputPath(str),
    significance_gate_config: dsl.OutputPath(str),
    collect_traces_config: dsl.OutputPath(str),
    bake_config: dsl.OutputPath(str),
    verify_config: dsl.OutputPath(str),
):
    """Check the configuration, find the champion and take the digests that everything later is cached by.

    Fails here, before any accelerator is asked for, when a parameter, the champion or a question set is wrong.

    Args:
        model_path: Champion: bundled://champion, s3://bucket/prefix, hf://owner/name or a mounted directory.
        output_path: Publication root: s3://bucket/prefix, a mounted directory, or pipeline:// (by the artifacts).
        eval_dataset: Target tasks: arithmetic, gsm8k, math, reasoning or a file of questions; several by commas.
        eval_samples: Questions per task that the gate judges on.
        ab_test_rounds: Independent rounds.
        config: Further fields as a JSON object. Empty: the bundled champion's own for it, the defaults for others.

    Returns:
        champion: What was found, as JSON.
        metrics: Seconds spent.
        champion_uri: What other tasks find the champion by.
        champion_digest: sha256 of the champion's files.
        champion_selection: Where the questions that it was chosen by are named, JSON; `{}` for none.
        question_digests: sha256 of each split of the questions and of each excluded corpus.
        code_digest: sha256 of the code in the image.
        bake_id: sha256 of everything that decides the result.
        already_published: true when this very bake is published in output_path.
        full_config: The whole configuration.
        prepare_questions_config: The part that prepare-questions reads.
        load_and_extend_config: The part that load-and-extend reads.
        evaluate_round_config: The part that evaluate-round reads.
        significance_gate_config: The part that significance-gate reads.
        collect_traces_config: The part that collect-traces reads.
        bake_config: The part that bake reads.
        verify_config: The part that verify reads.
    """
    return run_stage("resolve-champion")
