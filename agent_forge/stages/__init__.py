"""The stages of the pipeline, one file each: read inputs, call the layers below, write outputs."""
