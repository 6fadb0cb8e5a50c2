"""The pipeline's components: one declaration per node of the DAG. What a container does is in `agent_forge.stages`."""
