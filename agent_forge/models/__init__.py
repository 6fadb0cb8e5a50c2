"""Everything that touches a model's weights: loading, extending, sampling and fine-tuning."""
